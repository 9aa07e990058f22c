"""``/account/smtp``: one's own mail server, and who sends; the administrator's form, with less to choose."""

import json
import re
from collections.abc import Iterator

import pytest
from flask import Flask

from blueprints.pages.own_server_page import NOT_YOURS
from services.accounts import sessions
from services.personal import oversight, own_server, policy_changes, templates
from services.personal.oversight import Decision
from services.settings.personal_route import IS_OFF, NOT_ALLOWED
from tests import certificates, own_servers
from tests.blueprints.pages.test_people_page import let_time_pass
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, Visitor, make_alice, make_bob, visit
from utils.allowed_places import NOT_FOR_ACCOUNTS

PAGE = "/account/smtp"
HOST = "127.72.1.1"
SECRET = "own-C4nary passwörd"
TYPED = {
    "smtp_server": HOST,
    "smtp_port": "2525",
    "security": "starttls",
    "smtp_username": "bob",
    "smtp_password": SECRET,
    "from_email": "",
    "from_name": "Bob",
    "reply_to": "",
}
TEMPLATE = {"domain": "example.com", "host": HOST, "port": "2525", "security": "starttls"}


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    users = {"bob": SECRET, "bob@example.com": SECRET}
    with RecordingServer(host=HOST, port=2525, tls=certificates.good_context(HOST), users=users) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        "SMTP_CA_FILE": str(certificates.ca_file()),
        "SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.72.0.0/16",
    }


@pytest.fixture
def bob_id(app: Flask) -> int:
    make_alice(is_admin=True)
    return make_bob().id


@pytest.fixture
def bob(app: Flask, bob_id: int) -> Visitor:
    visitor = visit(app)
    assert visitor.sign_in("bob").status_code == 303
    return visitor


def stored(bob_id: int) -> tuple[str, str, str]:
    """Host, From and password, as they would be used."""
    found = own_server.find(bob_id)
    assert found
    return found.settings.host, found.settings.from_email, found.settings.password.reveal()


def test_guests_are_led_to_the_sign_in(client: Visitor) -> None:
    for path in (PAGE, f"{PAGE}/delete"):
        assert client.get(path).location.startswith("/login?next=/account/smtp")


def test_who_has_none_is_told_who_sends_and_never_hears_of_the_global_server(bob: Visitor) -> None:
    page = bob.get(PAGE).text
    assert "Who sends your mail now" in page
    for foreign in (
        'name="helo_hostname"',
        'name="emails_per_minute"',
        'name="client_key"',
        'value="none"',
        'name="is_active"',
    ):
        assert foreign not in page


def test_a_server_is_saved_and_shown_without_its_password(bob: Visitor, bob_id: int) -> None:
    answer = bob.post_form(PAGE, TYPED)
    assert (answer.status_code, answer.location) == (303, PAGE)
    assert stored(bob_id) == (HOST, "bob@example.com", SECRET)
    page = bob.get(PAGE).text
    assert f"Your own server ({HOST}) sends your mail, from bob@example.com." in page
    assert "These settings have not been tested yet." in page
    assert SECRET not in page
    assert "Use the global server again" in page


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"smtp_server": ""}, "smtp_server"),
        ({"smtp_server": "127.0.0.1"}, "smtp_server"),
        ({"smtp_port": "22"}, "smtp_port"),
        ({"smtp_port": ""}, "smtp_port"),
        ({"security": "none"}, "security"),
        ({"security": ""}, "security"),
        ({"smtp_username": ""}, "smtp_username"),
        ({"smtp_password": ""}, "smtp_password"),
        ({"from_email": "ceo@example.com"}, "from_email"),
        ({"reply_to": "nobody"}, "reply_to"),
    ],
)
def test_what_is_refused_stands_in_the_form_again(
    bob: Visitor, bob_id: int, change: dict[str, str], field: str
) -> None:
    answer = bob.post_form(PAGE, TYPED | change)
    assert answer.status_code == 422
    shown = re.search(rf'id="{field}-error"(?! hidden)>', answer.text)
    assert shown, re.findall(r'id="(\w+)-error">', answer.text)
    assert 'value="Bob"' in answer.text
    assert SECRET not in answer.text
    assert own_server.find(bob_id) is None


