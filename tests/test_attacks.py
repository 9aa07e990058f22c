"""What an attacker may send to any route: other roles, other sites, other methods, fields that are not theirs."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from services import accounts, smtp_configs
from tests.conftest import ADMIN_TOKEN
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, make_bob, visit

BASE_URL: Final = "http://localhost:5000"
API: Final = "/api/settings/smtp"
ROLES: Final = ("anonymous", "account", "administrator", "right bearer", "wrong bearer")
BEARERS: Final = {"right bearer": ADMIN_TOKEN, "wrong bearer": ADMIN_TOKEN[::-1]}
SIGN_IN: Final = "sign in"  # led to the sign-in page

Outcome = int | str


def everybody(outcome: Outcome) -> tuple[Outcome, ...]:
    return (outcome,) * len(ROLES)


def members(outcome: Outcome) -> tuple[Outcome, ...]:
    """For whoever has a session; a bearer token opens no page."""
    return (SIGN_IN, outcome, outcome, SIGN_IN, SIGN_IN)


def administrators(outcome: Outcome) -> tuple[Outcome, ...]:
    return (SIGN_IN, 403, outcome, SIGN_IN, SIGN_IN)


def api(outcome: Outcome) -> tuple[Outcome, ...]:
    return (401, 403, outcome, outcome, 401)


# What an empty request comes to, by role. A refused field (422) shows that the request was let in.
MATRIX: Final = {
    "GET /": (SIGN_IN, 302, 302, SIGN_IN, SIGN_IN),
    "GET /setup": everybody(404),
    "POST /setup": everybody(404),
    "GET /login": (200, 302, 302, 200, 200),
    "POST /login": everybody(401),
    "POST /logout": everybody(SIGN_IN),
    "GET /forgot-password": everybody(200),
    "POST /forgot-password": everybody(422),
    "GET /reset-password": everybody(410),
    "POST /reset-password": everybody(410),
    "GET /account": members(200),
    "POST /account/password": members(422),
    "POST /account/email": members(422),
    "POST /account/sessions/end": members(303),
    "GET /settings/smtp": administrators(200),
    "POST /settings/smtp": administrators(422),
    "POST /settings/smtp/test": administrators(422),
    "GET /api/settings/smtp": api(404),
    "POST /api/settings/smtp": api(422),
    "POST /api/settings/smtp/test": api(422),
    "GET /api/openapi.json": everybody(200),
    "GET /api/docs": everybody(200),
    "GET /inbox": administrators(200),
    "GET /inbox/1": administrators(404),
    "GET /inbox/1/html": administrators(404),
    "POST /inbox/clear": administrators(303),
    "GET /static/x": everybody(404),
    "GET /bootstrap/static/x": everybody(404),
}
CONTENT_TYPES: Final = (
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "application/json",
    None,
)
# Where a forged request comes from, and whether it has got hold of a token.
FORGED: Final = {
    "another site, without a token": ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, False),
    "another site, with a token": ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, True),
    "a sandboxed frame, with a token": ({"Origin": "null"}, True),
}
# Good for every form at once: whichever route takes it does something.
FIELDS: Final = {
    "email": "mallory@evil.example",
    "email_password": PASSWORD,
    "current_password": PASSWORD,
    "password": NEW_PASSWORD,
    "login": "alice",
    "smtp_server": "smtp.evil.example",
    "smtp_port": "587",
    "security": "starttls",
    "from_email": "mallory@evil.example",
    "timeout_seconds": "10",
    "is_active": "1",
}
CHANGE: Final = b'{"smtp_server": "smtp.evil.example", "from_email": "mallory@evil.example", "use_tls": true}'
WRITES: Final = ("/settings/smtp", "/forgot-password", "/account/sessions/end", "/account/email", "/account/password")
METHODS: Final = ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """With an inbox that is not on the developer's own machine, so that it asks who is there."""
    return {**environment, "LOCAL_INBOX_PORT": "1025", "HOST": "0.0.0.0"}


@pytest.fixture
def people(app: Flask) -> dict[str, Visitor]:
    """Somebody of each role."""
    make_alice(is_admin=True)
    make_bob()
    found = {role: visit(app) for role in ROLES}
    assert found["administrator"].sign_in("alice").status_code == 303
    assert found["account"].sign_in("bob").status_code == 303
    return found


