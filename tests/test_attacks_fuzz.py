"""Whatever is sent to a form: no server error, no traceback, no password said again, no half-written row."""

import gc
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_from_bytes

import pytest
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from werkzeug.test import TestResponse

from blueprints.access import limiter
from database.engine import transaction
from database.try_db import TryCount
from services.accounts import api_tokens
from services.alerts import channels
from services.personal import templates
from services.settings import configs
from services.settings.fields import parse_change
from tests.long_run import ALL
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, visit

# Werkzeug leaves the files of a body that ends too early to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"
)

MARK: Final = "C4nary"  # stands in everything that is typed into a password field
EXAMPLES: Final = settings(max_examples=100 if ALL else 5, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SERVER: Final = {
    "name": "Primary",
    "smtp_server": "127.0.0.1",
    "smtp_port": "9",
    "security": "none",
    "smtp_username": "user",
    "smtp_password": "secret",
    "remove_password": "0",
    "from_email": "noreply@example.com",
    "from_name": "Müller, Söhne",
    "reply_to": "",
    "helo_hostname": "",
    "timeout_seconds": "1",
    "auth_method": "PLAIN",
    "is_active": "1",
    "failover": "1",
    "version": "1",
    "proof": "1700000000.abc",
}
TEST: Final = {
    "smtp_server": "127.0.0.1",
    "smtp_port": "9",
    "security": "none",
    "from_email": "noreply@example.com",
    "timeout_seconds": "1",
    "send": "1",
    "to": "alice@example.com",
}
CHANNEL: Final = {"kind": "ntfy", "url": "http://127.0.0.1:9/topic"}
REGISTRATION: Final = {
    "provider": "custom",
    "way": "code",
    "client_id": "sealpost",
    "client_secret": "x",
    "scope": "mail",
    "authorize_url": "https://id.example.com/authorize",
    "token_url": "https://id.example.com/token",
    "device_url": "https://id.example.com/device",
    "secret_ends_on": "2099-01-01",
    "confirm_password": PASSWORD,
    "next": "step-1",
}
TEMPLATE: Final = {"domain": "example.com", "host": "smtp.example.com", "port": "587", "security": "starttls"}
PASSKEY: Final = (
    '{"id": "AAAA", "rawId": "AAAA", "type": "public-key", '
    '"response": {"clientDataJSON": "eyJjaGFsbGVuZ2UiOiAiQUFBQSJ9", "authenticatorData": "AAAA", "signature": "AAAA"}}'
)
# Each form with its fields and a good value for each, so that examples get past the first check.
FORMS: Final = {
    "/login": {"login": "alice", "password": PASSWORD, "remember": "1", "next": "/account"},
    "/login/second": {"code": "123456", "next": "/account"},
    "/login/passkey/options": {},
    "/login/passkey": {"passkey": PASSKEY, "next": "/account", "remember": "1"},
    "/account/security/prove": {"next": "/account", "confirm_password": PASSWORD, "confirm_code": "123456"},
    "/account/security/app": {"confirm_password": PASSWORD},
    "/account/security/app/confirm": {"code": "123456"},
    "/account/security/app/remove": {},
    "/account/security/codes": {},
    "/account/security/passkeys": {},
    "/account/security/passkeys/new": {"name": "phone", "passkey": PASSKEY},
    "/account/security/passkeys/<int:passkey_id>/remove": {},
    "/account/security/confirm/options": {},
    "/account/security/confirm": {"passkey": PASSKEY},
    "/settings/second-factor": {"required": "1", "days": "7"},
    "/login/link": {},
    "/reset-password/oidc": {},
    "/account/sign-ins/link": {},
    "/account/sign-ins/<int:identity_id>/unlink": {},
    "/forgot-password": {"email": "alice@example.com"},
    "/reset-password": {"password": NEW_PASSWORD},
    "/account/password": {"current_password": PASSWORD, "password": NEW_PASSWORD, "username": "alice"},
    "/account/email": {"email": "alice@example.org", "email_password": PASSWORD},
    "/account/email/withdraw": {},
    "/account/sessions/end": {},
    "/confirm-address": {},
    "/confirm-sender": {},
    "/account/senders": {"sender_email": "sales@example.org", "beside_server": "1"},
    "/account/senders/<int:sender_id>/again": {},
    "/account/senders/<int:sender_id>/remove": {},
    "/kept/discard": {"page": "/account"},
    "/checklist": {"is_hidden": "1"},
    "/checklist/<step>": {"is_done": "1"},
    "/account/smtp": SERVER,
    "/account/smtp/test": TEST,
    "/account/smtp/delete": {"version": "1"},
    "/settings/smtp/new": SERVER,
    "/settings/smtp/<int:config_id>": SERVER,
    "/settings/smtp/new/test": TEST,
    "/settings/smtp/<int:config_id>/test": {**TEST, "saved": "1"},
    "/account/smtp/connect": REGISTRATION,
    "/account/smtp/connect/add": {"email": "me@gmail.com"},
    "/account/smtp/connect/start": REGISTRATION,
    "/account/smtp/connect/code": REGISTRATION | {"way": "device"},
    "/account/smtp/connect/code/state": {},
    "/account/smtp/connect/paste": {"pasted_code": "http://localhost/?code=a&state=b"},
    "/account/smtp/connect/check": {},
    "/account/smtp/connect/end": {"version": "1"},
    "/settings/smtp/connect": {"email": "me@gmail.com"},
    "/settings/smtp/<int:config_id>/connect": REGISTRATION,
    "/settings/smtp/<int:config_id>/connect/start": REGISTRATION,
    "/settings/smtp/<int:config_id>/connect/code": REGISTRATION | {"way": "device"},
    "/settings/smtp/<int:config_id>/connect/code/state": {},
    "/settings/smtp/<int:config_id>/connect/paste": {"pasted_code": "http://localhost/?code=a&state=b"},
    "/settings/smtp/<int:config_id>/connect/check": {},
    "/settings/smtp/<int:config_id>/connect/end": {"version": "1"},
    "/settings/smtp/<int:config_id>/activate": {"version": "1", "asked": "1"},
    "/settings/smtp/undo-activation": {},
    "/settings/smtp/env/test": {},
    "/settings/smtp/<int:config_id>/deactivate": {"version": "1"},
    "/settings/smtp/<int:config_id>/delete": {"version": "1"},
    "/settings/smtp/headers": {"headers": "From: a@example.com"},
    "/settings/accounts": {"username": "carol", "email": "carol@example.com", "is_admin": "1"},
    "/settings/accounts/<int:account_id>/<deed>": {"confirm_password": PASSWORD},
    "/account/tokens": {"name": "deploy script", "days": "90", "scope_admin": "1"},
    "/account/tokens/<int:token_id>/revoke": {},
    "/settings/accounts/smtp/<int:account_id>/<deed>": {"seen": "own", "version": "1", "config_id": "1"},
    "/settings/accounts/smtp/<int:account_id>/limits": {
        "emails_per_minute": "5",
        "emails_per_day": "50",
        "seen_emails_per_minute": "",
        "seen_emails_per_day": "",
    },
    "/settings/accounts/smtp/policy": {
        "allowed": "named",
        "hosts": "smtp.example.com\nexample.org",
        "fallback": "connection",
        "emails_per_minute": "30",
        "emails_per_day": "1000",
        "fallback_per_minute": "10",
        "fallback_per_day": "100",
        "version": "0",
    },
    "/settings/alerts/new/<kind>": {"name": "Phone", "url_secret": "http://127.0.0.1:9/topic", "token": "tk_1"},
    "/settings/alerts/<int:channel_id>": {"name": "Phone", "url_secret": "", "token": "", "version": "1"},
    "/settings/alerts/<int:channel_id>/test": {},
    "/settings/alerts/<int:channel_id>/switch": {"is_on": "1"},
    "/settings/alerts/<int:channel_id>/delete": {},
    "/settings/mails/<name>/send": {},
    "/settings/branding": {"name": "Acme", "colour": "#123456", "footer": "x\ny", "logo_url": "", "version": "0"},
    "/settings/branding/preview": {"name": "Acme", "colour": "#123456", "footer": "x", "logo_url": "", "theme": "dark"},
    "/settings/alerts/rules": {"no_mail_on": "1", "no_mail_amount": "5", "refusals_least": "50", "mark": "x"},
    "/settings/accounts/smtp/templates": TEMPLATE,
    "/settings/accounts/smtp/templates/<int:template_id>": {**TEMPLATE, "mark": "x"},
    "/settings/accounts/smtp/templates/<int:template_id>/delete": {"mark": "x"},
    "/settings/tokens/<int:token_id>/revoke": {},
    "/settings/gateway": {
        "application": "http",
        "name": "Grafana",
        "account": "alice",
        "sender": "alice@example.com",
        "address": "",
        "mark": "0123456789abcdef",
    },
    "/settings/gateway/<int:token_id>/revoke": {},
    "/emails/<mail_id>/retry": {},
    "/emails/<mail_id>/cancel": {},
    "/emails/many": {
        "action": "correct",
        "all": "1",
        "mail": "0" * 32,
        "state": "failed,expired",
        "since": "2026-01-01T08:00",
        "recipient": "example.com",
        "old_address": "gmial.com",
        "new_address": "gmail.com",
    },
    "/emails/many/<int:deed_id>/go": {},
    "/emails/many/<int:deed_id>/stop": {},
    "/emails/suppressed": {"address": "dead@example.com", "reason": "complaint", "days": "30", "note": "by phone"},
    "/emails/suppressed/<int:entry_id>/remove": {},
    "/emails/suppressed/remove": {"entry": "1", "domain": "example.com"},
    "/emails/suppressed/import": {"file": "dead@example.com"},
    "/settings/privacy/export": {"address": "jane@example.com"},
    "/settings/privacy/forget": {"address": "jane@example.com", "confirmed": "1"},
    "/inbox/clear": {},
    "/logout": {},
}
STORED: Final = {"name": "Primary", "smtp_server": "127.0.0.1", "smtp_port": 9, "from_email": "a@example.com"}
# Each page that reads its query, with what it knows there.
MAIL_FILTER: Final = {
    "recipient": "jane@example.com",
    "message_id": "<a@example.com>",
    "tag": "order",
    "state": "failed,expired",
    "server": "Primary (smtp.example.com:587)",
    "account_id": "1",
    "since": "2026-12-24T08:00",
    "until": "2026-12-25",
    "cause": "no_recipient",
}
QUERIES: Final = {
    "/": {"chart": "14d"},
    "/account/smtp": {"preset": "gmail", "find": "me@gmail.com", "other": "1"},
    "/login": {"next": "/account"},
    "/login/second": {"next": "/account"},
    "/account/security/required": {"next": "/account"},
    "/account/security/prove": {"next": "/account"},
    "/account/security/passkeys/<int:passkey_id>/remove": {},
    "/reset-password": {"token": "x"},
    "/confirm-address": {"token": "x"},
    "/confirm-sender": {"token": "x"},
    "/account/senders": {},
    "/api/smtp/senders": {},
    "/api/smtp/settings": {"details": "true"},
    "/account/sessions/end": {"session": "x"},
    "/settings/accounts/<int:account_id>/<deed>": {},
    "/settings/accounts/smtp": {"q": "bob", "show": "all", "after": "bob"},
    "/settings/accounts/smtp/<int:account_id>/<deed>": {},
    "/settings/accounts/smtp/<int:account_id>/limits": {},
    "/settings/accounts/smtp/templates/<int:template_id>": {},
    "/settings/accounts/smtp/templates/<int:template_id>/delete": {},
    "/settings/smtp": {"q": "Primary", "state": "active", "security": "none", "error": "1", "after": "1"},
    "/settings/smtp/new": {"copy": "1", "preset": "gmail", "find": "me@gmail.com"},
    "/settings/smtp/<int:config_id>": {"preset": "gmail", "find": "me@gmail.com"},
    "/signed-out": {},
    "/login/link": {"token": "abc"},
    "/login/oidc": {"next": "/account"},
    "/login/oidc/callback": {"code": "a", "state": "b", "iss": "https://id.example.com", "error": "x"},
    "/account/sign-ins/confirm": {},
    "/account/sign-ins/link": {},
    "/account/sign-ins/<int:identity_id>/unlink": {},
    "/oauth/callback": {
        "code": "a",
        "state": "b",
        "iss": "https://id.example.com",
        "error": "x",
        "admin_consent": "True",
    },
    "/account/smtp/connect": {"email": "me@gmail.com", "provider": "google", "way": "code"},
    "/settings/smtp/connect": {"email": "me@gmail.com"},
    "/settings/smtp/<int:config_id>/connect": {"provider": "google", "way": "code", "client_id": "a", "object_id": "b"},
    "/settings/smtp/<int:config_id>/connect/end": {},
    "/settings/smtp/<int:config_id>/activate": {},
    "/settings/smtp/<int:config_id>/deactivate": {},
    "/settings/smtp/<int:config_id>/delete": {},
    "/emails": {"from": "direct", "before": "2", "rows": "200", **MAIL_FILTER},
    "/emails/live": {"from": "direct", "before": "2", "rows": "200", "seen": "0123456789ab", **MAIL_FILTER},
    "/emails/export": {"from": "direct", "format": "csv", "whole_addresses": "true", **MAIL_FILTER},
    "/emails/<mail_id>": {},
    "/emails/direct/<int:attempt_id>": {},
    "/emails/many": {"action": "retry", "mail": "0" * 32, "state": "failed", "since": "2026-01-01", "cause": "down"},
    "/emails/many/<int:deed_id>": {},
    "/emails/suppressed": {"q": "example.com", "before": "2"},
    "/emails/suppressed/<int:entry_id>": {},
    "/api/suppressions": {"q": "example.com", "before": "2", "limit": "5"},
    "/api/messages": {"state": "failed", "tag": "order", "before": "2", "limit": "5"},
    "/api/messages/export": {"format": "csv", "direct": "true", "whole_addresses": "true", **MAIL_FILTER},
    "/api/messages/direct": {"before": "2", "limit": "5"},
    "/api/messages/direct/<int:attempt_id>": {},
    "/api/messages/<mail_id>": {},
    "/settings/smtp/domain": {"domain": "example.com", "server": "smtp.example.com"},
    "/settings/audit": {"q": "alice", "action": "created", "before": "2"},
    "/settings/audit.csv": {"q": "alice", "action": "created", "before": "2"},
    "/settings/tokens/<int:token_id>/revoke": {},
    "/settings/gateway": {"before": "2"},
    "/settings/gateway/live": {"before": "2", "seen": "0123456789ab"},
    "/settings/gateway/<int:token_id>": {},
    "/settings/gateway/<int:token_id>/live": {"seen": "0123456789ab"},
    "/settings/gateway/<int:token_id>/revoke": {},
    "/settings/alerts/<int:channel_id>": {},
    "/settings/alerts/<int:channel_id>/delete": {},
    "/settings/alerts/new/<kind>": {},
    "/account/tokens/<int:token_id>/revoke": {},
    "/inbox/live": {"seen": "0123456789ab"},
    "/inbox/<int:message_id>": {},
    "/api/settings/smtp/domain-check": {"domain": "example.com", "server": "smtp.example.com"},
    "/api/settings/smtp/configs": {"q": "Primary", "active": "true", "security": "none", "has_error": "true"},
    "/api/settings/smtp/configs/<int:config_id>": {"version": "1"},
}
SETUP: Final = {"code": "x", "username": "alice", "email": "alice@example.com", "password": PASSWORD}
# A wrong value that passed one check would be typed in full.
NUMBERS: Final = ("0", "-1", "65536", "587.5", "1e3", "٣", "²", "9" * 30, "0x1F", " 25", "25\n", "true", "NaN", "")
HOSTILE: Final = (
    "\0",
    "a\0b",
    "\r\nBcc: victim@example.com",
    "a@x, b@y",
    "\ud800",
    "\u202e",
    "%s%n{0}{{7*7}}${7*7}",
    "'; DROP TABLE account; --",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "x" * 5000,
    "é" * 3000,
    "::1%lo",
    "[::1]:25",
    "%",
    "_\\",
)
# What databases and the int of languages can hold, and what they cannot; the last is longer than Python converts.
IDS: Final = (
    "1",
    "1",
    "1",
    "2",
    "0",
    *(str(2**31 + n) for n in (-1, 0)),
    *(str(2**63 + n) for n in (-1, 0)),
    str(10**30),
)
ODD_IDS: Final = ("-1", str(-(2**31) - 1), str(-(2**63) - 1), str(-(10**30)), "٣", "²", "0x1", "1.0", "9" * 5000)

Octets = bytes
Pairs = list[tuple[bytes, bytes]]


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


values: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from((*HOSTILE, *NUMBERS, *IDS, *ODD_IDS)).map(octets),
    st.text(st.characters(), max_size=40).map(octets),
    st.binary(max_size=40),
)


