"""What is no mail server is shown by its kind: none of its words are in an error, a step or a transcript."""

from dataclasses import replace
from time import monotonic

import pytest

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.smtp.settings import Security, SmtpSettings
from tests import certificates
from tests.scripted_server import Answer, Connection, ScriptedServer, pause
from tests.smtp_clients import policy
from utils.errors import Fault

CANARY = "canary-7.4.1"
STRANGERS = [
    (f"SSH-2.0-{CANARY}".encode() + b"\r\n", "An SSH server"),
    (f"HTTP/1.1 400 Bad Request\r\nServer: {CANARY}".encode() + b"\r\n\r\n", "An HTTP server"),
    (f"<!DOCTYPE html><title>{CANARY}</title>".encode(), "An HTTP server"),
    (f"* OK [CAPABILITY IMAP4rev1] {CANARY} ready\r\n".encode(), "An IMAP server"),
    (f"* BYE {CANARY} too many connections\r\n".encode(), "An IMAP server"),
    (f"+OK {CANARY} <1896.697170952@host>\r\n".encode(), "A POP3 server"),
    (f"-ERR {CANARY} is busy\r\n".encode(), "A POP3 server"),
    (b"J\x00\x00\x00\x0a" + f"8.0.36-{CANARY}".encode() + b"\x00\x08\x00\x00\x00", "A database"),
    (b"3\x00\x00\x00\x0a" + f"11.4-MariaDB-{CANARY}".encode() + b"\x00", "A database"),
    (b"E\x00\x00\x00\xff\x6a\x04" + f"Host {CANARY} is not allowed".encode(), "A database"),
    (f"-DENIED Redis is running in protected mode {CANARY}\r\n".encode(), "A database"),
    (f"-ERR max number of clients reached {CANARY}\r\n".encode(), "A database"),
    (b"E\x00\x00\x00\x90SFATAL\x00" + f"C0A000 {CANARY}".encode() + b"\x00", "A database"),
    (b"RFB 003.008\n" + CANARY.encode(), "A remote desktop"),
    (b"\xff\xfd\x18\xff\xfd\x20" + f"{CANARY} login: ".encode(), "A Telnet server"),
    (f"@RSYNCD: 31.0 {CANARY}\n".encode(), "An rsync server"),
    (f'"IMPLEMENTATION" "{CANARY}"\r\n'.encode(), "A ManageSieve server"),
    (f":irc.{CANARY} NOTICE * :*** Looking up your hostname\r\n".encode(), "An IRC server"),
    (f'INFO {{"server_name":"{CANARY}"}}\r\n'.encode(), "A message broker"),
    (f"( success ( 2 2 ( ANONYMOUS ) ( {CANARY} ) ) )".encode(), "A Subversion server"),
    (f"{CANARY} speaking\r\n".encode(), "Something else"),
    (b"\x00\x01\x02" + CANARY.encode(), "Something else"),
]
SPEAKING_IN_CODES: list[tuple[str, str]] = [
    (f"220 ProFTPD 1.3.8 Server ({CANARY}) [192.0.2.1]", "An FTP server"),
    (f"220 (vsFTPd 3.0.5 {CANARY})", "An FTP server"),
    (f"220---------- Welcome to Pure-FTPd [{CANARY}] ----------\n220 You are user 1 of 50", "An FTP server"),
    (f"220-Welcome to {CANARY}\n220 FTP server ready", "An FTP server"),
    (f"220-FileZilla Server {CANARY}", "An FTP server"),
    (f"421 Too many users on this FTP server {CANARY}", "An FTP server"),
    (f"530 FTP: {CANARY} is not allowed here", "An FTP server"),
    (f"200 {CANARY} InterNetNews server ready (posting ok)", "A news server"),
    (f"201 {CANARY} ready", "A news server"),
    (f"400 {CANARY} NNTP service temporarily unavailable", "A news server"),
    (f"220 {CANARY} dictd 1.12", "A dictionary server"),
    (f"220 {CANARY} server (HylaFAX (tm) Version 7.0.6) ready.", "A fax server"),
]


def result_at(server: ScriptedServer, security: Security = Security.NONE) -> TestResult:
    settings = SmtpSettings(
        host="127.0.0.1", port=server.port, security=security, from_email="a@example.com", timeout_seconds=3
    )
    plan = TestPlan(
        settings=settings, policy=replace(policy(total_seconds=5), every_address=True), rcpt="a@example.com"
    )
    *_, result = connection_test.stream(plan)
    assert isinstance(result, TestResult)
    return result


