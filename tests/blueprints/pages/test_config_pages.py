"""The list at `/settings/smtp`, and switching between servers, without JavaScript."""

import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from services import audit
from services.outbox.reasons import Reason
from services.settings import configs, health, route, sealing
from services.settings.fields import parse_change
from services.settings.health import Meeting, What
from services.settings.named import create_config
from services.settings.reach import Reach
from services.settings.sealing import StoredConfig
from tests.loopback import free_port
from tests.recording_server import RecordingServer
from tests.server_form import FORM, LIST, NEW
from tests.visitors import Visitor, make_alice, make_bob, visit

ENV = {"EMAIL_HOST": "env.example.com", "DEFAULT_FROM_EMAIL": "env@example.com"}


def create(name: str, **fields: object) -> StoredConfig:
    host = f"{name.split(maxsplit=1)[0].lower()}.example.com"
    return create_config(name, **{"smtp_server": host, "from_email": "noreply@example.com", **fields})


@pytest.fixture
def primary(app: Flask) -> StoredConfig:
    return create("Primary", is_active=True)


@pytest.fixture
def backup(app: Flask) -> StoredConfig:
    return create("Backup server", smtp_username="mailer", smtp_password="s3cret-of-backup", use_ssl=True)


def sql(statement: str) -> None:
    with transaction() as session:
        session.execute(text(statement))


def act(admin: Visitor, stored: StoredConfig, action: str, **fields: str) -> str:
    """Do it and read the page that it leads to."""
    answer = admin.post_form(f"{LIST}/{stored.row.id}/{action}", fields)
    assert answer.status_code == 303
    return admin.get(answer.location).text


def names(page: str) -> list[str]:
    found = re.findall(r'<li class="row-item">\s*<div class="row-head">\s*<h2><a href="[^"]+">([^<]+)</a>', page)
    return [str(name) for name in found]


def test_the_empty_list_teaches_and_leads_to_the_form(admin: Visitor) -> None:
    page = admin.get(LIST)
    assert page.status_code == 200
    assert "No mail can be sent: no server is active." in page.text
    assert "No mail server yet" in page.text
    assert f'href="{NEW}"' in page.text


def test_a_row_tells_what_there_is_to_know_but_the_password(
    admin: Visitor, primary: StoredConfig, backup: StoredConfig
) -> None:
    page = admin.get(LIST).text
    assert names(page) == ["Primary", "Backup server"]
    for fact in ("backup.example.com:465", "Inactive", "From noreply@example.com", "Not verified", "Saved"):
        assert fact in page
    assert "s3cret-of-backup" not in page


def test_the_state_says_which_server_sends_and_why(admin: Visitor, primary: StoredConfig) -> None:
    page = admin.get(LIST).text
    assert "Mail goes through Primary (primary.example.com) as noreply@example.com." in page
    assert "These settings have not been tested yet." in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=back", ["Backup server"]),
        ("q=PRIMARY.example", ["Primary"]),
        ("q=mailer", ["Backup server"]),
        ("q=%25", []),
        ("q=a%00b", []),
        ("state=active", ["Primary"]),
        ("state=inactive", ["Backup server"]),
        ("security=tls", ["Backup server"]),
        ("security=starttls", ["Primary"]),
        ("security=none", []),
        ("error=1", []),
        ("q=server&state=active", []),
        ("state=sideways&security=magic", ["Primary", "Backup server"]),
    ],
)
def test_the_list_is_searched_and_filtered(
    admin: Visitor, primary: StoredConfig, backup: StoredConfig, query: str, expected: list[str]
) -> None:
    assert names(admin.get(f"{LIST}?{query}").text) == expected


def test_a_search_without_a_result_leads_back(admin: Visitor, primary: StoredConfig) -> None:
    page = admin.get(f"{LIST}?q=nothing-like-it").text
    assert "No matching servers" in page
    assert "Show all" in page


def test_activating_one_deactivates_the_other(admin: Visitor, primary: StoredConfig, backup: StoredConfig) -> None:
    page = act(admin, backup, "activate", version="1", asked="1")
    assert "Mail now goes through “Backup server”." in page
    assert [stored.row.name for stored in configs.search(active=True)] == ["Backup server"]
    activated = configs.get(backup.row.id).row
    assert activated.updated_by == "alice"


def test_what_has_changed_since_the_list_was_loaded_is_not_activated(admin: Visitor, backup: StoredConfig) -> None:
    configs.update(backup.row.id, parse_change({"from_name": "Theirs"}))
    assert "Someone else has just changed “Backup server”." in act(admin, backup, "activate", version="1")
    assert not configs.get(backup.row.id).row.is_active


def test_a_server_that_cannot_be_used_says_what_to_do_and_cannot_be_activated(
    admin: Visitor, backup: StoredConfig
) -> None:
    sql("UPDATE smtp_config SET key_id = '00000000'")
    page = admin.get(LIST).text
    assert sealing.UNREADABLE in page
    assert "Activate Backup server" not in page
    assert sealing.UNREADABLE in act(admin, backup, "activate")
    assert names(admin.get(f"{LIST}?error=1").text) == ["Backup server"]


def test_an_active_server_that_was_altered_is_told_first(admin: Visitor, primary: StoredConfig) -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example'")
    page = admin.get(LIST).text
    assert "“Primary” is active, but cannot be used." in page
    assert sealing.ALTERED in page


