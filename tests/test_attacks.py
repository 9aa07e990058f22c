"""What an attacker may send to any route: other roles, other sites, other methods."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from blueprints.access import limiter
from database.engine import transaction
from services.accounts import accounts, api_tokens
from services.alerts import channels
from services.personal import templates
from services.settings import configs
from services.settings.fields import parse_change
from tests.conftest import ADMIN_TOKEN
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, make_bob, visit

BASE_URL: Final = "http://localhost:5000"
API: Final = "/api/settings/smtp"
ROLES: Final = ("anonymous", "account", "administrator", "right bearer", "API token", "wrong bearer")
SENT_AS_BEARER: Final = ("right bearer", "API token", "wrong bearer")
SIGN_IN: Final = "sign in"  # led to the sign-in page

Outcome = int | str


def everybody(outcome: Outcome) -> tuple[Outcome, ...]:
    return (outcome,) * len(ROLES)


def members(outcome: Outcome) -> tuple[Outcome, ...]:
    """For whoever has a session; a bearer token opens no page."""
    return (SIGN_IN, outcome, outcome, SIGN_IN, SIGN_IN, SIGN_IN)


def administrators(outcome: Outcome) -> tuple[Outcome, ...]:
    return (SIGN_IN, 403, outcome, SIGN_IN, SIGN_IN, SIGN_IN)


def api(outcome: Outcome) -> tuple[Outcome, ...]:
    return (401, 403, outcome, outcome, outcome, 401)


def personal(outcome: Outcome) -> tuple[Outcome, ...]:
    """For whoever has an account; ``ADMIN_TOKEN`` is nobody's."""
    return (401, outcome, outcome, 403, outcome, 401)