def everything_of(result: TestResult) -> str:
    assert result.error
    assert result.diagnosis
    shown = [result.message, result.server_line, result.error.text, str(result.diagnosis), *result.transcript]
    return "\n".join([*shown, *(step.fact for step in result.steps)])


@pytest.mark.parametrize(("said", "kind"), STRANGERS)
def test_of_a_service_that_speaks_first_only_its_kind_is_shown(said: bytes, kind: str) -> None:
    with ScriptedServer({"GREETING": said}) as server:
        result = result_at(server)
    assert result.error
    assert (result.error.fault, result.error.text) == (Fault.NOT_SMTP, f"{kind} responded, not a mail server.")
    assert CANARY not in everything_of(result)
    assert not any(line.startswith("S:") for line in result.transcript)


@pytest.mark.parametrize(("said", "kind"), [STRANGERS[0], STRANGERS[1], STRANGERS[7]])
def test_it_is_known_as_well_when_its_words_come_in_pieces(said: bytes, kind: str) -> None:
    with ScriptedServer({"GREETING": (said[:1], pause(0.05), said[1:3], pause(0.05), said[3:])}) as server:
        result = result_at(server)
    assert kind in everything_of(result)
    assert CANARY not in everything_of(result)


# One that begins with a digit is taken for a server that speaks plain first.
@pytest.mark.parametrize(("said", "kind"), [each for each in STRANGERS if not each[0][:1].isdigit()])
def test_so_it_is_where_tls_was_to_begin(said: bytes, kind: str) -> None:
    with ScriptedServer({"GREETING": (Connection.receive, pause(0.05), said)}) as server:
        result = result_at(server, Security.TLS)
    assert CANARY not in everything_of(result)
    assert kind in everything_of(result)


@pytest.mark.parametrize("security", [Security.NONE, Security.STARTTLS])
@pytest.mark.parametrize(("greeting", "kind"), SPEAKING_IN_CODES)
def test_a_service_that_speaks_in_codes_is_known_by_its_greeting(greeting: str, kind: str, security: Security) -> None:
    with ScriptedServer({"GREETING": greeting}) as server:
        result = result_at(server, security)
    assert result.error
    assert (result.error.fault, result.error.text) == (Fault.NOT_SMTP, f"{kind} responded, not a mail server.")
    assert CANARY not in everything_of(result)


@pytest.mark.parametrize("security", [Security.NONE, Security.STARTTLS])
@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (f"530 Please login with USER and PASS, {CANARY}.", "An FTP server"),
        (f"530 You aren't logged in, {CANARY}", "An FTP server"),
        (f"500 {CANARY}: command not understood", "Something else"),
        (f"502 {CANARY}", "Something else"),
    ],
)
def test_a_greeting_that_says_nothing_is_not_shown_where_no_mail_server_follows(
    refusal: str, kind: str, security: Security
) -> None:
    script: dict[str, Answer] = {"GREETING": f"220 Welcome to {CANARY}", "EHLO": refusal, "HELO": refusal}
    with ScriptedServer(script) as server:
        result = result_at(server, security)
    assert result.error
    assert (result.error.fault, result.error.text) == (Fault.NOT_SMTP, f"{kind} responded, not a mail server.")
    assert CANARY not in everything_of(result)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"GREETING": "554 5.7.1 blocked by example-list"}, "blocked by example-list"),
        ({"GREETING": "421 4.7.0 too many connections"}, "too many connections"),
        ({"GREETING": "220 mx.example.com", "EHLO": "550 5.7.1 bad name", "HELO": "550 5.7.1 bad name"}, "bad name"),
        ({"GREETING": "220 ftp.example.com ESMTP Postfix", "EHLO": "502 what?", "HELO": "502 what?"}, "what?"),
        ({"GREETING": "220 mx.example.com", "MAIL": "550 5.7.1 not you"}, "220 mx.example.com"),
    ],
)
def test_a_mail_server_is_still_quoted(script: dict[str, Answer], said: str) -> None:
    with ScriptedServer(script, tls=certificates.good_context()) as server:
        result = result_at(server)
    assert result.error
    assert result.error.fault is not Fault.NOT_SMTP
    assert said in everything_of(result)


def test_a_stranger_that_never_stops_costs_no_more_than_a_moment() -> None:
    began = monotonic()
    with ScriptedServer({"GREETING": b"x" * 1_000_000}) as server:
        result = result_at(server)
    assert result.error
    assert result.error.fault is Fault.NOT_SMTP
    assert monotonic() - began < 60  # and not for ever