def test_deactivating_says_that_nothing_else_sends_and_asks_first(admin: Visitor, primary: StoredConfig) -> None:
    page = admin.get(f"{LIST}/{primary.row.id}/deactivate").text
    assert "No mail can be sent after that." in page
    assert configs.get(primary.row.id).row.is_active


def test_after_deactivating_the_list_says_where_mail_goes(admin: Visitor, primary: StoredConfig) -> None:
    page = act(admin, primary, "deactivate", version="1")
    assert "Deactivated “Primary”." in page
    assert "No mail can be sent: no server is active." in page
    assert [event.action for event in audit.events()][:1] == ["deactivated"]


def test_deleting_the_active_server_says_what_sends_instead(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, **ENV}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        admin = visit(app)
        admin.sign_in()
        stored = create("Primary", is_active=True)
        page = admin.get(f"{LIST}/{stored.row.id}/delete").text
    assert "Mail will go through env.example.com (set in .env) as env@example.com." in page


def test_deleting_an_inactive_server_changes_nothing_for_mail(
    admin: Visitor, primary: StoredConfig, backup: StoredConfig
) -> None:
    assert "It is not active" in admin.get(f"{LIST}/{backup.row.id}/delete").text
    assert "Deleted “Backup server”." in act(admin, backup, "delete", version="1")
    assert names(admin.get(LIST).text) == ["Primary"]


def test_what_has_changed_since_the_question_is_not_deleted(admin: Visitor, backup: StoredConfig) -> None:
    configs.activate(backup.row.id)
    assert "Someone else has just changed" in act(admin, backup, "delete", version="1")
    assert configs.get(backup.row.id)


def test_env_is_a_line_of_the_list_with_its_place_in_the_route(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, **ENV}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        admin = visit(app)
        admin.sign_in()
        alone = admin.get(LIST).text
        create("Primary", is_active=True)
        second = admin.get(LIST).text
    assert "Mail goes through env.example.com (set in .env) as env@example.com." in alone
    assert "env.example.com:587" in second
    assert "Second in the route: used while Primary is down or cannot be used." in second


def test_a_test_from_the_list_tests_the_stored_values_and_notes_it(admin: Visitor) -> None:
    with RecordingServer() as server:
        place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False}
        stored = create("Near", **place)
        page = admin.post_form(f"{LIST}/{stored.row.id}/test", {"saved": "1"})
    assert page.status_code == 200
    assert "Tested the saved settings." in page.text
    assert configs.get(stored.row.id).verified_reach is Reach.OWN_DOMAIN  # without a sign-in, to an address of its own


def test_a_test_from_the_list_of_a_server_that_cannot_be_used_says_why(admin: Visitor, backup: StoredConfig) -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example'")
    page = admin.post_form(f"{LIST}/{backup.row.id}/test", {"saved": "1"})
    assert page.status_code == 422
    assert sealing.ALTERED in page.text


def test_while_mail_goes_around_a_server_that_is_down_the_list_says_so(
    environment: dict[str, str], tmp_path: Path
) -> None:
    app = create_app({**environment, **ENV}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        alice = visit(app)
        alice.sign_in()
        step = route.step_of(create("Primary", is_active=True))
        failed = Meeting(what=What.FAILED, reason=Reason.CONNECT, is_broken=True, is_unreachable=True)
        with transaction() as session:
            health.note(session, step.owner, step.config_id, step.fingerprint, [failed])
        page = alice.get(LIST).text
    assert "Primary (primary.example.com) is down. Mail goes through env.example.com (set in .env) instead." in page
    assert "Could not connect to server." in page
    assert "Active, down" in page


def test_the_server_of_env_is_tested_by_its_button_and_then_says_how_it_is(
    environment: dict[str, str], tmp_path: Path
) -> None:
    place = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(free_port()), "EMAIL_USE_TLS": "false"}
    app = create_app({**environment, **place, "DEFAULT_FROM_EMAIL": "a@example.com"}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        alice = visit(app)
        alice.sign_in()
        assert "Test the server in .env" in alice.get(LIST).text
        assert alice.post_form(f"{LIST}/env/test").status_code == 303
        page = alice.get(LIST).text
        assert "127.0.0.1 (.env): Could not connect to server." in page
        assert "No email gets out: 127.0.0.1 (set in .env) has been down since" in page


def test_a_hostile_name_is_shown_as_text(admin: Visitor) -> None:
    create("Bad</a><script>alert(1)</script>", smtp_server="bad.example.com")
    assert "<script>alert(1)" not in admin.get(LIST).text


@pytest.mark.parametrize("action", ["activate", "deactivate", "delete", "test"])
def test_without_the_sessions_token_nothing_is_switched(admin: Visitor, primary: StoredConfig, action: str) -> None:
    assert admin.post(f"{LIST}/{primary.row.id}/{action}", data=FORM).status_code == 400
    assert configs.get(primary.row.id).row.is_active


@pytest.mark.parametrize("action", ["activate", "deactivate", "delete", "test", ""])
def test_only_administrators_switch(client: Visitor, primary: StoredConfig, action: str) -> None:
    make_bob()
    client.sign_in("bob")
    path = f"{LIST}/{primary.row.id}/{action}".rstrip("/")
    assert client.post_form(path, FORM).status_code == 403
    assert client.get(LIST).status_code == 403
