"""What nobody foresaw ends a test in a failed step too, with a reference that leads to the log and to no secret."""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from flask import Flask

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.smtp.client import Step
from services.smtp.settings import Security
from tests import certificates
from tests.scripted_server import ScriptedServer, start_tls
from tests.smtp_clients import CONTENT, RECIPIENT, policy, settings_for
from utils.errors import Fault, Phase
from utils.log_utils import configure_logging
from utils.secret import Secret

OFFERS = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN LOGIN"
PASSWORD = "geheim-8472"
REFERENCE = re.compile(r"Reference: ([0-9A-F]{8})\.")


class Panic(BaseException):
    """As compiled code raises it, which is no Exception."""


def broken(kind: type[BaseException]) -> Callable[..., NoReturn]:
    def act(*_: object, **__: object) -> NoReturn:
        raise kind(f"it was said with {PASSWORD}")

    return act


def broken_for_clients(method: Callable[..., Any], kind: type[BaseException] = RuntimeError) -> Callable[..., Any]:
    """A method of a TLS socket that fails for us and serves the server."""

    def act(sock: ssl.SSLSocket, *given: object, **named: object) -> Any:
        return method(sock, *given, **named) if sock.server_side else broken(kind)()

    return act


@pytest.fixture(autouse=True)
def in_json() -> None:
    configure_logging([], as_json=True)


def plan(server: ScriptedServer, **changes: Any) -> TestPlan:
    settings = {"security": Security.STARTTLS, "username": "shop", "password": PASSWORD, **changes}
    return TestPlan(settings=settings_for(server, **settings), policy=policy(), rcpt=RECIPIENT)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context()) as server:
        yield server


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """What was logged of this kind."""
    events = [dict(record.msg) for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in events if line.get("event") == event]


def assert_told(result: TestResult, phase: Phase, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The result is a failed step with a reference; gives the one line of the log with the same."""
    assert not result.ok
    assert result.error
    assert (result.error.phase, result.error.fault) == (phase, Fault.OURS)
    assert result.message == "Sealpost failed"
    last = result.steps[-1]
    assert (last.name, last.status) == (phase, "failed")
    found = REFERENCE.search(last.fact)
    assert found
    assert result.diagnosis
    assert found[0] in result.diagnosis.meaning
    (line,) = logged(caplog, "connection_test_broken")
    assert line["reference"] == found[1]
    assert PASSWORD not in caplog.text
    assert "Traceback" not in caplog.text
    return line


@pytest.mark.parametrize("kind", [RuntimeError, UnicodeError, AttributeError, MemoryError, RecursionError, Panic])
def test_whatever_is_raised_is_a_failed_step_with_a_reference(
    kind: type[BaseException], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", broken_for_clients(ssl.SSLSocket.do_handshake, kind))
    *steps, result = connection_test.stream(plan(server))
    assert all(isinstance(step, Step) for step in steps)
    assert isinstance(result, TestResult)
    line = assert_told(result, Phase.ENCRYPTION, caplog)
    assert line["kind"].rpartition(".")[2] == kind.__name__
    assert re.fullmatch(r"services/smtp/tls\.py:\d+ in _shake_hands", line["where"])
    assert result.steps == steps


def test_a_password_that_cannot_be_encoded_is_in_no_line(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    *_, result = connection_test.stream(plan(server, password=f"{PASSWORD}\udc80"))
    assert isinstance(result, TestResult)
    assert_told(result, Phase.SIGN_IN, caplog)


def test_a_recipient_that_cannot_be_said_is_a_failed_step(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = TestPlan(settings=plan(server).settings, policy=policy(), rcpt="nobody")
    *_, result = connection_test.stream(prepared)
    assert isinstance(result, TestResult)
    assert_told(result, Phase.SIGN_IN, caplog)


def test_what_breaks_in_the_preparation_is_a_failed_step(
    app: Flask, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(server, reply_to="this is\r\nno address", password=Secret(PASSWORD))
    with app.app_context():
        result = connection_test.run(settings, to=RECIPIENT)
    assert_told(result, Phase.SETTINGS, caplog)
    assert server.connections == []


def test_no_more_threads_is_a_failed_step(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", broken(RuntimeError))
        *steps, result = connection_test.stream(plan(server))
    assert isinstance(result, TestResult)
    assert_told(result, Phase.SETTINGS, caplog)
    assert result.steps == steps


def test_a_look_around_that_breaks_leaves_the_verdict(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tls = certificates.good_context("other.example")
    script: Any = {"EHLO": OFFERS, "STARTTLS": [start_tls(), (lambda _: patch(), start_tls())]}

    def patch() -> None:
        monkeypatch.setattr(ssl.SSLSocket, "getpeercert", broken_for_clients(ssl.SSLSocket.getpeercert))

    with ScriptedServer(script, tls=tls) as server:
        *_, result = connection_test.stream(plan(server, host="localhost"))
    assert isinstance(result, TestResult)
    assert result.error
    assert (result.error.fault, result.certificate) == (Fault.TLS_CERTIFICATE, None)
    (line,) = logged(caplog, "look_around_broken")
    assert line["where"].startswith("services/smtp/tls.py:")
    assert PASSWORD not in caplog.text


def test_a_probe_that_breaks_is_one_line_of_the_log_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer({"EHLO": "250 scripted.test"}) as server:  # no STARTTLS, so other ways are looked for
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", broken(RuntimeError))
        *_, result = connection_test.stream(plan(server))
    assert isinstance(result, TestResult)
    assert result.error
    assert result.error.fault is Fault.TLS_NOT_OFFERED
    assert logged(caplog, "smtp_probe_broken")
    assert "Traceback" not in capfd.readouterr().err


def test_a_mistake_after_a_message_says_that_it_may_have_arrived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def patch(_: object) -> None:
        monkeypatch.setattr(ssl.SSLSocket, "recv", broken_for_clients(ssl.SSLSocket.recv))

    script: Any = {"EHLO": OFFERS, "MESSAGE": (patch, "250 2.0.0 queued")}
    tls = certificates.good_context()
    with ScriptedServer(script, tls=tls) as server:
        before = plan(server)
        prepared = TestPlan(settings=before.settings, policy=before.policy, rcpt=RECIPIENT, content=CONTENT)
        *_, result = connection_test.stream(prepared)
    assert isinstance(result, TestResult)
    assert result.diagnosis
    assert "may have arrived" in result.diagnosis.meaning
    assert json.dumps(logged(caplog, "connection_test_broken")).count("reference") == 1
