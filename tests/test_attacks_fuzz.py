"""Whatever is sent to a form: no server error, no traceback, no password said again, no half-written row."""

import gc
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

import pytest
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from blueprints.access import limiter
from tests.visitors import NEW_PASSWORD, PASSWORD, make_alice, visit

# Werkzeug leaves the files of a body that ends too early to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"
)

MARK: Final = "C4nary"  # stands in everything that is typed into a password field
EXAMPLES: Final = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Each form with its fields and a good value for each, so that examples get past the first check.
FORMS: Final = {
    "/login": {"login": "alice", "password": PASSWORD, "remember": "1", "next": "/account"},
    "/forgot-password": {"email": "alice@example.com"},
    "/reset-password": {"password": NEW_PASSWORD},
    "/account/password": {"current_password": PASSWORD, "password": NEW_PASSWORD, "username": "alice"},
    "/account/email": {"email": "alice@example.org", "email_password": PASSWORD},
    "/account/sessions/end": {},
    "/settings/smtp": {
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
        "is_active": "1",
        "version": "1",
        "proof": "1700000000.abc",
    },
    "/settings/smtp/test": {
        "smtp_server": "127.0.0.1",
        "smtp_port": "9",
        "security": "none",
        "from_email": "noreply@example.com",
        "timeout_seconds": "1",
        "send": "1",
        "to": "alice@example.com",
    },
    "/inbox/clear": {},
    "/logout": {},
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
)

Octets = bytes
Pairs = list[tuple[bytes, bytes]]


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


values: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from((*HOSTILE, *NUMBERS)).map(octets),
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


def assert_form_is_sound(app: Flask, folder: Path, path: str, form: dict[str, str]) -> None:
    @EXAMPLES
    @given(pairs(form), encoders)
    def check(typed: Pairs, encode: Encoder) -> None:
        limiter.storage.reset()  # no limit stands before the form
        body, content_type = encode(marked(typed))
        headers = {"X-CSRFToken": visitor.csrf_token()}
        answer = visitor.post(path, data=body, content_type=content_type, headers=headers)
        assume(answer.status_code != 429)  # the storage's own thread may bring a count back
        assert answer.status_code < 500
        said = answer.data + str(answer.headers).encode()
        assert b"Traceback" not in said
        assert octets(MARK) not in said

    visitor = visit(app)
    if path not in ("/setup", "/login", "/forgot-password", "/reset-password"):
        assert visitor.sign_in().status_code == 303
    check()
    gc.collect()  # here, where the warning is expected
    with closing(sqlite3.connect(folder / "test.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM smtp_config WHERE is_active").fetchone()[0] <= 1


def test_every_form_is_fuzzed(app: Flask) -> None:
    assert form_routes(app) == {*FORMS, "/setup"}


@pytest.mark.parametrize("path", FORMS)
def test_no_form_breaks(app: Flask, tmp_path: Path, path: str) -> None:
    make_alice(is_admin=True)
    assert_form_is_sound(app, tmp_path, path, FORMS[path])


def test_the_set_up_does_not_break(app: Flask, tmp_path: Path) -> None:
    assert_form_is_sound(app, tmp_path, "/setup", SETUP)


def test_a_part_without_a_name_is_a_bad_request(app: Flask) -> None:
    visitor = visit(app)
    body = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
    headers = {"X-CSRFToken": visitor.csrf_token()}
    kind = "multipart/form-data; boundary=b"
    assert visitor.post("/forgot-password", data=body, content_type=kind, headers=headers).status_code == 400