def pairs(form: dict[str, str]) -> st.SearchStrategy[Pairs]:
    """The form with some fields replaced, left out, sent twice, or joined by strangers."""
    good = [(octets(name), octets(value)) for name, value in form.items()]
    names = st.one_of(st.sampled_from([name for name, _ in good] or [b"x"]), st.binary(max_size=12))
    kept = st.lists(st.sampled_from(good), unique=True) if good else st.just([])
    return st.builds(
        lambda before, odd: before + odd, st.one_of(st.just(good), kept), st.lists(st.tuples(names, values))
    )


def marked(typed: Pairs) -> Pairs:
    return [(name, octets(MARK) + value if b"password" in name else value) for name, value in typed]


def urlencoded(typed: Pairs) -> tuple[bytes, str]:
    body = b"&".join(quote_from_bytes(name).encode() + b"=" + quote_from_bytes(value).encode() for name, value in typed)
    return body, "application/x-www-form-urlencoded"


def unquoted(typed: Pairs) -> tuple[bytes, str]:
    """With every octet as it is, even where it parts fields."""
    return b"&".join(name + b"=" + value for name, value in typed), "application/x-www-form-urlencoded"


def multipart(typed: Pairs) -> tuple[bytes, str]:
    parts = (b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair for pair in typed)
    return b"".join(parts) + b"--b--\r\n", "multipart/form-data; boundary=b"


