"""Test Connection as a whole: each address, each other way in, the certificate shown, and nothing secret told."""

import base64
import secrets
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest
from flask import Flask

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult, Waiting
from services.smtp import probe
from services.smtp.client import Step
from services.smtp.dialogue import SideLook, StepName
from services.smtp.patience import Patience
from services.smtp.settings import OpenWay, Security, SmtpSettings
from tests import certificates
from tests.dns_server import DnsServer
from tests.loopback import free_port
from tests.patience import PATIENCE, stretched
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, Connection, ScriptedServer, close, drip, hang, start_tls
from tests.smtp_clients import CONTENT, RECIPIENT, policy, settings_for
from utils.errors import Fault, Phase

PASSWORD = "geheim-8472-äöü"
OFFERS = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN LOGIN CRAM-MD5"


@pytest.fixture
def own_address() -> str:
    """A loopback address that nobody else listens on, so that its usual mail ports are free."""
    return f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"


def plan(server: Any, *, content: bytes | None = None, rules: dict[str, Any] | None = None, **changes: Any) -> TestPlan:
    return TestPlan(
        settings=settings_for(server, **changes),
        policy=policy(every_address=True, **(rules or {})),
        rcpt=RECIPIENT,
        content=content,
    )


def run(server: Any, **changes: Any) -> TestResult:
    """What a test of ``server`` comes to."""
    *_, result = connection_test.stream(plan(server, **changes))
    assert isinstance(result, TestResult)
    return result


def lines(result: TestResult, *names: StepName) -> list[tuple[str, str]]:
    return [(step.status, step.fact) for step in result.steps if step.name in names]


# Addresses.


def test_the_result_tells_what_was_really_connected_to() -> None:
    with ScriptedServer() as server:
        result = run(server, host="localhost")
    assert result.peer is not None
    assert (str(result.peer[0]), result.peer[1]) == ("127.0.0.1", server.port)
    assert result.ms >= sum(step.ms for step in result.steps) - len(result.steps)


def test_every_address_is_tried_and_has_a_line() -> None:
    zone = {("mail.test", "A"): ["127.0.0.9", "127.0.0.1", "127.0.0.10", "127.0.0.11"]}
    with (
        DnsServer(zone) as dns,
        ScriptedServer() as server,
        ScriptedServer(host="127.0.0.10", port=server.port) as other,
    ):
        result = run(server, host="mail.test", rules={"dns_resolver": dns.address})
        other.wait_until_left()
        server.wait_until_left()
    assert result.peer
    used, spare = ("127.0.0.1", "127.0.0.10") if server.commands else ("127.0.0.10", "127.0.0.1")
    assert str(result.peer[0]) == used
    assert sorted(lines(result, Phase.CONNECT, SideLook.ADDRESS)) == [
        ("ok", f"{spare}, port {server.port}: responds too"),
        ("ok", f"mail.test ({used}), port {server.port}"),
        ("warning", f"127.0.0.11, port {server.port}, refused the connection"),
        ("warning", f"127.0.0.9, port {server.port}, refused the connection"),
    ]
    assert len(server.connections) == len(other.connections) == 1
    assert [] in (server.commands, other.commands)


