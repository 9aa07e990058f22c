"""Before mail goes to a server that is not known to work the pages ask, and for a minute it can be undone."""

import re
from typing import Any

import pytest
from flask import Flask

from blueprints import undoing
from services import audit
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig, issue_proof
from tests.recording_server import RecordingServer
from tests.server_form import FORM, LIST, NEW
from tests.turned_clock import Now
from tests.visitors import Visitor

UNDO = f"{LIST}/undo-activation"
UNTESTED = "These settings have not been tested yet."


def make(name: str, *, is_active: bool = False, is_proved: bool = True, **fields: object) -> StoredConfig:
    values = {"smtp_server": "smtp.example.com", "from_email": "shop@example.com", **fields}
    change = parse_change({"name": name, **values, "is_active": is_active})
    return configs.create(change, proof=issue_proof(configs.preview(change)) if is_proved else "")


@pytest.fixture
def primary(app: Flask) -> StoredConfig:
    return make("Primary", is_active=True)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    monkeypatch.setattr("utils.clock.now", now)
    return now


def activate(admin: Visitor, stored: StoredConfig, **fields: str) -> str:
    """Press Activate in the list, or on the page that asks; where that leads."""
    sent = {"version": str(configs.get(stored.row.id).row.version), **fields}
    answer = admin.post_form(f"{LIST}/{stored.row.id}/activate", sent)
    assert answer.status_code == 303
    return str(answer.location)


def press_undo(admin: Visitor) -> str:
    answer = admin.post_form(UNDO, {})
    assert (answer.status_code, answer.location) == (303, LIST)
    return admin.get(LIST).text


def active() -> str:
    found = configs.find_active()
    return found.row.name if found else ""


def test_a_server_that_passed_its_test_is_activated_at_once(admin: Visitor, primary: StoredConfig) -> None:
    assert activate(admin, make("Backup")) == LIST
    assert active() == "Backup"


def test_one_that_was_not_tested_is_asked_about_and_a_test_is_offered(admin: Visitor, primary: StoredConfig) -> None:
    backup = make("Backup", is_proved=False)
    asked = activate(admin, backup)
    assert asked == f"{LIST}/{backup.row.id}/activate"
    assert active() == "Primary"
    page = admin.get(asked).text
    assert UNTESTED in page
    assert "no longer through “Primary”" in page
    assert f'action="{LIST}/{backup.row.id}/test#test"' in page
    assert activate(admin, backup, asked="1") == LIST
    assert active() == "Backup"


def test_what_has_changed_since_the_list_was_loaded_is_not_asked_about(admin: Visitor, primary: StoredConfig) -> None:
    backup = make("Backup", is_proved=False)
    assert activate(admin, backup, version="7") == LIST
    assert "Someone else has just changed “Backup”." in admin.get(LIST).text
    assert active() == "Primary"


def test_the_report_of_a_test_offers_to_activate_what_it_found_to_work(admin: Visitor, primary: StoredConfig) -> None:
    with RecordingServer() as server:
        place: dict[str, Any] = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False}
        backup = make("Backup", is_proved=False, **place)
        page = admin.post_form(f"{LIST}/{backup.row.id}/test", {"saved": "1"}).text
    button = re.search(rf'<button[^>]*formaction="{LIST}/{backup.row.id}/activate"[^>]*>', page)
    assert button
    assert "hidden" not in button[0]
    assert activate(admin, backup) == LIST
    assert active() == "Backup"


def test_the_report_of_values_that_are_not_saved_offers_no_activation(admin: Visitor, primary: StoredConfig) -> None:
    with RecordingServer() as server:
        backup = make("Backup", is_proved=False)
        place = {"smtp_server": server.host, "smtp_port": str(server.port), "security": "none"}
        typed = {**FORM, **place, "smtp_username": "", "smtp_password": "", "version": "1"}
        page = admin.post_form(f"{LIST}/{backup.row.id}/test", typed).text
    assert "Not saved yet." in page
    button = re.search(rf'<button[^>]*formaction="{LIST}/{backup.row.id}/activate"[^>]*>', page)
    assert button
    assert " hidden" in button[0]