@pytest.mark.parametrize(
    "forged",
    [
        {"helo_hostname": "evil.example"},
        {"client_certificate": "x"},
        {"emails_per_minute": "100000"},
        {"is_active": "0"},
        {"account_id": "1"},
        {"timeout_seconds": "60"},
        {"name": "Primary"},
    ],
)
def test_what_an_account_may_not_choose_is_not_taken(bob: Visitor, bob_id: int, forged: dict[str, str]) -> None:
    bob.post_form(PAGE, TYPED | forged)
    found = own_server.find(bob_id)
    assert found
    row = found.row
    assert (row.account_id, row.name, row.helo_hostname, row.emails_per_minute) == (bob_id, "Own server", "", None)
    assert (row.client_certificate, row.is_active, row.timeout_seconds) == ("", True, 10)


def test_a_stored_password_stays_only_for_its_server_and_a_new_one_asks_who_it_is(bob: Visitor, bob_id: int) -> None:
    bob.post_form(PAGE, TYPED)
    kept = {**TYPED, "smtp_password": "", "version": "1"}
    assert bob.post_form(PAGE, {**kept, "from_name": "Robert"}).status_code == 303
    moved = bob.post_form(PAGE, {**kept, "version": "2", "smtp_server": "127.72.1.2"})
    assert (moved.status_code, "Enter the password again" in moved.text) == (422, True)
    let_time_pass()
    late = bob.post_form(PAGE, {**TYPED, "version": "2"})
    assert (late.status_code, "Your own password" in late.text) == (422, True)
    assert bob.post_form(PAGE, {**TYPED, "version": "2", "confirm_password": PASSWORD}).status_code == 303
    assert stored(bob_id)[2] == SECRET


def test_what_was_saved_meanwhile_stands_beside_what_was_typed(bob: Visitor, bob_id: int) -> None:
    bob.post_form(PAGE, TYPED)
    bob.post_form(PAGE, {**TYPED, "from_name": "Other tab", "version": "1"})
    answer = bob.post_form(PAGE, {**TYPED, "from_name": "This tab", "version": "1"})
    assert answer.status_code == 409
    for text in ("Both versions", "Other tab", "This tab", "Save over it", 'name="version" value="2"'):
        assert text in answer.text
    assert "Use the next server while" not in answer.text


def test_what_was_removed_meanwhile_can_be_saved_anew(bob: Visitor, bob_id: int) -> None:
    bob.post_form(PAGE, TYPED)
    own_server.delete(bob_id)
    answer = bob.post_form(PAGE, {**TYPED, "version": "1"})
    assert (answer.status_code, "deleted in the meantime" in answer.text) == (409, True)
    assert bob.post_form(PAGE, TYPED).status_code == 303


def test_a_test_without_script_shows_its_steps_and_nothing_that_the_server_said(
    bob: Visitor, server: RecordingServer
) -> None:
    answer = bob.post_form(f"{PAGE}/test", TYPED)
    assert answer.status_code == 200
    assert f"{HOST} accepts mail from bob@example.com." in answer.text
    assert "aiosmtpd" not in answer.text.lower()
    assert SECRET not in answer.text
    assert bob.post_form(PAGE, TYPED | {"proof": _proof_in(answer.text)}).status_code == 303
    assert "These settings passed a test." in bob.get(PAGE).text


def _proof_in(page: str) -> str:
    found = re.search(r'name="proof" value="([^"]+)"', page)
    assert found
    return found[1]


def test_a_streamed_test_tells_the_same_and_notes_it(bob: Visitor, bob_id: int, server: RecordingServer) -> None:
    bob.post_form(PAGE, TYPED)
    fields = {**TYPED, "smtp_password": "", "version": "1"}
    answer = bob.post_form(f"{PAGE}/test", fields, headers={"Accept": "application/x-ndjson"})
    *steps, result = map(json.loads, filter(str.strip, answer.text.splitlines()))
    assert result["ok"]
    assert result["verified"]
    assert {step["fact"] for step in steps if step["type"] == "step"} == {""}
    assert not result["transcript"]
    found = own_server.find(bob_id)
    assert found
    assert found.is_verified


def test_a_wrong_password_is_told_in_our_words(bob: Visitor, server: RecordingServer) -> None:
    answer = bob.post_form(f"{PAGE}/test", {**TYPED, "smtp_password": "wrong-C4nary"})
    assert "Sign-in: Authentication failed" in answer.text
    assert "C4nary" not in answer.text
    assert "The server said" not in re.sub(r'(?s)<div class="test-line"[^>]* hidden>.*?</div>', "", answer.text)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "no-such-name.example", "localhost"])