def files(typed: Pairs) -> tuple[bytes, str]:
    """Each field as a file."""
    head = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="x"\r\nContent-Type: image/png\r\n\r\n%s\r\n'
    return b"".join(head % pair for pair in typed) + b"--b--", "multipart/form-data; boundary=b"


def mislabelled(typed: Pairs) -> tuple[bytes, str]:
    return urlencoded(typed)[0], "application/json"


def torn(typed: Pairs) -> tuple[bytes, str]:
    """Multipart that ends in the middle of a field."""
    return multipart(typed)[0][:-9], "multipart/form-data; boundary=b"


ids = st.sampled_from((*IDS, *ODD_IDS))
encoders = st.sampled_from([urlencoded, urlencoded, urlencoded, unquoted, multipart, files, mislabelled, torn])
Encoder = Callable[[Pairs], tuple[bytes, str]]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "LOCAL_INBOX_PORT": "1025"}


def form_routes(app: Flask) -> set[str]:
    return {
        str(rule.rule)
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or set()) and not str(rule.rule).startswith("/api/")
    }


def with_ids(route: str, text: str) -> str:
    return re.sub("<(?:int:)?[a-z_]+>", quote(text), route.replace("<deed>", "disable").replace("<kind>", "ntfy"))


def store_one() -> None:
    """A server, a template and a token for the ids to find, unless they are still there."""
    if not templates.every():
        templates.save(TEMPLATE)
    if not channels.every():
        channels.save(CHANNEL)
    if not configs.search():
        configs.create(parse_change({**STORED, "is_active": True}))
    if not any(token.is_good for token in api_tokens.every()):
        api_tokens.create(1, "deploy script")


