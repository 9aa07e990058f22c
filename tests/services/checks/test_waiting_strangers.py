"""What says nothing until we do, and what a device on the way leaves of a greeting: seen by a connection test."""

import http.server
import socketserver
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.diagnosis.diagnosis import diagnose
from services.diagnosis.picture import Picture
from services.smtp.settings import Security
from tests import certificates
from tests.scripted_server import Connection, ScriptedServer, close, hang
from tests.smtp_clients import RECIPIENT, client_for, policy, settings_for
from utils.errors import DeliveryError, Fault, Phase


class Portal(http.server.BaseHTTPRequestHandler):
    """Sends everybody to a page of its own, whatever is asked."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\n\r\n")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class Served:
    """A server of the standard library under way."""

    def __init__(self, server: socketserver.TCPServer) -> None:
        self.host, self.port = "127.0.0.1", server.server_address[1]


def serving(handler: type[http.server.BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Served(server)
        server.shutdown()


@pytest.fixture(scope="module")
def web() -> Iterator[Served]:
    yield from serving(Quiet)


@pytest.fixture(scope="module")
def secure_web() -> Iterator[Served]:
    yield from serving(Quiet, certificates.good_context())


@pytest.fixture(scope="module")
def portal() -> Iterator[Served]:
    yield from serving(Portal)


def outcome(server: Any, **changes: Any) -> TestResult:
    plan = TestPlan(
        settings=settings_for(server, timeout_seconds=1, **changes), policy=policy(every_address=True), rcpt=RECIPIENT
    )
    *_, result = connection_test.stream(plan)
    assert isinstance(result, TestResult)
    return result


def alert(connection: Connection) -> None:
    """Complain as OpenSSL does about what is no TLS (RFC 8446 6.2: protocol_version)."""
    connection.line()
    connection.send(b"\x15\x03\x01\x00\x02\x02\x46")
    close(connection)


def rule(result: TestResult) -> str:
    assert result.diagnosis
    return result.diagnosis.rule


def test_a_web_server_is_known_by_what_it_answers_to_ehlo(web: Served) -> None:
    for security in (Security.NONE, Security.STARTTLS):
        result = outcome(web, security=security)
        assert rule(result) == "http-server"
        assert result.error and (result.error.phase, result.error.fault) == (Phase.GREETING, Fault.NOT_SMTP)


def test_so_is_one_behind_tls_where_nobody_is_told_to_choose_another_encryption(secure_web: Served) -> None:
    result = outcome(secure_web, security=Security.TLS)
    assert rule(result) == "http-server"
    assert result.diagnosis
    assert {"security": "starttls"} not in [action.changes for action in result.diagnosis.actions]


def test_a_page_to_sign_in_on_first_is_told_from_a_web_server(portal: Served) -> None:
    result = outcome(portal)
    assert rule(result) == "captive-portal"
    assert result.diagnosis
    assert result.diagnosis.field is None


def test_a_server_that_waits_for_tls_says_so_when_it_is_spoken_to() -> None:
    with ScriptedServer({"GREETING": alert}) as server:
        result = outcome(server, security=Security.STARTTLS)
    assert result.error
    assert (result.error.phase, result.error.fault) == (Phase.GREETING, Fault.TLS_EXPECTED)


@pytest.mark.parametrize(
    ("greeting", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "ssh-server"),
        (b"* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready.\r\n", "imap-server"),
        (b"* BYE Connection refused\r\n", "imap-server"),
        (b"+OK Dovecot ready.\r\n", "pop3-server"),
        (b"-ERR Connection refused\r\n", "pop3-server"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http-server"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x.example/\r\n\r\n", "captive-portal"),
        (b"HTTP/1.0 511 Network Authentication Required\r\n\r\n", "captive-portal"),
        (b"220 ProFTPD Server ready.\r\n", "ftp-server"),
        (b"220 (vsFTPd 3.0.5)\r\n", "ftp-server"),
    ],
)
@pytest.mark.parametrize("implicit", [False, True])
def test_what_is_no_mail_server_is_named(greeting: bytes, expected: str, *, implicit: bool) -> None:
    tls = certificates.good_context() if implicit else None
    security = Security.TLS if implicit else Security.NONE
    with (
        ScriptedServer({"GREETING": (greeting, hang)}, tls=tls, implicit=implicit) as server,
        pytest.raises(DeliveryError) as caught,
        client_for(server, security=security),
    ):
        pass
    assert diagnose(caught.value, Picture(settings=settings_for(server, security=security))).rule == expected


def test_an_ftp_server_that_does_not_say_so_is_known_by_its_answers() -> None:
    script = {"GREETING": "220 Welcome", "EHLO": "530 Please login with USER and PASS.", "HELO": "530 Please login."}
    with ScriptedServer(script) as server:
        assert rule(outcome(server)) == "ftp-server"


def test_a_mail_server_that_is_only_slow_is_not_taken_for_something_else() -> None:
    with ScriptedServer({"GREETING": hang}) as server:
        assert rule(outcome(server)) == "greeting-silent"
    with ScriptedServer({"GREETING": close}) as server:
        assert rule(outcome(server)) == "closed-early"


# What a device on the way leaves of the offers.

ASTERISKS = "220 ****************************************0*2******0***"


@pytest.mark.parametrize(
    "script",
    [
        {"EHLO": "250-mail.shop.example\n250-XXXXXXXA\n250 8BITMIME"},
        {"EHLO": "250-mail.shop.example\n250-PIPELINING\n250-XXXXXXXX\n250 XXXB"},
        {"GREETING": ASTERISKS, "EHLO": "250-mail.shop.example\n250 8BITMIME"},
    ],
)
def test_an_offer_of_encryption_that_was_overwritten_is_told_from_one_that_was_never_made(script: Any) -> None:
    with ScriptedServer(script) as server:
        result = outcome(server, security=Security.STARTTLS)
    assert rule(result) == "starttls-masked"
    assert result.error and result.error.fault is Fault.TLS_NOT_OFFERED
    with ScriptedServer({"EHLO": "250-mail.shop.example\n250-XCLIENT NAME\n250 XFORWARD"}) as server:
        assert rule(outcome(server, security=Security.STARTTLS)) == "starttls-not-supported"


@pytest.mark.parametrize("refusal", ["500 5.3.3 Unrecognized command", "502 5.5.2 Command not implemented"])
def test_a_server_that_offers_encryption_and_does_not_know_it_is_told_apart(refusal: str) -> None:
    with ScriptedServer({"EHLO": "250-mail.example\n250 STARTTLS", "STARTTLS": refusal}) as server:
        assert rule(outcome(server, security=Security.STARTTLS)) == "starttls-swallowed"