def test_an_address_without_an_answer_is_told_from_one_that_refuses() -> None:
    with (
        socket.create_server(("127.0.0.12", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
        ScriptedServer(port=full.getsockname()[1]) as server,
        DnsServer({("mail.test", "A"): ["127.0.0.12", "127.0.0.13", "127.0.0.1"]}) as dns,
    ):
        result = run(server, host="mail.test", rules={"dns_resolver": dns.address, "connect_seconds": 0.1})
    assert sorted(fact.rpartition(", ")[2] for status, fact in lines(result, SideLook.ADDRESS)) == [
        "did not respond",
        "refused the connection",
    ]


def test_where_no_address_answers_the_last_line_names_them_all() -> None:
    with DnsServer({("mail.test", "A"): ["127.0.0.12", "127.0.0.13"]}) as dns, ScriptedServer() as server:
        result = run(server, host="mail.test", port=free_port(), rules={"dns_resolver": dns.address})
    assert result.error
    assert (result.error.phase, result.error.fault, result.peer) == (Phase.CONNECT, Fault.REFUSED, None)
    first, last, _ways = lines(result, SideLook.ADDRESS, Phase.CONNECT, SideLook.OTHER_PORTS)
    assert (first[0], last[0]) == ("warning", "failed")
    assert all(f"{address} refused the connection" in last[1] for address in ("127.0.0.12", "127.0.0.13"))


# Other ways into the same host.


def test_a_closed_port_leads_to_the_one_that_answers(own_address: str) -> None:
    server = ScriptedServer({"EHLO": OFFERS}, host=own_address, port=2525, tls=certificates.good_context(own_address))
    with server:
        result = run(server, port=587, security=Security.STARTTLS, username="shop", password=PASSWORD)
    assert result.open_ways == [OpenWay(port=2525, security=Security.STARTTLS, greeting="scripted.test ESMTP")]
    assert lines(result, SideLook.OTHER_PORTS)[-1] == ("warning", "This host also answers on port 2525 with STARTTLS.")
    assert b"AUTH" not in server.received


def test_a_port_with_the_wrong_mode_is_tried_with_the_other() -> None:
    with ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context()) as server:
        result = run(server, security=Security.TLS, username="shop", password=PASSWORD)
        assert [(way.port, way.security) for way in result.open_ways] == [(server.port, Security.STARTTLS)]
        assert b"AUTH" not in server.received


def test_silence_at_a_port_for_tls_is_recognised_by_trying_it() -> None:
    with RecordingServer(tls=certificates.good_context(), implicit=True, users={"shop": PASSWORD}) as server:
        result = run(
            server, security=Security.STARTTLS, rules={"total_seconds": 0.5}, username="shop", password=PASSWORD
        )
        assert [(way.port, way.security) for way in result.open_ways] == [(server.port, Security.TLS)]
        assert server.auth_attempts == []


def test_a_way_with_a_bad_certificate_is_not_open(own_address: str) -> None:
    with ScriptedServer(
        {"EHLO": OFFERS}, host=own_address, port=2525, tls=certificates.good_context("other.example")
    ) as server:
        result = run(server, port=587, security=Security.STARTTLS)
    assert result.open_ways == []
    assert lines(result, SideLook.OTHER_PORTS)[-1] == (
        "failed",
        "No encrypted mail server answers on 465, 2525, 25 either.",
    )


@pytest.mark.parametrize("script", [{"EHLO": OFFERS, "AUTH": "535 5.7.8 no"}, {"EHLO": OFFERS, "MAIL": "550 5.7.1 no"}])
def test_a_refusal_that_no_other_port_would_mend_is_not_followed_by_probes(script: dict[str, Answer]) -> None:
    with ScriptedServer(script, tls=certificates.good_context()) as server:
        assert run(server, security=Security.STARTTLS, username="shop", password=PASSWORD).open_ways == []
        assert len(server.connections) == 1


# Certificates.


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_a_refused_certificate_is_shown_and_never_trusted(security: Security) -> None:
    context = certificates.made_context(names=("other.example", "10.1.2.3"), common_name="other.example")
    with RecordingServer(tls=context, implicit=security is Security.TLS, users={"shop": PASSWORD}) as server:
        result = run(server, host="localhost", security=security, username="shop", password=PASSWORD)
        assert server.auth_attempts == []
        assert b"AUTH" not in server.data
    shown = result.certificate
    assert shown
    assert shown.names == ("other.example", "10.1.2.3")
    assert len(shown.sha256) == 32 * 3 - 1
    ((_, what),), ((status, fact),) = lines(result, Phase.ENCRYPTION), lines(result, SideLook.CERTIFICATE)
    assert "another name" in what
    assert status == "failed"
    assert fact.startswith("For other.example, 10.1.2.3; issued by trustme")
    assert f"{shown.starts:%Y-%m-%d} to {shown.ends:%Y-%m-%d}" in fact
    assert fact.endswith(shown.sha256.replace(":", ""))


def test_a_certificate_that_cannot_be_looked_at_again_leaves_the_verdict() -> None:
    tls = certificates.good_context("other.example")
    with ScriptedServer({"EHLO": OFFERS, "STARTTLS": [start_tls(), close]}, tls=tls) as server:
        result = run(server, host="localhost", security=Security.STARTTLS)
    assert result.error
    assert (result.error.fault, result.certificate) == (Fault.TLS_CERTIFICATE, None)


# The transcript.


def echo(connection: Connection) -> None:
    """Refuse a login and repeat what was said, as broken servers do."""
    connection.send(f"535 5.7.8 not accepted: {connection.command}\r\n".encode())


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_the_transcript_holds_the_conversation_and_no_password(mechanism: str) -> None:
    with ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context()) as server:
        result = run(
            server,
            content=CONTENT,
            security=Security.STARTTLS,
            username="shop",
            password=PASSWORD,
            auth_method=mechanism,
        )
    said = result.transcript
    assert said[0] == f"* Connected to 127.0.0.1, port {server.port}"
    assert said[1:3] == ["S: 220 scripted.test ESMTP", "C: EHLO app.example"]
    assert any(line.startswith("* TLS 1.3") for line in said)
    assert f"C: AUTH {mechanism}{' ••••' if mechanism == 'PLAIN' else ''}" in said
    assert said[-6:-2] == [
        "C: DATA",
        "S: 354 go ahead",
        "C: (the message, 68 bytes)",
        "S: 250 2.0.0 Ok: queued as S0001",
    ]
    assert said[-2:] == ["C: QUIT", "S: 221 2.0.0 bye"]
    text = "\n".join(said)
    assert PASSWORD not in text
    assert base64.b64encode(PASSWORD.encode()).decode() not in text
    assert "Good morning" not in text