def assert_nothing_broke(answer: TestResponse) -> None:
    assert answer.status_code < 500
    said = answer.data + str(answer.headers).encode()
    assert b"Traceback" not in said
    assert octets(MARK) not in said


def forget_limits() -> None:
    limiter.storage.reset()
    with transaction() as session:
        session.execute(delete(TryCount))


def assert_form_is_sound(app: Flask, folder: Path, route: str, form: dict[str, str]) -> None:
    @EXAMPLES
    @given(pairs(form), encoders, ids if "<" in route else st.just(""))
    def check(typed: Pairs, encode: Encoder, number: str) -> None:
        forget_limits()  # none stands before the form
        if "/settings/" in route:
            store_one()
        body, content_type = encode(marked(typed))
        headers = {"X-CSRFToken": visitor.csrf_token()}
        answer = visitor.post(with_ids(route, number), data=body, content_type=content_type, headers=headers)
        assume(answer.status_code != 429)  # the storage's own thread may bring a count back
        assert_nothing_broke(answer)

    visitor = visit(app)
    if route not in ("/setup", "/login", "/forgot-password", "/reset-password"):
        assert visitor.sign_in().status_code == 303
    check()
    gc.collect()  # here, where the warning is expected
    with closing(sqlite3.connect(folder / "test.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM smtp_config WHERE is_active").fetchone()[0] <= 1


def test_every_form_is_fuzzed(app: Flask) -> None:
    assert form_routes(app) == {*FORMS, "/setup"}


@pytest.mark.parametrize("route", FORMS)
def test_no_form_breaks(app: Flask, tmp_path: Path, route: str) -> None:
    make_alice(is_admin=True)
    assert_form_is_sound(app, tmp_path, route, FORMS[route])


@pytest.mark.parametrize("route", QUERIES)
def test_no_query_breaks_a_page(app: Flask, route: str) -> None:
    make_alice(is_admin=True)
    store_one()
    visitor = visit(app)
    if route != "/login":
        assert visitor.sign_in().status_code == 303

    @EXAMPLES
    @given(pairs(QUERIES[route]), ids if "<" in route else st.just(""))
    def check(asked: Pairs, number: str) -> None:
        forget_limits()
        query = urlencoded(asked)[0].decode()
        assert_nothing_broke(visitor.get(f"{with_ids(route, number)}?{query}"))

    check()


@pytest.mark.parametrize("name", ["copy", "before", "preset", "q"])
def test_no_number_breaks_a_page(app: Flask, admin: Visitor, name: str) -> None:
    store_one()
    routes = [route for route, known in QUERIES.items() if name in known]
    assert routes
    assert_no_number_breaks(routes, admin, name)


def test_no_number_in_its_address_breaks_a_page(app: Flask, admin: Visitor) -> None:
    store_one()
    assert_no_number_breaks(list(QUERIES), admin, "version")


def assert_no_number_breaks(routes: list[str], admin: Visitor, name: str) -> None:
    for number in dict.fromkeys((*IDS, *ODD_IDS)):
        forget_limits()
        for route in routes:
            assert_nothing_broke(admin.get(with_ids(route, number), query_string={name: number}))


def test_the_set_up_does_not_break(app: Flask, tmp_path: Path) -> None:
    assert_form_is_sound(app, tmp_path, "/setup", SETUP)


def test_a_part_without_a_name_is_a_bad_request(app: Flask) -> None:
    visitor = visit(app)
    body = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
    headers = {"X-CSRFToken": visitor.csrf_token()}
    kind = "multipart/form-data; boundary=b"
    assert visitor.post("/forgot-password", data=body, content_type=kind, headers=headers).status_code == 400
