"""Log lines hold no secret in any encoding, and nobody outside can forge one."""

import base64
import json
import logging

import pytest
import structlog

from utils.log_utils import Redactor, configure_logging, printable

SECRET = "S3cr3t-Pässwörd/+=1"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "\0user\0"])
@pytest.mark.parametrize("after", ["", "z", "zz"])
def test_base64_is_recognised_whatever_stands_around_the_secret(before: str, after: str) -> None:
    line = base64.b64encode((before + SECRET + after).encode()).decode()
    redacted = Redactor([SECRET])(f"AUTH PLAIN {line}")
    assert "[redacted]" in redacted
    assert base64.b64encode(SECRET.encode()).decode()[4:-4] not in redacted


SECRETS = [SECRET, "correct horse battery", "Grüße-aus-Köln", "€uro-Münze-7", "naïve café 42"]
CHARSETS = ["utf-8", "latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-16"]


def said_in(charset: str, secret: str) -> list[bytes]:
    """What a server may say that repeats a password in this charset, in a line with other words."""
    try:
        raw = secret.encode(charset)
    except UnicodeEncodeError:
        return []
    repeated = [raw, raw.hex().encode(), base64.b64encode(raw), base64.b64encode(b"\0user\0" + raw)]
    return [b"535 5.7.8 no: '" + form + b"' is wrong" for form in repeated]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("is_one_line_first", [False, True])
def test_a_password_is_masked_in_whatever_charset_a_server_repeats_it(
    secret: str, charset: str, is_one_line_first: bool
) -> None:
    for line in said_in(charset, secret):
        text = line.decode("utf-8", "replace")
        redacted = Redactor([secret])(printable(text) if is_one_line_first else text)
        assert "[redacted]" in redacted, line
        left = redacted.replace("[redacted]", "").replace("\x00", "").replace(" ", "")
        assert secret[:4].replace(" ", "") not in left
        assert secret[-4:].replace(" ", "") not in left


@pytest.mark.parametrize("read_as", ["latin-1", "cp1252"])
def test_utf_8_that_was_read_as_something_else_is_masked(read_as: str) -> None:
    assert "[redacted]" in Redactor(["Grüße-aus-Köln"])("535 " + "Grüße-aus-Köln".encode().decode(read_as))


@pytest.mark.parametrize("line", ["535 ?????? no", "250 2.0.0 Ok", "???????????????", "535 p a s s"])
def test_what_a_charset_cannot_hold_hides_nothing_else(line: str) -> None:
    assert Redactor(["парольпароль"])(line) == line


def test_a_reset_token_in_a_url_is_cut() -> None:
    assert "abc123" not in Redactor([])("GET /reset-password?token=abc123 HTTP/1.1")


def test_a_planted_secret_does_not_reach_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging([SECRET], as_json=True)
    structlog.get_logger("test").warning("leak", text=f"password {SECRET}")
    logging.getLogger("foreign").error("user %s", SECRET)
    err = capfd.readouterr().err
    assert err.count("[redacted]") == 2
    assert SECRET not in err


def test_an_exception_is_logged_without_the_values_of_its_frames(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging([], as_json=True)
    password = "hunter2-hunter2"
    try:
        raise RuntimeError(f"nothing of {len(password)}")
    except RuntimeError:
        structlog.get_logger("test").exception("failed")
    err = capfd.readouterr().err
    assert "RuntimeError" in err
    assert "hunter2" not in err.replace('password = "hunter2-hunter2"', "")


def test_a_reply_with_line_breaks_stays_on_its_line(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging([], as_json=True)
    structlog.get_logger("test").info("reply", text='250 ok\r\n{"event": "forged"}\x1b[2J\u2028')
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["event"] == "reply"


def test_printable_takes_controls_and_direction_marks_out() -> None:
    assert printable("a\r\nb\x00\u202ec", 4) == "a  b"