@pytest.mark.parametrize("password", [PASSWORD, "short"])
def test_a_password_that_the_server_repeats_is_not_in_the_transcript(password: str) -> None:
    with ScriptedServer({"EHLO": OFFERS, "AUTH": echo}) as server:
        result = run(server, username="shop", password=password, auth_method="PLAIN")
    text = "\n".join([*result.transcript, result.server_line, *(step.fact for step in result.steps)])
    assert base64.b64encode(f"\0shop\0{password}".encode()).decode() not in text
    assert password not in text
    assert "S: 535 5.7.8 not accepted: AUTH PLAIN ••••" in text


def test_the_transcript_of_a_hostile_server_is_bounded_and_printable() -> None:
    greeting = (b"220-\x1b[2J" + b"x" * 400 + b"\r\n") * 120 + b"220 ok\r\n"
    with ScriptedServer({"GREETING": greeting, "EHLO": "250-x\n" * 120 + "250 x"}) as server:
        result = run(server, rules={"ehlo_name": "a" * 240 + ".example"}, content=CONTENT)
    assert len(result.transcript) == 200
    assert all(len(line) <= 200 and line.isprintable() for line in result.transcript)
    assert sum(line.endswith("lines are left out.") for line in result.transcript) == 1
    assert result.transcript[-1] == "S: 221 2.0.0 bye"


def test_what_is_no_mail_server_stands_in_the_transcript_by_its_kind() -> None:
    with ScriptedServer({"GREETING": "HTTP/1.1 400 Bad Request"}) as server:
        result = run(server)
    assert "* An HTTP server responded, not a mail server." in result.transcript
    assert not any("400 Bad Request" in line for line in result.transcript)
    assert result.transcript[-1] == "* An HTTP server responded, not a mail server."