def test_what_the_guard_refuses_looks_alike(bob: Visitor, host: str) -> None:
    for headers in ({}, {"Accept": "application/x-ndjson"}):
        answer = bob.post_form(f"{PAGE}/test", {**TYPED, "smtp_server": host}, headers=headers)
        assert NOT_FOR_ACCOUNTS in answer.text
        assert "127.0.0.1" not in answer.text.replace(f'value="{host}"', "")


def test_a_message_is_sent_if_it_is_asked_for(bob: Visitor, server: RecordingServer) -> None:
    before = len(server.mails)
    answer = bob.post_form(f"{PAGE}/test", {**TYPED, "send": "1", "to": "bob@example.com"})
    assert "Accepted does not mean delivered" in answer.text
    assert len(server.mails) == before + 1


@pytest.mark.parametrize("to", ["jane@example.com", "bobby@example.com", "login@example.com"])
def test_a_message_goes_to_nobody_who_has_not_asked_for_it(bob: Visitor, server: RecordingServer, to: str) -> None:
    before = len(server.mails)
    answer = bob.post_form(f"{PAGE}/test", {**TYPED, "smtp_username": "login@example.com", "send": "1", "to": to})
    assert (answer.status_code, NOT_YOURS in answer.text) == (422, True)
    assert len(server.mails) == before


def test_going_back_to_the_global_server_is_asked_first(bob: Visitor, bob_id: int) -> None:
    assert bob.get(f"{PAGE}/delete").status_code == 303
    bob.post_form(PAGE, TYPED)
    assert 'name="version" value="1"' in bob.get(f"{PAGE}/delete").text
    bob.post_form(PAGE, {**TYPED, "from_name": "Other tab", "version": "1"})
    assert bob.post_form(f"{PAGE}/delete", {"version": "1"}).status_code == 303
    assert own_server.find(bob_id)
    for _ in range(2):
        assert bob.post_form(f"{PAGE}/delete", {"version": "2"}).status_code == 303
    assert own_server.find(bob_id) is None


def test_with_a_template_only_a_password_is_typed(bob: Visitor, bob_id: int) -> None:
    templates.save(TEMPLATE)
    page = bob.get(PAGE).text
    for name, value in {"smtp_server": HOST, "smtp_port": "2525"}.items():
        assert re.search(rf'name="{name}"[^>]* value="{value}"', page)
    assert 'name="smtp_username" type="text" value="bob@example.com"' in page
    assert "Your mail provider" not in page
    assert 'type="radio" id="security' not in page
    typed = {**TYPED, "smtp_username": "bob@example.com"}
    assert bob.post_form(PAGE, typed).status_code == 303
    assert stored(bob_id)[:2] == (HOST, "bob@example.com")


@pytest.mark.parametrize("forged", [{"smtp_server": "127.72.9.9"}, {"smtp_port": "587"}, {"security": "tls"}])
def test_what_a_template_fixes_cannot_be_forged(bob: Visitor, bob_id: int, forged: dict[str, str]) -> None:
    templates.save(TEMPLATE)
    answer = bob.post_form(PAGE, {**TYPED, "smtp_username": "bob@example.com", **forged})
    assert (answer.status_code, "An administrator has set" in answer.text) == (422, True)
    assert re.search(rf'name="smtp_server"[^>]* value="{HOST}"', answer.text)
    assert own_server.find(bob_id) is None


def test_a_typed_user_name_at_a_domain_with_a_template_fixes_the_server_as_well(bob: Visitor) -> None:
    templates.save({**TEMPLATE, "domain": "example.org"})
    answer = bob.post_form(PAGE, {**TYPED, "smtp_server": "127.72.9.9", "smtp_username": "b@example.org"})
    assert answer.status_code == 422
    assert re.search(rf'name="smtp_server"[^>]* value="{HOST}"', answer.text)


def test_somebody_elses_mail_is_somewhere_else(bob: Visitor) -> None:
    templates.save(TEMPLATE)
    page = bob.get(f"{PAGE}?other=1").text
    assert "Your mail provider" in page
    assert "Use the server set for example.com" in page