# What an empty request comes to, by role, where the active server 1 and the token 1 exist. A refused field (422)
# shows that the request was let in.
MATRIX: Final = {
    "GET /": (SIGN_IN, 302, 200, SIGN_IN, SIGN_IN, SIGN_IN),
    "POST /checklist": administrators(303),
    "POST /checklist/<step>": administrators(404),
    "GET /metrics": api(200),
    "GET /setup": everybody(404),
    "POST /setup": everybody(404),
    "GET /login": (200, 302, 302, 200, 200, 200),
    "POST /login": everybody(401),
    "GET /login/second": everybody(SIGN_IN),  # no sign-in was begun
    "POST /login/second": everybody(SIGN_IN),
    "POST /login/passkey/options": everybody(200),
    "POST /login/passkey": everybody(401),
    "GET /account/security": members(200),
    "GET /account/security/required": members(303),  # nobody is asked for one
    "GET /account/security/prove": members(200),
    "POST /account/security/prove": members(303),
    "POST /account/security/app": members(303),
    "GET /account/security/app": members(200),  # POST has begun with one
    "POST /account/security/app/confirm": members(422),
    "GET /account/security/app/remove": members(404),
    "POST /account/security/app/remove": members(404),
    "POST /account/security/codes": members(409),
    "POST /account/security/passkeys": members(303),
    "GET /account/security/passkeys/new": members(200),
    "POST /account/security/passkeys/new": members(422),
    "GET /account/security/passkeys/1/remove": members(404),
    "POST /account/security/passkeys/1/remove": members(404),
    "POST /account/security/confirm/options": members(200),
    "POST /account/security/confirm": members(422),
    "POST /logout": everybody(SIGN_IN),
    "GET /signed-out": (200, 303, 303, 200, 200, 200),
    "GET /login/link": everybody(400),  # no link came
    "POST /login/link": everybody(410),
    "GET /login/oidc": everybody(404),  # there is no provider
    "GET /login/oidc/callback": everybody(404),
    "POST /reset-password/oidc": everybody(404),
    "GET /account/sign-ins/confirm": members(404),
    "GET /account/sign-ins/link": members(404),
    "POST /account/sign-ins/link": members(404),
    "GET /account/sign-ins/1/unlink": members(404),
    "POST /account/sign-ins/1/unlink": members(404),
    "GET /forgot-password": everybody(200),
    "POST /forgot-password": everybody(422),
    "GET /reset-password": everybody(400),  # no link came
    "POST /reset-password": everybody(410),
    "GET /confirm-address": everybody(400),
    "POST /confirm-address": everybody(410),
    "GET /confirm-sender": everybody(400),
    "POST /confirm-sender": everybody(410),
    "GET /account/senders": members(200),
    "POST /account/senders": members(422),
    "POST /account/senders/1/again": members(404),
    "POST /account/senders/1/remove": members(404),
    "GET /session": everybody(200),
    "POST /kept/discard": members(303),
    "GET /account": members(200),
    "POST /account/password": members(422),
    "POST /account/email": members(422),
    "POST /account/email/withdraw": members(303),
    "GET /account/sessions/end": members(200),
    "GET /account/tokens": members(200),
    "POST /account/tokens": members(422),
    "GET /account/tokens/1/revoke": (SIGN_IN, 404, 200, SIGN_IN, SIGN_IN, SIGN_IN),  # it is the administrator's
    "POST /account/tokens/1/revoke": (SIGN_IN, 404, 303, SIGN_IN, SIGN_IN, SIGN_IN),
    "POST /account/sessions/end": members(303),
    "GET /account/smtp": members(200),
    "POST /account/smtp": members(422),
    "POST /account/smtp/test": members(422),
    "GET /account/smtp/delete": members(303),  # there is none
    "POST /account/smtp/delete": members(303),
    "GET /account/smtp/connect": members(200),
    "POST /account/smtp/connect": members(303),  # there is no server
    "POST /account/smtp/connect/add": members(422),
    "POST /account/smtp/connect/start": members(303),
    "POST /account/smtp/connect/code": members(303),
    "POST /account/smtp/connect/code/state": members(303),
    "POST /account/smtp/connect/paste": members(303),
    "POST /account/smtp/connect/check": members(303),
    "GET /account/smtp/connect/end": members(303),
    "POST /account/smtp/connect/end": members(303),
    "GET /settings/smtp": administrators(200),
    "GET /settings/smtp/new": administrators(200),
    "POST /settings/smtp/new": administrators(422),
    "POST /settings/smtp/new/test": administrators(422),
    "POST /settings/smtp/env/test": administrators(409),
    "GET /settings/smtp/1": administrators(200),
    "POST /settings/smtp/1": administrators(422),
    "POST /settings/smtp/1/test": administrators(422),
    "GET /settings/smtp/connect": administrators(200),
    "POST /settings/smtp/connect": administrators(422),
    "GET /settings/smtp/1/connect": administrators(200),
    "POST /settings/smtp/1/connect": administrators(422),
    "POST /settings/smtp/1/connect/start": administrators(303),  # nothing is registered: the page says so
    "POST /settings/smtp/1/connect/code": administrators(303),
    "POST /settings/smtp/1/connect/code/state": administrators(303),
    "POST /settings/smtp/1/connect/paste": administrators(422),
    "POST /settings/smtp/1/connect/check": administrators(422),
    "GET /settings/smtp/1/connect/end": administrators(303),  # there is nothing to end
    "POST /settings/smtp/1/connect/end": administrators(303),
    "GET /oauth/callback": (SIGN_IN, 303, 303, SIGN_IN, SIGN_IN, SIGN_IN),
    "GET /settings/smtp/1/activate": administrators(303),  # it is active
    "POST /settings/smtp/1/activate": administrators(303),
    "POST /settings/smtp/undo-activation": administrators(303),
    "GET /settings/smtp/1/deactivate": administrators(200),
    "POST /settings/smtp/1/deactivate": administrators(303),
    "GET /settings/smtp/1/delete": administrators(200),
    "POST /settings/smtp/1/delete": administrators(303),
    "GET /emails": administrators(200),
    "GET /emails/live": administrators(200),
    "GET /emails/export": administrators(422),
    "GET /emails/<mail_id>": administrators(404),
    "GET /emails/direct/1": administrators(404),
    "GET /emails/<mail_id>/retry": administrators(404),
    "POST /emails/<mail_id>/retry": administrators(404),
    "GET /emails/<mail_id>/cancel": administrators(404),
    "POST /emails/<mail_id>/cancel": administrators(404),
    "GET /emails/many": administrators(200),
    "POST /emails/many": administrators(303),  # nothing is selected
    "GET /emails/many/1": administrators(404),
    "POST /emails/many/1/go": administrators(404),
    "POST /emails/many/1/stop": administrators(404),
    "GET /emails/suppressed": administrators(200),
    "POST /emails/suppressed": administrators(422),
    "GET /emails/suppressed/1": administrators(404),
    "POST /emails/suppressed/1/remove": administrators(303),
    "POST /emails/suppressed/remove": administrators(303),
    "POST /emails/suppressed/import": administrators(422),
    "GET /emails/suppressed/export.csv": administrators(200),
    "GET /settings/smtp/domain": administrators(200),
    "GET /settings/smtp/headers": administrators(200),
    "POST /settings/smtp/headers": administrators(422),
    "GET /settings/privacy": administrators(200),
    "POST /settings/privacy/export": administrators(422),
    "POST /settings/privacy/forget": administrators(422),
    "GET /settings/audit": administrators(200),
    "GET /settings/audit.csv": administrators(200),
    "GET /settings/alerts": administrators(200),
    "GET /settings/alerts/new": administrators(200),
    "GET /settings/alerts/new/<kind>": administrators(404),
    "POST /settings/alerts/new/<kind>": administrators(404),
    "GET /settings/alerts/1": administrators(200),
    "POST /settings/alerts/1": administrators(303),  # what is stored stays
    "POST /settings/alerts/1/test": administrators(303),
    "POST /settings/alerts/1/switch": administrators(303),
    "GET /settings/alerts/1/delete": administrators(200),
    "POST /settings/alerts/1/delete": administrators(303),
    "POST /settings/alerts/rules": administrators(422),
    "GET /settings/mails": administrators(200),
    "GET /settings/mails/<name>": administrators(404),
    "GET /settings/mails/<name>/html": administrators(404),
    "POST /settings/mails/<name>/send": administrators(404),
    "GET /settings/branding": administrators(200),
    "POST /settings/branding": administrators(303),  # as usual, in so many words
    "GET /settings/branding/preview": administrators(200),
    "POST /settings/branding/preview": administrators(200),
    "GET /settings/branding/logo": administrators(404),
    "GET /api/settings/branding": api(200),
    "PATCH /api/settings/branding": api(200),
    "GET /api/settings/alerts": api(200),
    "POST /api/settings/alerts/channels": api(422),
    "PATCH /api/settings/alerts/channels/1": api(200),
    "DELETE /api/settings/alerts/channels/1": api(200),
    "POST /api/settings/alerts/channels/1/test": api(200),
    "PATCH /api/settings/alerts/rules": api(200),
    "GET /settings/second-factor": administrators(200),
    "POST /settings/second-factor": administrators(303),
    "GET /settings/accounts": administrators(200),
    "POST /settings/accounts": administrators(422),
    "GET /settings/accounts/1/<deed>": administrators(404),
    "POST /settings/accounts/1/<deed>": administrators(404),
    "GET /settings/accounts/smtp": administrators(200),
    "GET /settings/accounts/smtp/1/<deed>": administrators(404),
    "POST /settings/accounts/smtp/1/<deed>": administrators(404),
    "GET /settings/accounts/smtp/1/limits": administrators(200),
    "POST /settings/accounts/smtp/1/limits": administrators(303),
    "GET /settings/accounts/smtp/policy": administrators(200),
    "POST /settings/accounts/smtp/policy": administrators(422),
    "GET /settings/accounts/smtp/templates": administrators(200),
    "POST /settings/accounts/smtp/templates": administrators(422),
    "GET /settings/accounts/smtp/templates/1": administrators(200),
    "POST /settings/accounts/smtp/templates/1": administrators(422),
    "GET /settings/accounts/smtp/templates/1/delete": administrators(200),
    "POST /settings/accounts/smtp/templates/1/delete": administrators(303),
    "GET /settings/gateway": administrators(200),
    "POST /settings/gateway": administrators(422),
    "GET /settings/gateway/live": administrators(200),
    "GET /settings/gateway/1": administrators(200),
    "GET /settings/gateway/1/live": administrators(200),
    "GET /settings/gateway/1/revoke": administrators(200),
    "POST /settings/gateway/1/revoke": administrators(303),
    "GET /settings/tokens": administrators(200),
    "GET /settings/tokens/1/revoke": administrators(200),
    "POST /settings/tokens/1/revoke": administrators(303),
    "GET /api/settings/smtp": api(200),
    "POST /api/settings/smtp": api(200),
    "POST /api/settings/smtp/test": api(422),
    "GET /api/settings/smtp/configs": api(200),
    "POST /api/settings/smtp/configs": api(422),
    "GET /api/settings/smtp/configs/1": api(200),
    "PATCH /api/settings/smtp/configs/1": api(200),
    "DELETE /api/settings/smtp/configs/1": api(200),
    "POST /api/settings/smtp/configs/1/activate": api(200),
    "POST /api/settings/smtp/configs/1/deactivate": api(200),
    "POST /api/settings/smtp/configs/1/test": api(422),
    "GET /api/settings/smtp/configs/1/oauth": api(200),
    "PUT /api/settings/smtp/configs/1/oauth": api(422),
    "DELETE /api/settings/smtp/configs/1/oauth": api(404),  # there is nothing to end
    "POST /api/settings/smtp/configs/1/oauth/authorize": api(422),
    "POST /api/settings/smtp/configs/1/oauth/finish": api(422),
    "POST /api/settings/smtp/configs/1/oauth/device": api(422),
    "POST /api/settings/smtp/configs/1/oauth/poll": api(422),
    "POST /api/settings/smtp/configs/1/oauth/obtain": api(422),
    "POST /api/settings/smtp/configs/1/oauth/check": api(422),
    "GET /api/smtp/settings": personal(200),
    "POST /api/smtp/settings": personal(422),
    "DELETE /api/smtp/settings": personal(200),
    "POST /api/smtp/test": personal(404),
    "GET /api/smtp/oauth": personal(404),  # there is no server
    "PUT /api/smtp/oauth": personal(404),
    "DELETE /api/smtp/oauth": personal(404),
    "POST /api/smtp/oauth/authorize": personal(404),
    "POST /api/smtp/oauth/finish": personal(404),
    "POST /api/smtp/oauth/device": personal(404),
    "POST /api/smtp/oauth/poll": personal(404),
    "POST /api/smtp/oauth/obtain": personal(404),
    "POST /api/smtp/oauth/check": personal(404),
    "GET /api/smtp/usage": personal(200),
    "GET /api/smtp/senders": personal(200),
    "POST /api/smtp/senders": personal(422),
    "DELETE /api/smtp/senders/1": personal(404),
    "POST /api/messages/send-email": (401, 422, 422, 422, 422, 401),
    "GET /api/messages": (401, 200, 200, 200, 200, 401),
    "GET /api/messages/export": (401, 200, 200, 200, 200, 401),
    "GET /api/messages/direct": api(200),
    "GET /api/messages/direct/1": api(404),
    "POST /api/messages/actions": api(422),
    "GET /api/messages/actions/1": api(404),
    "POST /api/messages/actions/1/start": api(404),
    "POST /api/messages/actions/1/stop": api(404),
    "GET /api/suppressions": api(200),
    "POST /api/suppressions": api(422),
    "GET /api/suppressions/1": api(404),
    "DELETE /api/suppressions/1": api(404),
    "GET /api/messages/<mail_id>": (401, 404, 404, 404, 404, 401),
    "POST /api/messages/<mail_id>/retry": (401, 404, 404, 404, 404, 401),
    "POST /api/messages/<mail_id>/cancel": (401, 404, 404, 404, 404, 401),
    "GET /api/settings/smtp/domain-check": api(200),
    "GET /api/settings/smtp/providers": (401, 200, 200, 200, 200, 401),
    "GET /api/settings/smtp/discover": (401, 422, 422, 422, 422, 401),
    "GET /api/openapi.json": everybody(200),
    "GET /api/docs": everybody(200),
    "GET /api/docs/<name>": everybody(404),
    "GET /inbox": administrators(200),
    "GET /inbox/live": administrators(200),
    "GET /inbox/1": administrators(404),
    "GET /inbox/1/html": administrators(404),
    "POST /inbox/clear": administrators(303),
    "GET /healthz": everybody(200),
    "GET /readyz": everybody(200),
    "GET /readyz/mail": everybody(200),
    "GET /open/x": everybody(200),
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
    "sender_email": "mallory@evil.example",
    "address": "mallory@evil.example",
    "confirmed": "1",
    "email_password": PASSWORD,
    "current_password": PASSWORD,
    "password": NEW_PASSWORD,
    "login": "alice",
    "username": "mallory",
    "name": "Mallory",
    "days": "90",
    "scope_send": "1",
    "smtp_server": "smtp.evil.example",
    "smtp_port": "587",
    "security": "starttls",
    "from_email": "mallory@evil.example",
    "timeout_seconds": "10",
    "is_active": "1",
    "emails_per_minute": "7",
    "domain": "evil.example",
    "url_secret": "https://evil.example/x",
    "host": "smtp.evil.example",
    "port": "587",
    "allowed": "any",
    "fallback": "always",
    "application": "http",
    "account": "alice",
    "colour": "#123456",
}
CHANGE: Final = b'{"name": "Mallory", "smtp_server": "smtp.evil.example", "from_email": "mallory@evil.example"}'
WRITES: Final = (
    "/emails/suppressed",
    "/settings/privacy/forget",
    "/settings/smtp/new",
    "/settings/smtp/1",
    "/settings/smtp/1/activate",
    "/settings/smtp/1/deactivate",
    "/settings/smtp/1/delete",
    "/settings/accounts",
    "/settings/second-factor",
    "/account/security/app",
    "/account/tokens",
    "/settings/accounts/smtp/1/limits",
    "/settings/accounts/smtp/1/global",
    "/settings/accounts/smtp/policy",
    "/settings/accounts/smtp/templates",
    "/settings/accounts/smtp/templates/1",
    "/settings/accounts/smtp/templates/1/delete",
    "/settings/branding",
    "/settings/alerts/new/slack",
    "/settings/alerts/1",
    "/settings/alerts/1/delete",
    "/settings/tokens/1/revoke",
    "/settings/gateway",
    "/settings/gateway/1/revoke",
    "/forgot-password",
    "/account/sessions/end",
    "/account/email",
    "/account/senders",
    "/account/password",
)
# Nothing listens there: whatever tests it is told so at once.
SERVER: Final = {
    "name": "Primary",
    "smtp_server": "127.0.0.1",
    "smtp_port": 9,
    "use_tls": False,
    "from_email": "a@example.com",
    "is_active": True,
}
TEMPLATE: Final = {"domain": "example.com", "host": "smtp.example.com", "port": "587", "security": "starttls"}
CHANNEL: Final = {"kind": "ntfy", "url": "http://127.0.0.1:9/topic"}
_NOTE_OF_A_LOOK: Final = re.compile(r"audit_event.*'(?:viewed|mail_exported)'|sqlite_sequence.*'audit_event'")
METHODS: Final = ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """With an inbox that is not on the developer's own machine, so that it asks who is there."""
    return {**environment, "LOCAL_INBOX_PORT": "1025", "HOST": "0.0.0.0"}


