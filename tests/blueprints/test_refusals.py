"""Refusals leave a trace: one line in the log, and in the audit trail what an administrator should see."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from services import audit
from services.audit import Action
from tests.turned_clock import Now
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils import clock

API = "/api/settings/smtp"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """The security lines that are logged meanwhile."""
    kept: list[dict[str, Any]] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert isinstance(record.msg, dict)
            kept.append(record.msg)

    keeper = Keeper()
    logger = logging.getLogger("blueprints.refusals")
    logger.addHandler(keeper)
    yield kept
    logger.removeHandler(keeper)


@pytest.fixture
def bob(app: Flask) -> Visitor:
    """Bob, who is no administrator, signed in."""
    make_alice(is_admin=True)
    make_bob()
    visitor = visit(app)
    visitor.sign_in("bob")
    return visitor


def told(line: dict[str, Any]) -> tuple[object, ...]:
    return tuple(line[key] for key in ("event", "status", "actor", "address", "endpoint", "method"))


def test_a_wrong_password_makes_one_line(app: Flask, lines: list[dict[str, Any]]) -> None:
    make_alice()
    visit(app).sign_in(password="wrong")
    assert list(map(told, lines)) == [("security_refusal", 401, "anonymous", "127.0.0.1", "auth.login", "POST")]


@pytest.mark.parametrize("header", ["Bearer sesame-open-please", "Bearer sealpost_sesame-open-please", "Bearer "])
def test_a_wrong_bearer_token_is_told_by_its_fingerprint(app: Flask, lines: list[dict[str, Any]], header: str) -> None:
    visit(app).get(API, headers={"Authorization": header})
    assert list(map(told, lines)) == [
        ("security_refusal", 401, "anonymous", "127.0.0.1", "settings_api.get_smtp", "GET")
    ]
    assert len(lines[0]["fingerprint"]) == 8
    assert "sesame" not in str(lines)


def test_whoever_may_not_makes_one_line_with_their_name(bob: Visitor, lines: list[dict[str, Any]]) -> None:
    for path in ("/settings/smtp", API):
        bob.get(path)
    assert [told(line)[1:5] for line in lines] == [
        (403, "bob", "127.0.0.1", "settings.smtp"),
        (403, "bob", "127.0.0.1", "settings_api.get_smtp"),
    ]


def test_a_limit_makes_one_line(app: Flask, lines: list[dict[str, Any]]) -> None:
    visitor = visit(app)
    for _ in range(11):
        visitor.post_form("/forgot-password", {"email": "a@example.com"})
    assert [told(line)[1:5] for line in lines] == [(429, "anonymous", "127.0.0.1", "auth.forgot_password")]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "CSRF: token"),
        ({"X-CSRFToken": "another"}, "CSRF: token"),
        ({"Origin": "https://evil.example"}, "CSRF: origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "CSRF: origin"),
    ],
)
def test_a_forged_form_makes_one_line(
    bob: Visitor, lines: list[dict[str, Any]], headers: dict[str, str], reason: str
) -> None:
    bob.post("/account/sessions/end", headers=headers)
    assert [(*told(line)[1:5], line["reason"]) for line in lines] == [
        (400, "bob", "127.0.0.1", "account.end_sessions", reason)
    ]


def test_an_answer_of_a_provider_to_another_session_makes_one_line_without_it(
    bob: Visitor, lines: list[dict[str, Any]]
) -> None:
    bob.get("/oauth/callback?state=s-canary&code=c-canary")
    assert [(*told(line)[1:5], line["reason"]) for line in lines] == [
        (303, "bob", "127.0.0.1", "oauth.callback", "OAuth: no sign-in of this session")
    ]
    assert "canary" not in str(lines)


@pytest.mark.parametrize("path", ["/login", "/account", "/nowhere", "/", "/static/x"])
def test_what_is_no_refusal_makes_none(app: Flask, lines: list[dict[str, Any]], path: str) -> None:
    make_alice()
    visit(app).get(path)
    assert lines == []


def test_the_first_403_of_a_window_stands_in_the_audit_trail(bob: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Now()
    monkeypatch.setattr(clock, "now", now)
    for _ in range(5):
        bob.get("/settings/smtp")
        bob.get("/settings/audit")
    events = audit.events(action=Action.REFUSED)
    assert [(event.actor, event.source, event.subject) for event in events] == [("bob", "127.0.0.1", "settings.smtp")]
    now.turn(901)
    bob.get("/settings/audit")
    assert [event.subject for event in audit.events(action=Action.REFUSED)] == ["audit.show", "settings.smtp"]


def test_each_who_is_refused_has_a_first_of_their_own(app: Flask, bob: Visitor) -> None:
    other = visit(app)
    other.sign_in("bob")
    bob.get("/settings/smtp")
    other.get("/settings/smtp", environ_base={"REMOTE_ADDR": "192.0.2.9"})
    assert len(audit.events(action=Action.REFUSED)) == 2