def routes(app: Flask) -> list[tuple[str, str]]:
    """Every method and path, from the URL map."""
    return [
        (method, str(rule.rule).replace("<int:message_id>", "1").replace("<path:filename>", "x"))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def written_down(folder: Path) -> list[str]:
    """All that the database holds, as SQL."""
    with closing(sqlite3.connect(folder / "test.db")) as connection:
        return list(connection.iterdump())


def outcome_of(answer: TestResponse) -> Outcome:
    leads_to_sign_in = answer.status_code in (302, 303) and urlsplit(answer.location).path == "/login"
    return SIGN_IN if leads_to_sign_in else answer.status_code


def test_the_matrix_knows_every_route(app: Flask) -> None:
    assert set(MATRIX) == {f"{method} {path}" for method, path in routes(app)}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_the_matrix_says(app: Flask, people: dict[str, Visitor], role: str) -> None:
    person = people[role]
    headers = {"Authorization": f"Bearer {BEARERS[role]}"} if role in BEARERS else {}
    ending_the_session = ("POST", "/logout")
    found = {}
    for method, path in sorted(routes(app), key=lambda route: route == ending_the_session):
        body: dict[str, Any] = {}
        if method == "POST":
            headers["X-CSRFToken"] = person.csrf_token()
            body = {"json": {}} if path.startswith("/api/") else {"data": {}}
        answer = person.open(path, method=method, headers=headers, **body)
        found[f"{method} {path}"] = outcome_of(answer)
    assert found == {route: outcomes[ROLES.index(role)] for route, outcomes in MATRIX.items()}


def test_a_right_bearer_token_does_not_stand_in_for_the_session_of_an_account(people: dict[str, Visitor]) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert people["account"].get("/settings/smtp", headers=headers).status_code == 403
    assert people["account"].get(API, headers=headers).status_code == 404


def attack_body(content_type: str | None) -> bytes:
    """A request's body that does something wherever it is taken."""
    if content_type in ("text/plain", "application/json"):
        return CHANGE
    if content_type is None or "multipart" not in content_type:
        return urlencode(FIELDS).encode()
    parts = (f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{FIELDS[name]}\r\n' for name in FIELDS)
    return "".join((*parts, "--x--\r\n")).encode()


@pytest.mark.parametrize("forgery", FORGED)
@pytest.mark.parametrize("role", ["anonymous", "account", "administrator"])
def test_a_forged_request_changes_nothing(
    app: Flask, tmp_path: Path, people: dict[str, Visitor], role: str, forgery: str
) -> None:
    headers, has_token = FORGED[forgery]
    token = {"X-CSRFToken": people[role].csrf_token()} if has_token else {}
    before = written_down(tmp_path)
    for content_type in CONTENT_TYPES:
        request = {"data": attack_body(content_type), "content_type": content_type, "headers": {**headers, **token}}
        answers = {
            path: outcome_of(people[role].open(path, method=method, **request))
            for method, path in routes(app)
            if method != "GET"
        }
        assert set(answers.values()) <= ({400} if role != "anonymous" else {400, 401, SIGN_IN}), answers
        assert written_down(tmp_path) == before, content_type


@pytest.mark.parametrize("path", WRITES)
def test_the_same_request_from_our_own_page_does_change_something(
    tmp_path: Path, people: dict[str, Visitor], path: str
) -> None:
    before = written_down(tmp_path)
    answer = people["administrator"].post_form(path, FIELDS, headers={"Origin": BASE_URL})
    assert answer.status_code in (200, 303)
    assert written_down(tmp_path) != before


@pytest.mark.parametrize("role", ["anonymous", "administrator"])
def test_no_method_breaks_a_route_or_repeats_the_request(
    app: Flask, tmp_path: Path, people: dict[str, Visitor], role: str
) -> None:
    before = written_down(tmp_path)
    for method in METHODS:
        for path in {path for _, path in routes(app)}:
            answer = people[role].open(path, method=method, headers={"X-Repeated": "repeat-after-me"}, data=b"x=1")
            allowed = range(200, 500) if method in ("HEAD", "OPTIONS") else (400, 405)
            assert answer.status_code in allowed, (method, path)
            assert b"repeat-after-me" not in answer.data + str(answer.headers).encode(), (method, path)
    assert written_down(tmp_path) == before


SMUGGLED: Final = {
    "id": "1",
    "account_id": "1",
    "is_admin": "1",
    "username": "root",
    "username_key": "root",
    "email_key": "root@evil.example",
    "password_hash": "$argon2id$x",
    "session_epoch": "99",
    "created_at": "2001-01-01",
    "password_changed_at": "2001-01-01",
    "last_sign_in_at": "2001-01-01",
}


@pytest.mark.parametrize("place", ["form", "query"])
def test_fields_that_are_no_part_of_a_form_change_nothing(people: dict[str, Visitor], place: str) -> None:
    bob, before = people["account"], accounts.everybody()
    query = f"?{urlencode(SMUGGLED)}" if place == "query" else ""
    smuggled = SMUGGLED if place == "form" else {}
    own = {"email": "robert@example.com", "email_password": PASSWORD}
    assert bob.post_form(f"/account/email{query}", {**smuggled, **own}).status_code == 303
    own = {"current_password": PASSWORD, "password": NEW_PASSWORD}
    assert bob.post_form(f"/account/password{query}", {**smuggled, **own}).status_code == 303
    alice, robert = accounts.everybody()
    assert alice == before[0]
    changed = {"email": robert.email, "session_epoch": robert.session_epoch}
    assert changed == {"email": "robert@example.com", "session_epoch": before[1].session_epoch + 1}
    for kept in ("id", "username", "is_admin", "created_at", "last_sign_in_at"):
        assert getattr(robert, kept) == getattr(before[1], kept)


def test_who_sets_up_cannot_choose_more_than_the_form_asks(app: Flask, client: Visitor) -> None:
    code = accounts.issue_setup_code()
    person = {"code": code, "username": "alice", "email": "alice@example.com", "password": PASSWORD}
    smuggled = {name: SMUGGLED[name] for name in ("account_id", "password_hash", "session_epoch", "created_at")}
    assert client.post_form("/setup", {**smuggled, "id": "77", **person}).status_code == 303
    (alice,) = accounts.everybody()
    assert (alice.id, alice.session_epoch, alice.created_at.year > 2001) == (1, 1, True)


READ_ONLY: Final = {
    "id": 77,
    "name": "Mallory",
    "updated_by": "Mallory",
    "created_at": "2001-01-01",
    "updated_at": "2001-01-01",
    "verified": True,
    "verified_at": "2026-01-01",
    "last_error": "x",
    "has_password": True,
    "needs_reentry": False,
}


def test_read_only_keys_of_the_api_are_ignored(app: Flask, client: Visitor, bearer: dict[str, str]) -> None:
    body = {"smtp_server": "smtp.example.com", "from_email": "a@example.com", "use_tls": True}
    assert client.post(API, json={**body, **READ_ONLY}, headers=bearer).status_code == 200
    shown = client.get(API, headers=bearer).get_json()["data"]
    assert {name for name, value in READ_ONLY.items() if shown[name] == value} == {"needs_reentry"}
    assert shown["updated_by"] == "ADMIN_TOKEN"


@pytest.mark.parametrize(
    "key", ["account_id", "key_id", "binding_mac", "verified_fingerprint", "failover", "__class__", "model_fields_set"]
)
def test_no_other_column_can_be_set_by_the_api(client: Visitor, bearer: dict[str, str], key: str) -> None:
    body = {"smtp_server": "smtp.example.com", "from_email": "a@example.com", "use_tls": True, key: 1}
    assert client.post(API, json=body, headers=bearer).status_code == 422
    assert smtp_configs.find() is None


def test_the_page_cannot_set_more_than_it_shows(people: dict[str, Visitor]) -> None:
    smuggled = {"id": "77", "account_id": "2", "updated_by": "mallory", "verified_at": "2026-01-01", "key_id": "0" * 8}
    assert people["administrator"].post_form("/settings/smtp", {**FIELDS, **smuggled}).status_code == 303
    stored = smtp_configs.find()
    assert stored
    row = stored.row
    assert (row.id, row.account_id, row.updated_by, row.verified_at) == (1, None, "alice", None)
    assert stored.is_usable
