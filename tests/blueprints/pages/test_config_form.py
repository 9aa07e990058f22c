"""What several servers bring to the form of one: names, copies, switching, the audit trail."""

import pytest

from services import audit
from services.settings import configs
from services.smtp import sasl
from tests.recording_server import RecordingServer
from tests.server_form import FORM, LIST, NEW, is_ticked, run_test, save, stored, url, version
from tests.visitors import Visitor


def test_every_further_server_is_new_and_inactive(admin: Visitor) -> None:
    save(admin)
    page = admin.get(NEW).text
    assert 'id="name" name="name" type="text" value=""' in page
    assert not is_ticked(page, "is_active")


def test_switching_the_active_server_off_in_its_form_saves_the_rest_and_asks_first(admin: Visitor) -> None:
    save(admin)
    answer = save(admin, is_active="", from_name="New", smtp_password="", version=version())
    assert answer.location == f"{url()}/deactivate"
    assert (stored().row.from_name, stored().row.is_active) == ("New", True)


def test_switching_a_server_on_in_its_form_switches_the_other_off(admin: Visitor) -> None:
    save(admin)
    asked = admin.post_form(NEW, {**FORM, "name": "Backup"}).location
    admin.post_form(asked, {"asked": "1"})
    assert stored().row.name == "Backup"


def test_a_taken_name_is_told_at_the_name_and_nothing_else_is_lost(admin: Visitor) -> None:
    save(admin)
    answer = admin.post_form(NEW, {**FORM, "name": "PRIMARY", "from_name": "Kept"})
    assert answer.status_code == 422
    assert configs.NAME_TAKEN in answer.text
    assert 'value="Kept"' in answer.text


@pytest.mark.parametrize("name", ["", "  ", "x" * 300, "a\r\nb"])
def test_a_wrong_name_is_refused(admin: Visitor, name: str) -> None:
    assert save(admin, name=name).status_code == 422
    assert configs.search() == []


def test_a_test_needs_no_name(admin: Visitor) -> None:
    with RecordingServer() as server:
        assert run_test(admin, server, name="").status_code == 200


def test_a_copy_has_everything_but_the_password(admin: Visitor) -> None:
    save(admin)
    page = admin.get(f"{NEW}?copy={stored().row.id}").text
    assert 'value="Copy of Primary"' in page
    assert 'value="Müller, Söhne"' in page
    assert "Enter the password. It was not copied." in page
    assert not is_ticked(page, "is_active")
    assert "A password is stored" not in page


def test_a_copy_takes_a_name_that_is_free(admin: Visitor) -> None:
    save(admin)
    save(admin, name="Copy of Primary", smtp_password="", version=version())
    admin.post_form(NEW, {**FORM, "name": "Copy of Copy of Primary", "is_active": ""})
    assert 'value="Copy of Copy of Primary 2"' in admin.get(f"{NEW}?copy={stored().row.id}").text


@pytest.mark.parametrize("method", sasl.KNOWN)
def test_the_sign_in_method_is_chosen_and_kept(admin: Visitor, method: str) -> None:
    save(admin, auth_method=method)
    assert f'<option value="{method}" selected>' in admin.get(url()).text
    assert stored().row.auth_method == method


def test_whoever_opens_a_servers_form_stands_in_the_trail(admin: Visitor) -> None:
    save(admin)
    admin.get(url())
    (event, *_) = audit.events(action="viewed")
    assert (event.actor, event.subject) == ("alice", "configuration Primary (smtp.example.com:587)")


def test_a_test_stands_in_the_trail_once(admin: Visitor) -> None:
    with RecordingServer() as server:
        run_test(admin, server)
    (event,) = audit.events(action="tested")
    assert (event.actor, event.details) == ("alice", "it works, to its own domain only")  # without a sign-in
    assert f"{server.host}:{server.port}" in event.subject


def test_an_unknown_server_has_no_form(admin: Visitor) -> None:
    for path in ("1", "99999999999999999999", "1/deactivate", "1/delete", "new?copy=1"):
        assert admin.get(f"{LIST}/{path}").status_code == 404
    for path in ("1", "99999999999999999999", "1/test", "1/activate", "1/deactivate", "1/delete"):
        assert admin.post_form(f"{LIST}/{path}", FORM).status_code == 404