@pytest.mark.parametrize("decision", [Decision.DISABLED, Decision.GLOBAL])
def test_what_an_administrator_decided_is_told(bob: Visitor, bob_id: int, decision: Decision) -> None:
    bob.post_form(PAGE, TYPED)
    oversight.decide(bob_id, decision)
    page = bob.get(PAGE).text
    assert "administrator" in page
    assert ('id="smtp-form"' in page) is (decision is Decision.GLOBAL)
    assert "/account/smtp/delete" in page
    if decision is Decision.DISABLED:
        answer = bob.post_form(PAGE, {**TYPED, "version": "1"})
        assert (answer.status_code, IS_OFF in answer.text) == (403, True)
    else:
        assert bob.post_form(PAGE, {**TYPED, "version": "1"}).status_code == 303
        assert "Saved. It is not in use." in bob.get(PAGE).text


def test_a_host_that_the_policy_no_longer_names_is_told(bob: Visitor) -> None:
    bob.post_form(PAGE, TYPED)
    policy_changes.save({"allowed": "named", "hosts": "example.com"})
    page = bob.get(PAGE).text
    assert "Your mail is not being sent" in page
    assert NOT_ALLOWED in page
    assert "Accounts may only use these mail servers: example.com." in bob.post_form(PAGE, TYPED).text


def test_where_accounts_may_have_none_there_is_no_form(bob: Visitor, bob_id: int) -> None:
    policy_changes.save({"allowed": "off"})
    page = bob.get(PAGE).text
    assert "Accounts cannot use their own servers here." in page
    assert 'id="smtp-form"' not in page
    assert bob.post_form(PAGE, TYPED).status_code == 403
    assert own_server.find(bob_id) is None
    stream = bob.post_form(f"{PAGE}/test", TYPED, headers={"Accept": "application/x-ndjson"})
    assert stream.status_code == 422


def test_a_broken_server_says_so_with_what_happens_meanwhile(bob: Visitor, bob_id: int) -> None:
    bob.post_form(PAGE, TYPED)
    found = own_server.find(bob_id)
    assert found
    own_servers.change(found.row.id, last_error="Authentication failed", fell_back=2)
    page = bob.get(PAGE).text
    for text in ("is failing", "Authentication failed", "2 emails went through the global server instead"):
        assert text in page
    policy_changes.save({"fallback": "never"})
    assert "In the meantime your email waits" in bob.get(PAGE).text
    own_servers.change(found.row.id, is_active=False, inactive_reason="address_changed")
    assert "address has changed" in bob.get(PAGE).text


def test_nobody_sees_or_changes_anothers(app: Flask, bob: Visitor, bob_id: int) -> None:
    bob.post_form(PAGE, TYPED)
    alice = visit(app)
    alice.sign_in("alice")
    assert HOST not in alice.get(PAGE).text
    alice.post_form(f"{PAGE}/delete", {"version": "1", "account_id": str(bob_id)})
    assert own_server.find(bob_id)


def test_a_provider_is_found_without_script_and_nothing_is_connected_to(bob: Visitor) -> None:
    page = bob.get(f"{PAGE}?find=me@gmail.com").text
    assert 'value="smtp.gmail.com"' in page
    assert 'value="me@gmail.com"' in page
    assert re.search(r'<option value="" selected>Your user name', page)


def test_a_form_that_met_no_session_stands_there_again_without_its_password(bob: Visitor, bob_id: int) -> None:
    token = bob.csrf_token()
    sessions.end_all(bob_id)
    answer = bob.post(PAGE, data={**TYPED, "reply_to": "typed@example.com", "csrf_token": token})
    assert (answer.status_code, answer.location) == (303, f"/login?next={PAGE}")
    assert bob.sign_in("bob", next=PAGE).location == PAGE
    page = bob.get(PAGE).text
    for text in (
        "Not saved yet",
        f'value="{HOST}"',
        'value="typed@example.com"',
        "Enter it again. Sealpost never keeps it.",
    ):
        assert text in page
    assert SECRET not in page
    assert own_server.find(bob_id) is None


def test_a_form_with_an_old_token_stands_in_the_answer(bob: Visitor, bob_id: int) -> None:
    answer = bob.post(PAGE, data={**TYPED, "csrf_token": "old"})
    assert (answer.status_code, f'value="{HOST}"' in answer.text) == (400, True)
    assert own_server.find(bob_id) is None


@pytest.mark.parametrize("host", ["xn--a.example", "smtp.example.com.", " smtp.example.com ", "[::1]", "0x7f.1"])
def test_odd_spellings_of_a_host_break_no_page(bob: Visitor, host: str) -> None:
    assert bob.post_form(PAGE, {**TYPED, "smtp_server": host}).status_code in (303, 422)
