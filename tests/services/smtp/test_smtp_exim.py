"""Test Connection against a real Exim: what passes, and each refusal in the phase to which it belongs."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.smtp.settings import Security, SmtpSettings
from tests import exim_server
from tests.exim_server import DOMAIN, EximServer
from tests.smtp_clients import CONTENT, RECIPIENT, SENDER, policy
from utils.errors import Fault, Phase
from utils.secret import Secret

PASSWORD = "geheim-8472-äöü"

pytestmark = pytest.mark.skipif(exim_server.missing() is not None, reason=f"Exim: {exim_server.missing()}")


@pytest.fixture(scope="module")
def exim() -> Iterator[EximServer]:
    with EximServer({"shop": PASSWORD}, senders=SENDER) as server:
        yield server


def run(exim: EximServer, *, rcpt: str = RECIPIENT, content: bytes | None = None, **changes: Any) -> TestResult:
    """What a test comes to that signs in through STARTTLS; ``changes`` replace fields."""
    values: dict[str, Any] = {
        "host": exim.host,
        "port": exim.starttls_port,
        "security": Security.STARTTLS,
        "username": "shop",
        "password": Secret(PASSWORD),
        "from_email": SENDER,
    }
    settings = SmtpSettings(**{**values, **changes})
    plan = TestPlan(settings=settings, policy=policy(every_address=True), rcpt=rcpt, content=content)
    *_, result = connection_test.stream(plan)
    assert isinstance(result, TestResult)
    return result


def test_a_test_through_starttls_passes(exim: EximServer) -> None:
    result = run(exim)
    assert result.ok, exim.log
    assert [step.name for step in result.steps if step.status == "failed"] == []


def test_a_test_with_tls_from_the_first_byte_passes(exim: EximServer) -> None:
    assert run(exim, port=exim.tls_port, security=Security.TLS).ok


def test_a_test_message_lies_in_the_queue_under_the_id_that_is_told(exim: EximServer) -> None:
    result = run(exim, content=CONTENT)
    assert result.ok
    assert exim.queued(result.queue_id) == b"Good morning.\n"


def test_a_wrong_password_fails_at_sign_in(exim: EximServer) -> None:
    result = run(exim, password=Secret("geheim-9999"))
    assert result.error
    assert (result.error.phase, result.error.code) == (Phase.SIGN_IN, 535)
    assert "geheim-9999" not in "\n".join(result.transcript)


def test_a_sender_that_the_login_does_not_own_fails_at_the_sender(exim: EximServer) -> None:
    result = run(exim, from_email="boss@sender.example")
    assert result.error
    assert (result.error.phase, result.error.code) == (Phase.SENDER, 550)
    assert f"may send as {SENDER} only" in result.server_line


def test_a_denied_relay_fails_a_test_with_a_message_and_without(exim: EximServer) -> None:
    anonymous: dict[str, Any] = {"username": "", "password": Secret("")}
    for refused in (run(exim, **anonymous), run(exim, content=CONTENT, **anonymous)):
        assert refused.error
        assert (refused.error.phase, refused.error.code) == (Phase.RECIPIENT, 550)
        assert "relay not permitted" in refused.server_line
    assert run(exim, content=CONTENT, rcpt=f"anna@{DOMAIN}", **anonymous).ok


def test_a_login_without_encryption_is_not_offered(exim: EximServer) -> None:
    result = run(exim, security=Security.NONE)
    assert result.error
    assert result.error.fault is Fault.AUTH_NOT_OFFERED
    assert [(way.port, way.security) for way in result.open_ways][:1] == [(exim.starttls_port, Security.STARTTLS)]


def test_the_wrong_mode_is_recognised_and_the_right_one_found(exim: EximServer) -> None:
    result = run(exim, security=Security.TLS)
    assert result.error
    assert result.error.fault is Fault.TLS_UNEXPECTED
    assert [(way.port, way.security) for way in result.open_ways][:1] == [(exim.starttls_port, Security.STARTTLS)]