@pytest.fixture
def people(app: Flask) -> dict[str, Visitor]:
    """Somebody of each role, and something of everything that has an id."""
    alice = make_alice(is_admin=True)
    make_bob()
    found = {role: visit(app) for role in ROLES}
    assert found["administrator"].sign_in("alice").status_code == 303
    assert found["account"].sign_in("bob").status_code == 303
    api_tokens.create(alice.id, "to revoke")
    as_they_were()
    return found


@pytest.fixture
def bearers(people: dict[str, Visitor]) -> dict[str, str]:
    """What each bearer sends; the token of an administrator has the id 2."""
    alice = accounts.everybody()[0]
    return {
        "right bearer": ADMIN_TOKEN,
        "API token": api_tokens.create(alice.id, "deploy script")[0],
        "wrong bearer": ADMIN_TOKEN[::-1],
    }


def as_they_were() -> None:
    """One server and one template, each number 1; the server is active, and no token revoked."""
    with transaction() as session:
        for table in ("smtp_config", "server_template", "alert_channel"):
            session.execute(text(f"DELETE FROM {table}"))
            session.execute(text(f"DELETE FROM sqlite_sequence WHERE name = '{table}'"))
        session.execute(text("UPDATE api_token SET revoked_at = NULL"))
    assert configs.create(parse_change(SERVER)).row.id == 1
    assert templates.save(TEMPLATE).id == 1
    assert channels.save(CHANNEL)[0].id == 1


