"""A form that could not be taken as it came stands in the answer, filled: for guests too, and nothing is stored."""

import re
from collections.abc import Callable, Iterator
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from database.engine import db, reading
from services.settings import configs
from services.settings.fields import parse_change
from tests.blueprints.pages.test_kept_forms import SECRET, TYPED, rows, value_of
from tests.server_form import LIST, NEW
from tests.visitors import PASSWORD, Visitor, make_alice

LOGIN = {"version": "", "security": "starttls", "smtp_username": "u", "smtp_password": SECRET}
OLD = {"csrf_token": "of-an-earlier-session"}


def token_in(page: str) -> str:
    return value_of(page, "csrf_token")


@pytest.fixture
def no_writing(admin: Visitor) -> Iterator[Callable[..., None]]:
    """Every change that the database is asked for fails, as on a full disk; reading goes on."""

    def refuse(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.lstrip().upper().startswith(("INSERT INTO SMTP", "UPDATE SMTP")):
            raise OperationalError(statement, None, Exception("database or disk is full"))

    event.listen(db.engine, "before_cursor_execute", refuse)
    yield refuse
    if event.contains(db.engine, "before_cursor_execute", refuse):
        event.remove(db.engine, "before_cursor_execute", refuse)


def test_an_expired_form_of_a_server_comes_back_filled_and_can_be_sent(admin: Visitor) -> None:
    answer = admin.post(NEW, data={**TYPED, **OLD, "version": "", "smtp_password": SECRET, "smtp_username": "u"})
    assert answer.status_code == 400
    assert "The form has expired" in answer.text
    assert "Not saved yet" in answer.text
    assert value_of(answer.text, "smtp_server") == "typed.example"
    assert SECRET not in answer.text
    assert "Enter it again. Sealpost never keeps it." in answer.text
    assert (rows(), configs.search()) == (0, [])
    sent = {**TYPED, "version": "", "csrf_token": token_in(answer.text)}
    assert admin.post(NEW, data=sent).status_code == 303


@pytest.mark.parametrize("path", ["", "/test"])
def test_an_expired_form_of_a_stored_server_keeps_its_version(admin: Visitor, path: str) -> None:
    made = configs.create(parse_change({"name": "One", "smtp_server": "a.example", "from_email": "a@example.com"}))
    answer = admin.post(f"{LIST}/{made.row.id}{path}", data={**TYPED, **OLD, "version": "1"})
    assert value_of(answer.text, "version") == "1"
    assert f'action="{LIST}/{made.row.id}"' in answer.text


@pytest.mark.parametrize(
    ("path", "page", "fields", "name"),
    [
        ("/account/tokens", "/account/tokens", {"name": "deploy", "days": "3"}, "name"),
        ("/account/email", "/account", {"email": "new@example.com", "email_password": SECRET}, "email"),
        ("/settings/accounts", "/settings/accounts", {"username": "carol", "email": "carol@example.com"}, "email"),
    ],
)
def test_every_expired_form_comes_back(admin: Visitor, path: str, page: str, fields: dict[str, str], name: str) -> None:
    answer = admin.post(path, data={**fields, **OLD})
    assert answer.status_code == 400
    assert value_of(answer.text, name) == fields[name]
    assert SECRET not in answer.text


def test_a_guests_sign_in_comes_back_with_the_name_and_where_it_was_to_lead(client: Visitor) -> None:
    make_alice(is_admin=True)
    sent = {"login": "alice", "password": PASSWORD, "next": "/settings/audit", "remember": "1"}
    answer = client.post("/login", data={**sent, **OLD})
    assert answer.status_code == 400
    assert value_of(answer.text, "login") == "alice"
    assert value_of(answer.text, "next") == "/settings/audit"
    assert re.search(r'name="remember"[^>]* checked', answer.text)
    assert PASSWORD not in answer.text
    assert rows() == 0
    again = client.post("/login", data={**sent, "csrf_token": token_in(answer.text)})
    assert (again.status_code, again.headers["Location"]) == (303, "/settings/audit")


def test_a_guest_who_forgot_the_password_types_the_address_once(client: Visitor) -> None:
    make_alice()
    answer = client.post("/forgot-password", data={"email": "alice@example.com", **OLD})
    assert (answer.status_code, value_of(answer.text, "email")) == (400, "alice@example.com")
    assert rows() == 0


def test_the_set_up_comes_back_without_its_code(client: Visitor) -> None:
    sent = {"code": "c0de-typed", "username": "alice", "email": "alice@example.com", "password": PASSWORD}
    answer = client.post("/setup", data={**sent, **OLD})
    assert value_of(answer.text, "username") == "alice"
    assert "c0de-typed" not in answer.text
    assert PASSWORD not in answer.text


def test_a_reset_page_without_its_link_says_so_and_echoes_nothing(client: Visitor) -> None:
    answer = client.post("/reset-password", data={"password": SECRET, **OLD})
    assert answer.status_code == 400
    assert SECRET not in answer.text


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
@pytest.mark.parametrize("path", [NEW, "/login"])
def test_what_another_site_sends_is_shown_to_nobody(admin: Visitor, path: str, headers: dict[str, str]) -> None:
    answer = admin.post(path, data={**TYPED, "login": "typed.example", **OLD}, headers=headers)
    assert answer.status_code == 400
    assert "typed.example" not in answer.text


@pytest.mark.parametrize("path", ["/logout", f"{LIST}/1/activate"])
def test_a_button_with_an_old_token_is_an_error_as_before(admin: Visitor, path: str) -> None:
    answer = admin.post(path, data={"version": "1", **OLD})
    assert answer.status_code == 400
    assert "Not saved yet" not in answer.text
    assert admin.is_signed_in()


def test_a_script_is_told_in_its_own_language(admin: Visitor) -> None:
    answer = admin.post(f"{NEW}/test", data={**TYPED, **OLD}, headers={"Accept": "application/x-ndjson"})
    assert (answer.status_code, answer.is_json) == (400, True)


def test_a_page_of_administrators_is_not_shown_to_others(app: Flask, client: Visitor) -> None:
    make_alice()
    client.sign_in()
    answer = client.post(NEW, data={**TYPED, **OLD})
    assert answer.status_code == 403
    assert "typed.example" not in answer.text


def test_a_save_that_the_database_refuses_can_be_sent_again(admin: Visitor, no_writing: Callable[..., None]) -> None:
    answer = admin.post_form(NEW, {**TYPED, **LOGIN})
    assert answer.status_code == 503
    assert "What you typed is still on this page" in answer.text
    assert SECRET not in answer.text
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', answer.text))
    fields = {name: unescape(value) for name, value in hidden.items()}
    assert {name: fields[name] for name in ("smtp_server", "from_name")} == {
        "smtp_server": "typed.example",
        "from_name": TYPED["from_name"],
    }
    assert re.search(r'<input[^>]*name="smtp_password" type="password"', answer.text)
    event.remove(db.engine, "before_cursor_execute", no_writing)
    action = re.search(r'<form class="panel panel-form" method="post" action="([^"]+)"', answer.text)
    assert action
    assert admin.post(unescape(action[1]), data={**fields, "smtp_password": SECRET}).status_code == 303
    assert configs.search()[0].settings.password.reveal() == SECRET


def test_a_request_without_a_form_has_none_in_its_error(admin: Visitor) -> None:
    with reading() as session:
        session.execute(text("SELECT 1"))
    assert "Not saved yet" not in admin.get("/nowhere").text


def test_a_page_that_sends_its_form_itself_is_told_where_that_leads(admin: Visitor) -> None:
    sent = {**TYPED, "version": ""}
    answer = admin.post_form(NEW, sent, headers={"Sealpost-In-Place": "1"})
    assert (answer.status_code, answer.headers["Sealpost-Goes-On"], answer.data) == (204, LIST, b"")
    assert "Location" not in answer.headers
    assert "Saved." in admin.get(LIST).text
    refused = admin.post_form(NEW, {**sent, "smtp_port": "0"}, headers={"Sealpost-In-Place": "1"})
    assert (refused.status_code, "Sealpost-Goes-On" in refused.headers) == (422, False)