def test_a_form_that_switches_an_untested_server_on_is_saved_and_then_asks(
    admin: Visitor, primary: StoredConfig
) -> None:
    answer = admin.post_form(NEW, {**FORM, "name": "Backup", "is_active": "1"})
    backup = configs.named("Backup")
    assert (answer.status_code, answer.location) == (303, f"{LIST}/{backup.row.id}/activate")
    page = admin.get(answer.location).text
    assert "Saved." in page
    assert UNTESTED in page
    assert active() == "Primary"
    changed = {**FORM, "name": "Backup", "smtp_password": "", "version": str(backup.row.version), "is_active": "1"}
    assert admin.post_form(f"{LIST}/{backup.row.id}", changed).location == answer.location
    assert active() == "Primary"


def test_the_first_server_takes_nobodys_place_and_is_not_asked_about(admin: Visitor) -> None:
    assert admin.post_form(NEW, FORM).location == LIST
    assert active() == "Primary"


def test_undo_goes_back_to_what_was_active_before(admin: Visitor, primary: StoredConfig) -> None:
    activate(admin, make("Backup"))
    page = admin.get(LIST).text
    assert "Mail now goes through “Backup”." in page
    assert "Back to “Primary”" in page
    assert "Mail goes through “Primary” again." in press_undo(admin)
    assert active() == "Primary"
    assert [str(event.action) for event in audit.events(limit=2)] == ["activated", "deactivated"]
    assert UNDO not in admin.get(LIST).text


def test_undo_switches_off_where_nothing_was_active(admin: Visitor) -> None:
    activate(admin, make("Only"))
    assert "Deactivated “Only”." in press_undo(admin)
    assert active() == ""


def test_a_form_that_switches_a_server_on_can_be_undone(admin: Visitor) -> None:
    admin.post_form(NEW, FORM)
    assert UNDO in admin.get(LIST).text
    press_undo(admin)
    assert active() == ""


def test_it_can_be_undone_for_a_minute(admin: Visitor, primary: StoredConfig, now: Now) -> None:
    activate(admin, make("Backup"))
    now.turn(undoing.SECONDS - 1)
    assert UNDO in admin.get(LIST).text
    now.turn(10)
    assert UNDO not in admin.get(LIST).text
    assert "Too late to undo." in press_undo(admin)
    assert active() == "Backup"


def test_it_cannot_be_undone_twice(admin: Visitor, primary: StoredConfig) -> None:
    activate(admin, make("Backup"))
    press_undo(admin)
    assert "Too late to undo." in press_undo(admin)
    assert active() == "Primary"


def test_what_somebody_has_changed_since_is_not_undone(admin: Visitor, primary: StoredConfig) -> None:
    backup = make("Backup")
    activate(admin, backup)
    configs.update(primary.row.id, parse_change({"from_name": "Theirs"}))
    assert "Not undone: the servers have been changed since." in press_undo(admin)
    assert active() == "Backup"


def test_undo_is_not_offered_once_another_server_is_active(admin: Visitor, primary: StoredConfig) -> None:
    activate(admin, make("Backup"))
    configs.activate(primary.row.id)
    assert UNDO not in admin.get(LIST).text


def test_an_undo_without_the_token_of_the_form_is_refused(admin: Visitor, primary: StoredConfig) -> None:
    activate(admin, make("Backup"))
    assert admin.post(UNDO, data={}).status_code == 400
    assert active() == "Backup"


def test_the_question_about_a_server_that_is_active_leads_to_the_list(admin: Visitor, primary: StoredConfig) -> None:
    assert admin.get(f"{LIST}/{primary.row.id}/activate").location == LIST
