"""As whom a request acts in the audit trail, from where, and that it ends with the request."""

import contextvars
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from blueprints import access
from database.audit_db import AuditEvent
from services import audit
from services.accounts import api_tokens
from services.audit import NOBODY, Action, Actor
from tests.visitors import Visitor, make_alice, make_bob, visit

CONFIG = {"smtp_server": "127.0.0.1", "smtp_port": 2525, "from_email": "noreply@example.com", "use_tls": False}


def last(action: Action) -> AuditEvent:
    """The newest event of an action."""
    return audit.events(action=action)[0]


@pytest.fixture
def token(app: Flask) -> str:
    """An API token of Bob, an administrator."""
    return api_tokens.create(make_bob(is_admin=True).id, "deploy")[0]


def test_a_change_with_the_session_is_of_its_user(admin: Visitor) -> None:
    headers = {"X-CSRFToken": admin.csrf_token()}
    assert admin.post("/api/settings/smtp", json=CONFIG, headers=headers).status_code == 200
    assert (last(Action.CREATED).actor, last(Action.CREATED).source) == ("alice", "127.0.0.1")


def test_a_change_with_the_admin_token_is_of_the_admin_token(app: Flask, bearer: dict[str, str]) -> None:
    assert visit(app).post("/api/settings/smtp", json=CONFIG, headers=bearer).status_code == 200
    assert last(Action.CREATED).actor == "ADMIN_TOKEN"


def test_a_change_with_an_api_token_is_of_its_owner_by_that_token(app: Flask, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    visitor = visit(app)
    assert visitor.post("/api/settings/smtp", json=CONFIG, headers=headers).status_code == 200
    assert last(Action.CREATED).actor == "bob (token deploy)"
    answer = visitor.get("/api/settings/smtp", headers=headers).json
    assert answer is not None
    assert answer["data"]["updated_by"] == "bob"


def test_a_change_with_a_token_is_not_of_whose_cookie_comes_with_it(admin: Visitor, bearer: dict[str, str]) -> None:
    assert admin.post("/api/settings/smtp", json=CONFIG, headers=bearer).status_code == 200
    assert last(Action.CREATED).actor == "ADMIN_TOKEN"


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::aaaa:1", "2001:db8::aaaa:1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", "unknown"),
        ("1.2.3.4\r\n\x1b[31mfaked" + "x" * 10_240, "1.2.3.4   [31mfaked" + "x" * 45),
    ],
)
def test_the_source_is_the_whole_address_of_the_client(app: Flask, peer: str, source: str) -> None:
    make_alice()
    fields = {"login": "alice", "password": "wrong"}
    visit(app).post_form("/login", fields, environ_base={"REMOTE_ADDR": peer}, headers={"X-Forwarded-For": "9.9.9.9"})
    assert last(Action.SIGN_IN_FAILED).source == source


def test_behind_a_trusted_proxy_the_source_is_whom_it_saw(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app(environment | {"TRUSTED_PROXIES": "1"}, instance_path=tmp_path)
    headers = {"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}
    with app.app_context():
        make_alice()
        visit(app).post_form("/login", {"login": "alice", "password": "wrong"}, headers=headers)
        assert last(Action.SIGN_IN_FAILED).source == "198.51.100.1"


def actor_after(app: Flask, path: str, **kwargs: Any) -> tuple[int, Actor]:
    """Who acts in a thread that has served a request: the status of the answer, and the actor."""

    def serve() -> tuple[int, Actor]:
        status = app.test_client().get(path, **kwargs).status_code
        return status, audit.actor()

    return contextvars.Context().run(serve)


def test_nobody_acts_any_more_after_a_request(app: Flask, bearer: dict[str, str]) -> None:
    assert actor_after(app, "/api/settings/smtp", headers=bearer) == (404, NOBODY)
    assert actor_after(app, "/api/settings/smtp", headers={"Authorization": "Bearer wrong"}) == (401, NOBODY)
    assert actor_after(app, "/nowhere") == (404, NOBODY)
    assert actor_after(app, "/login") == (302, NOBODY)


def test_nobody_acts_any_more_after_a_request_that_broke(app: Flask, bearer: dict[str, str]) -> None:
    heard: list[str] = []

    def broken() -> str:
        heard.append(audit.actor().name)
        raise RuntimeError

    app.add_url_rule("/api/broken", view_func=access.admin_api(broken))
    assert actor_after(app, "/api/broken", headers=bearer) == (500, NOBODY)
    assert heard == ["ADMIN_TOKEN"]


def test_the_next_request_of_a_thread_is_not_of_the_one_before(app: Flask, bearer: dict[str, str]) -> None:
    make_alice()

    def serve() -> None:
        one_after_the_other = app.test_client()
        one_after_the_other.post("/api/settings/smtp", json=CONFIG, headers=bearer)
        page = one_after_the_other.get("/login").text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found
        fields = {"login": "alice", "password": "wrong", "csrf_token": found[1]}
        one_after_the_other.post("/login", data=fields)

    contextvars.Context().run(serve)
    assert [event.actor for event in audit.events(limit=2)] == ["anonymous", "ADMIN_TOKEN"]