def routes(app: Flask) -> list[tuple[str, str]]:
    """Every method and path, from the URL map."""
    return [
        (method, re.sub("<int:[a-z_]+>", "1", str(rule.rule)).replace("<path:filename>", "x"))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def written_down(folder: Path) -> list[str]:
    """All that the database holds, as SQL, but for the note that somebody looked at something, and its number."""
    with closing(sqlite3.connect(folder / "test.db")) as connection:
        return [line for line in connection.iterdump() if not _NOTE_OF_A_LOOK.search(line)]


def outcome_of(answer: TestResponse) -> Outcome:
    leads_to_sign_in = answer.status_code in (302, 303) and urlsplit(answer.location).path == "/login"
    return SIGN_IN if leads_to_sign_in else answer.status_code


def test_the_matrix_knows_every_route(app: Flask) -> None:
    assert set(MATRIX) == {f"{method} {path}" for method, path in routes(app)}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_what_the_matrix_says(
    app: Flask, people: dict[str, Visitor], bearers: dict[str, str], role: str
) -> None:
    person = people[role]
    headers = {"Authorization": f"Bearer {bearers[role]}"} if role in SENT_AS_BEARER else {}
    ending_the_session = ("POST", "/logout")
    found = {}
    for method, path in sorted(routes(app), key=lambda route: route == ending_the_session):
        as_they_were()
        limiter.storage.reset()  # of as many refusals as there are routes the last would be told something else
        body: dict[str, Any] = {}
        if method != "GET":
            headers["X-CSRFToken"] = person.csrf_token()
            body = {"json": {}} if path.startswith("/api/") else {"data": {}}
        answer = person.open(path, method=method, headers=headers, **body)
        found[f"{method} {path}"] = outcome_of(answer)
    assert found == {route: outcomes[ROLES.index(role)] for route, outcomes in MATRIX.items()}


def test_a_right_bearer_token_does_not_stand_in_for_the_session_of_an_account(people: dict[str, Visitor]) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert people["account"].get("/settings/smtp", headers=headers).status_code == 403
    assert people["account"].get(API, headers=headers).status_code == 200


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
    assert answer.status_code in (200, 201, 303)
    assert written_down(tmp_path) != before


@pytest.mark.parametrize("role", ["anonymous", "administrator"])
def test_no_method_breaks_a_route_or_repeats_the_request(
    app: Flask, tmp_path: Path, people: dict[str, Visitor], role: str
) -> None:
    before = written_down(tmp_path)
    for method in METHODS:
        for path in {path for _, path in routes(app)}:
            answer = people[role].open(path, method=method, headers={"X-Repeated": "repeat-after-me"}, data=b"x=1")
            allowed = range(200, 500) if method in ("HEAD", "OPTIONS") else (400, 401, 405)
            assert answer.status_code in allowed, (method, path)
            assert b"repeat-after-me" not in answer.data + str(answer.headers).encode(), (method, path)
    assert written_down(tmp_path) == before
