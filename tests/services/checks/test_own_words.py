"""A test of a server that somebody entered who is no administrator: nothing that the server says is told."""

from dataclasses import replace
from typing import Any

import pytest

from blueprints import smtp_tests
from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.smtp.settings import Security
from tests import certificates
from tests.loopback import free_port
from tests.scripted_server import Answer, Connection, ScriptedServer, challenged, close, start_tls
from tests.smtp_clients import CONTENT, RECIPIENT, policy, settings_for
from utils.allowed_places import NOT_FOR_ACCOUNTS, PlacesForAccounts
from utils.errors import Fault, Phase

CANARY = "Canary-9281"
PASSWORD = "river-otter-17"
OFFERS = f"250-mx.{CANARY}.test\n250-X{CANARY}\n250 AUTH PLAIN LOGIN"


def echoed(connection: Connection) -> None:
    """Refuse the sign-in, with what was said, in the words of the other side."""
    connection.send(
        b"535 5.7.8 " + CANARY.encode() + b" " + bytes(connection.received)[-200:].split(b"\r\n")[-2] + b"\r\n"
    )


def result_of(server: Any, *, content: bytes | None = None, is_personal: bool = True, **changes: Any) -> TestResult:
    *_, result = connection_test.stream(
        TestPlan(
            settings=settings_for(server, is_personal=is_personal, **changes),
            policy=policy(allow_plaintext_login=True),
            rcpt=RECIPIENT,
            content=content,
        )
    )
    assert isinstance(result, TestResult)
    return result


def told(result: TestResult) -> str:
    """All that page and API may show of a result, and all that it holds."""
    held = list(vars(result).values())
    error = [result.error.text, str(result.error), repr(vars(result.error))] if result.error else []
    return repr([held, error, smtp_tests.failure(result), smtp_tests.course(result)])


SAYINGS: dict[str, tuple[str, dict[str, Answer]]] = {
    "greets": ("ok", {"GREETING": f"220-{CANARY} ESMTP\n220 {CANARY}"}),
    "greets as something else": ("failed", {"GREETING": f"220 {CANARY} FTP server ready"}),
    "speaks another protocol": ("failed", {"GREETING": f"SSH-2.0-{CANARY}\r\n".encode()}),
    "answers as a database": ("failed", {"GREETING": f"-ERR {CANARY}\r\n".encode()}),
    "refuses at once": ("failed", {"GREETING": f"554 {CANARY}"}),
    "is busy": ("failed", {"GREETING": f"421 4.3.2 {CANARY}"}),
    "greets without an end": (
        "failed",
        {"GREETING": f"220-{CANARY}\r\n220-{CANARY}\r\nNonsense {CANARY}\r\n".encode()},
    ),
    "offers": ("ok", {"EHLO": OFFERS}),
    "refuses our name": ("failed", {"EHLO": f"550 5.7.1 {CANARY} helo"}),
    "offers only its own sign-in": ("failed", {"EHLO": f"250-{CANARY}\n250 AUTH X-{CANARY}"}),
    "refuses the sign-in": ("failed", {"EHLO": OFFERS, "AUTH": f"535 5.7.8 {CANARY}"}),
    "echoes the sign-in": ("failed", {"EHLO": OFFERS, "AUTH": echoed}),
    "greets the user": ("ok", {"EHLO": OFFERS, "AUTH": challenged(f"235 2.7.0 {CANARY}")}),
    "takes the sender": ("ok", {"EHLO": OFFERS, "MAIL": f"250 2.1.0 {CANARY}", "RCPT": f"250 2.1.5 {CANARY}"}),
    "refuses the sender": ("failed", {"EHLO": OFFERS, "MAIL": f"550 5.7.1 {CANARY}"}),
    "refuses the recipient": ("ok", {"EHLO": OFFERS, "RCPT": f"550 5.1.1 {CANARY}"}),
    "leaves": ("failed", {"EHLO": OFFERS, "MAIL": (f"421 {CANARY}", close)}),
    "is slow to say no": ("failed", {"EHLO": OFFERS, "AUTH": f"454 4.7.0 {CANARY} try again in 3600 seconds"}),
}


@pytest.mark.parametrize(("outcome", "script"), SAYINGS.values(), ids=SAYINGS)
def test_nothing_that_the_server_says_is_told(outcome: str, script: dict[str, Answer]) -> None:
    with ScriptedServer({"EHLO": OFFERS, **script}) as server:
        result = result_of(server, username="bob", password=PASSWORD)
        seen = server.received
    assert result.ok is (outcome == "ok")
    shown = told(result)
    assert CANARY.casefold() not in shown.casefold()
    assert PASSWORD not in shown
    assert seen or outcome == "failed"
    assert all(step.fact for step in result.steps)


def test_an_administrator_reads_the_words_of_the_server() -> None:
    with ScriptedServer({"GREETING": f"554 {CANARY}"}) as server:
        assert CANARY in told(result_of(server, is_personal=False))


def test_a_test_email_tells_no_words_either() -> None:
    with ScriptedServer({"MESSAGE": f"250 2.0.0 Ok: queued as {CANARY}"}) as server:
        result = result_of(server, content=CONTENT)
    assert result.ok
    assert CANARY not in told(result)


def test_a_certificate_is_not_looked_at_for_others() -> None:
    context = certificates.server_context(certificates.stranger().issue_cert(f"{CANARY.lower()}.test"))
    with ScriptedServer({"EHLO": "250-a\n250 STARTTLS", "STARTTLS": start_tls()}, tls=context) as server:
        result = result_of(server, security=Security.STARTTLS)
        assert len(server.connections) == 1
    assert (result.ok, result.certificate) == (False, None)
    assert CANARY.casefold() not in told(result).casefold()


def test_the_steps_say_what_was_seen_in_words_of_ours() -> None:
    with ScriptedServer({"EHLO": OFFERS}) as server:
        result = result_of(server, username="bob", password=PASSWORD)
    assert [(str(step.name), step.status, step.fact) for step in result.steps][3:] == [
        ("greeting", "ok", "The server sent its greeting"),
        ("ehlo", "ok", "The server accepted the EHLO name"),
        ("encryption", "skipped", "Not encrypted, as chosen"),
        ("sign_in", "ok", "Signed in"),
        ("sender", "ok", "The server accepts mail from this address"),
        ("recipient", "ok", "The server accepts mail to this address"),
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_refused_server_is_refused_alike_whether_something_listens_there_or_not(host: str, is_open: bool) -> None:
    with ScriptedServer(host="::1" if host == "::1" else "127.0.0.1") as server:
        port = server.port if is_open else free_port()
        settings = settings_for(server, host=host, port=port, is_personal=True)
        allowed = PlacesForAccounts()
        plan = TestPlan(settings=settings, policy=policy(allowed=allowed), rcpt=RECIPIENT)
        *_, result = connection_test.stream(plan)
        assert isinstance(result, TestResult)
        assert server.connections == []
    assert result.error is not None
    assert (result.message, result.peer) == (NOT_FOR_ACCOUNTS, None)
    assert (result.error.phase, result.error.fault) == (Phase.DNS, Fault.ADDRESS_REFUSED)
    assert [step.name for step in result.steps] == [Phase.SETTINGS, Phase.DNS]
    assert smtp_tests.failure(result)["remedy"] == "Check the name. If it is right, ask an administrator."
    assert replace(result, ms=0) == replace(result, ms=0)