# The listener goes away.


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "MESSAGE"])
def test_a_listener_who_leaves_ends_the_conversation_at_once(verb: str) -> None:
    reached = threading.Event()
    silence = ("220 go ahead" if verb == "STARTTLS" else b"", lambda _: reached.set(), hang)
    with ScriptedServer({"EHLO": OFFERS, verb: silence}, tls=certificates.good_context()) as server:
        prepared = plan(server, content=CONTENT, security=Security.STARTTLS, username="shop", password=PASSWORD)
        with closing(connection_test.listen(prepared)) as items:
            assert isinstance(next(items), Step)
            assert reached.wait(PATIENCE)
        server.wait_until_left(timeout=stretched(2))
        assert b"QUIT" not in server.received


def test_silence_is_told_so_that_a_listener_can_look_whether_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_test, "BEAT", 0.02)
    with ScriptedServer({"GREETING": hang}) as server, closing(connection_test.listen(plan(server))) as items:
        assert None in items


def test_two_tests_at_once_do_not_disturb_each_other() -> None:
    with ScriptedServer({"EHLO": OFFERS}) as good, ScriptedServer({"EHLO": OFFERS, "AUTH": "535 5.7.8 no"}) as bad:
        streams = [connection_test.stream(plan(server, username="shop", password=PASSWORD)) for server in (good, bad)]
        begun = [next(stream) for stream in streams]
        passed, failed = (list(stream)[-1] for stream in streams)
    assert all(isinstance(step, Step) for step in begun)
    assert isinstance(passed, TestResult)
    assert isinstance(failed, TestResult)
    assert (passed.ok, failed.ok) == (True, False)
    assert passed.transcript[-1] == "S: 221 2.0.0 bye"


# Time.


def test_a_test_ends_in_time_whatever_the_server_does(monkeypatch: pytest.MonkeyPatch, own_address: str) -> None:
    total = stretched(2.0)  # of which a conversation may take half
    monkeypatch.setattr(connection_test, "TOTAL_SECONDS", total)
    scripts: list[dict[str, Answer]] = [
        {"GREETING": drip(b"220 " + b"." * 2000)},
        {"EHLO": hang},
        {"STARTTLS": ("220 go ahead", hang)},
        {"AUTH": drip(b"334 " + b"." * 2000)},
        {"RCPT": hang},
    ]

    def seconds(script: dict[str, Answer]) -> float:
        with ScriptedServer(
            {"EHLO": OFFERS, **script}, host=own_address, tls=certificates.good_context(own_address)
        ) as server:
            login: dict[str, Any] = {"username": "shop", "password": PASSWORD}
            started = time.monotonic()
            result = run(server, rules={"total_seconds": 1.0}, security=Security.STARTTLS, **login)
            assert not result.ok
            return time.monotonic() - started

    with ExitStack() as held, ThreadPoolExecutor(len(scripts)) as pool:
        for port, _ in probe.USUAL:
            held.enter_context(ScriptedServer({"GREETING": hang}, host=own_address, port=port))
        took = max(pool.map(seconds, scripts))
    # By the pace of this machine when it began, or when it ended; a server that is not cut off drips for minutes.
    assert took <= 1.5 * max(total, stretched(2.0))


def test_a_conversation_as_long_as_it_may_be_leaves_time_to_look_around(app: Flask) -> None:
    farewell, look_around = 2.0, 6.0
    place: dict[str, Any] = {"host": "mail.example.com", "port": 587, "security": Security.STARTTLS}
    prepared = connection_test.plan(SmtpSettings(**place, from_email="a@example.com", timeout_seconds=60))
    assert prepared.policy.total_seconds + farewell + look_around < connection_test.TOTAL_SECONDS == 120
    assert prepared.policy.patience == Patience(command=60, data=60, block=60, receipt=60)


def test_a_step_that_takes_long_is_told_to_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_test, "BEAT", 0.02)
    monkeypatch.setattr(connection_test, "WAITING", 1)
    with ScriptedServer({"RCPT": hang}) as server, closing(connection_test.listen(plan(server))) as items:
        assert Waiting(Phase.RECIPIENT, 1) in items
