"""What requests leave in the audit trail: who, from where, what; and never a secret."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app import create_app
from database.audit_db import AuditEvent
from services import audit
from services.accounts import accounts, api_tokens
from services.audit import Action, Actor
from tests.conftest import ADMIN_TOKEN, APP_KEY
from tests.outbox import answer_requests
from tests.recording_server import RecordingServer
from tests.secret_scanner import found_in
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, link_in, mail_through, make_alice, make_bob, visit
from utils.errors import InvalidInput

CONFIG = {"smtp_server": "127.0.0.1", "smtp_port": 2525, "from_email": "noreply@example.com", "use_tls": False}


def last(action: Action) -> AuditEvent:
    """The newest event of an action."""
    return audit.events(action=action)[0]


def rows(folder: Path) -> list[Any]:
    """The whole trail as the database holds it."""
    with sqlite3.connect(folder / "test.db") as connection:
        found = connection.execute("SELECT * FROM audit_event ORDER BY id").fetchall()
    connection.close()
    return found


@pytest.fixture
def token(app: Flask) -> str:
    """An API token of Bob, an administrator."""
    return api_tokens.create(make_bob(is_admin=True).id, "deploy")[0]


@pytest.mark.parametrize("login", ["alice", " ALICE ", "Alice@EXAMPLE.com"])
def test_a_sign_in_is_recorded_under_who_signed_in(app: Flask, login: str) -> None:
    make_alice()
    visit(app).sign_in(login)
    event = last(Action.SIGNED_IN)
    assert (event.actor, event.source, event.subject) == ("alice", "127.0.0.1", "account alice")
    assert event.details == "password"


@pytest.mark.parametrize("login", ["alice", " ALICE ", "Alice@EXAMPLE.com"])
def test_a_failed_sign_in_is_recorded_with_the_account_that_was_meant(app: Flask, login: str) -> None:
    make_alice()
    visit(app).sign_in(login, "wrong")
    event = last(Action.SIGN_IN_FAILED)
    assert (event.actor, event.source, event.subject) == ("anonymous", "127.0.0.1", "account alice")
    assert audit.events(action=Action.SIGNED_IN) == []


@pytest.mark.parametrize("login", ["", "malice", "malice@example.com", PASSWORD, f"alice {PASSWORD}", "a" * 10_240])
def test_a_failed_sign_in_with_another_name_does_not_say_which(app: Flask, tmp_path: Path, login: str) -> None:
    make_alice()
    visit(app).sign_in(login, PASSWORD)
    assert last(Action.SIGN_IN_FAILED).subject == "unknown account"
    assert PASSWORD not in str(rows(tmp_path))
    assert "malice" not in str(rows(tmp_path))


def test_a_sign_in_over_the_limit_is_not_recorded(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    answers = [visitor.sign_in("alice", "wrong").status_code for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert len(audit.events(action=Action.SIGN_IN_FAILED)) == 10


def test_the_setup_is_recorded(app: Flask) -> None:
    fields = {"code": accounts.issue_setup_code(), "username": "alice", "email": "a@example.com", "password": PASSWORD}
    visit(app).post_form("/setup", fields)
    event = last(Action.ACCOUNT_CREATED)
    assert (event.actor, event.subject, event.details) == ("anonymous", "account alice", "administrator")


def test_an_account_made_by_a_command_is_recorded_under_that_actor(app: Flask) -> None:
    with audit.acting(Actor("operator", "command line")):
        make_alice()
    event = last(Action.ACCOUNT_CREATED)
    assert (event.actor, event.source, event.details) == ("operator", "command line", "")


def test_an_account_that_was_refused_is_not_recorded(app: Flask) -> None:
    make_alice()
    with pytest.raises(InvalidInput):
        make_alice()
    assert len(audit.events(action=Action.ACCOUNT_CREATED)) == 1


@pytest.mark.parametrize(
    ("path", "fields", "action"),
    [
        ("/account/password", {"current_password": PASSWORD, "password": NEW_PASSWORD}, Action.PASSWORD_CHANGED),
        ("/account/email", {"email": "new@example.com", "email_password": PASSWORD}, Action.EMAIL_CHANGE_ASKED),
        ("/account/sessions/end", {}, Action.SESSIONS_ENDED),
    ],
)
def test_a_change_of_ones_own_account_is_recorded(
    admin: Visitor, path: str, fields: dict[str, str], action: Action
) -> None:
    assert admin.post_form(path, fields).status_code == 303
    event = last(action)
    assert (event.actor, event.source, event.subject) == ("alice", "127.0.0.1", "account alice")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/account/password", {"current_password": "wrong", "password": NEW_PASSWORD}),
        ("/account/password", {"current_password": PASSWORD, "password": "short"}),
        ("/account/email", {"email": "new@example.com", "email_password": "wrong"}),
        ("/account/email", {"email": "alice@example.com", "email_password": PASSWORD}),
    ],
)
def test_what_changed_nothing_is_not_recorded(admin: Visitor, path: str, fields: dict[str, str]) -> None:
    before = len(audit.events())
    admin.post_form(path, fields)
    assert len(audit.events()) == before


def test_a_reset_is_recorded_when_it_is_done_and_not_when_it_is_asked_for(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with RecordingServer() as server:
        app = create_app(environment | mail_through(server), instance_path=tmp_path)
        with app.app_context():
            make_alice()
            visitor = visit(app)
            visitor.post_form("/forgot-password", {"email": "alice@example.com"})
            answer_requests()
            assert audit.events(action=Action.PASSWORD_RESET) == []
            visitor.get(f"/reset-password?token={link_in(server.mails[0])[1]}")
            assert visitor.post_form("/reset-password", {"password": NEW_PASSWORD}).status_code == 303
            event = last(Action.PASSWORD_RESET)
    assert (event.actor, event.source, event.subject) == ("anonymous", "127.0.0.1", "account alice")


def test_a_password_given_by_an_operator_is_a_reset(app: Flask) -> None:
    make_alice()
    with audit.acting(Actor("operator", "command line")):
        accounts.reset_password("alice", NEW_PASSWORD)
    assert last(Action.PASSWORD_RESET).actor == "operator"


def path_of(rule: Rule) -> str:
    return re.sub(r"<[^>]+>", "1", str(rule.rule))


def test_no_route_changes_or_deletes_an_event(app: Flask, admin: Visitor, tmp_path: Path) -> None:
    for number in range(3):
        audit.note(Action.TESTED, f"configuration {number}")
    before = rows(tmp_path)
    fields = {"id": "1", "event_id": "1", "action": "deleted", "subject": "nothing", "q": "", "confirm": "1"}
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            if not admin.is_signed_in():
                admin.sign_in()
            headers = {"X-CSRFToken": admin.csrf_token("/account")}
            for sent in ({"data": fields}, {"json": fields}):
                admin.open(path_of(rule), method=method, headers=headers, **sent)
    after = rows(tmp_path)
    assert after[: len(before)] == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/settings/audit", "/settings/audit.csv", "/settings/audit/1"])
def test_the_trail_can_only_be_read(admin: Visitor, method: str, path: str) -> None:
    answer = admin.open(path, method=method, headers={"X-CSRFToken": admin.csrf_token("/account")})
    assert answer.status_code in (404, 405)


def test_no_secret_gets_into_the_trail(app: Flask, admin: Visitor, token: str, tmp_path: Path) -> None:
    smtp_password, reset_password = "smtp pässword with spaces", "yellow submarine forty two"
    config = {**CONFIG, "smtp_username": "mailer", "smtp_password": smtp_password, "name": "Primary"}
    for bearer_token in (ADMIN_TOKEN, token):
        headers = {"Authorization": f"Bearer {bearer_token}"}
        assert visit(app).post("/api/settings/smtp", json=config, headers=headers).status_code == 200
    visit(app).get("/api/settings/smtp", headers={"Authorization": f"Bearer {token}x"})
    for login in (PASSWORD, NEW_PASSWORD, token, f"{PASSWORD}@example.com"):
        visit(app).sign_in(login, PASSWORD)
    visit(app).sign_in("alice", smtp_password)
    admin.post_form("/account/password", {"current_password": PASSWORD, "password": NEW_PASSWORD})
    admin.post_form("/account/email", {"email": "new@example.com", "email_password": NEW_PASSWORD})
    accounts.reset_password("alice", reset_password)
    trail = "\n".join(map(str, rows(tmp_path))).encode()
    session_cookie = admin.get_cookie("sealpost_session")
    assert session_cookie is not None
    secrets = {
        "account password": [PASSWORD],
        "new password": [NEW_PASSWORD],
        "given password": [reset_password],
        "SMTP password": [smtp_password],
        "API token": [token, token.removeprefix("sealpost_")],
        "ADMIN_TOKEN": [ADMIN_TOKEN],
        "APP_KEY": [APP_KEY],
        "session": [session_cookie.value],
    }
    assert len(rows(tmp_path)) >= 12
    assert found_in(trail, secrets) == set()
    assert found_in(trail + token.encode(), secrets) == {"API token"}
