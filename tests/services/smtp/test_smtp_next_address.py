"""A server that is not well at one address of a host: the next is asked, and none after a refusal that goes for all."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from services.smtp import probe
from services.smtp.client import SmtpClient, Step
from services.smtp.dialogue import Dialogue, SideLook, StepName
from services.smtp.habits import Habit, habits_of
from services.smtp.settings import Security
from tests import certificates
from tests.patience import stretched
from tests.scripted_server import Answer, Connection, ScriptedServer, close, drip, hang, pause, reset
from tests.smtp_clients import CONTENT, ENVELOPE, Script, policy, settings_for
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary

HOST = "mail.test"
FIRST, SECOND, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture(autouse=True)
def _the_names_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[object, ...]] = [(0, 0, 0, "", (address, 0)) for address in (FIRST, SECOND)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


class Pair:
    """Two servers of one name, on one port; without a script there is no server at the address."""

    def __init__(self, first: Script | None, second: Script | None, **options: Any) -> None:
        self._stack = ExitStack()
        self.host = HOST
        self.servers: list[ScriptedServer] = []
        self.port = 0
        for address, script in ((FIRST, first), (SECOND, second)):
            if script is not None:
                self.servers.append(ScriptedServer(script, host=address, port=self.port, **options))
                self.port = self.servers[0].port

    def __enter__(self) -> "Pair":
        for server in self.servers:
            self._stack.enter_context(server)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Opened:
    """What came of opening a connection to a pair and sending a mail: ``error`` if it went wrong."""

    def __init__(self, pair: Pair, rules: dict[str, Any] | None = None, **changes: Any) -> None:
        self.steps: list[Step] = []
        self.error: DeliveryError | None = None
        settings = settings_for(pair, timeout_seconds=1, **changes)
        allowed = policy(**{"total_seconds": stretched(4), **(rules or {})})
        self.talk = Dialogue(settings, self.steps.append)
        try:
            with SmtpClient(settings, allowed, talk=self.talk) as client:
                client.send(ENVELOPE, CONTENT)
        except DeliveryError as error:
            self.error = error

    def lines(self, *phases: StepName) -> list[tuple[StepName, str, str]]:
        return [(step.name, step.status, step.fact) for step in self.steps if step.name in phases]


UNWELL: list[Answer] = [
    "421 4.3.2 too busy",
    "450 come back later",
    "554 5.7.1 no mail for you",
    "521 no mail here",
    "250 that is no greeting",
    "220-hello\n421 no, after all",
    "HTTP/1.1 400 Bad Request",
    b"\x00\xff\xfe\x01binary\r\n",
    close,
    (pause(0.05), reset),
    hang,
    b"",
    drip(b"220 scripted.test ESMTP ready and waiting for you\r\n"),
]


@pytest.mark.parametrize("greeting", UNWELL)
def test_a_server_that_does_not_greet_is_passed_over(greeting: Answer) -> None:
    with Pair({"GREETING": greeting}, {}) as pair:
        done = Opened(pair)
        first, second = pair.servers
        assert (len(first.connections), len(second.messages)) == (1, 1)
    assert done.error is None
    assert first.commands == []


def test_the_steps_and_the_transcript_tell_of_the_server_that_was_passed_over() -> None:
    with Pair({"GREETING": "554 5.7.1 no mail for you"}, {}) as pair:
        done = Opened(pair)
    assert done.lines(Phase.CONNECT, Phase.GREETING) == [
        (Phase.CONNECT, "ok", f"{HOST} ({FIRST}), port {pair.port}"),
        (Phase.GREETING, "warning", f"{FIRST}: 554 5.7.1 no mail for you"),
        (Phase.CONNECT, "ok", f"{HOST} ({SECOND}), port {pair.port}"),
        (Phase.GREETING, "ok", "scripted.test ESMTP"),
    ]
    assert done.talk.transcript
    transcript = "\n".join(map(str, done.talk.transcript.lines()))
    assert transcript.index("no mail for you") < transcript.index(f"Connected to {SECOND}")


def test_the_address_that_greeted_is_tried_first_from_then_on() -> None:
    with Pair({"GREETING": "421 4.3.2 too busy"}, {}) as pair:
        Opened(pair)
        Opened(pair)
        first, second = pair.servers
        assert (len(first.connections), len(second.messages)) == (1, 2)
        assert habits_of(HOST, pair.port).name(Habit.ADDRESS) == SECOND


def test_the_remembered_address_is_forgotten_when_it_greets_no_more() -> None:
    with Pair({}, {"GREETING": "421 4.3.2 too busy"}) as pair:
        habits_of(HOST, pair.port).learn(Habit.ADDRESS, SECOND)
        Opened(pair)
        first, second = pair.servers
        assert (len(second.connections), len(first.messages)) == (1, 1)
        assert habits_of(HOST, pair.port).fact(Habit.ADDRESS) is None


def test_where_silence_took_all_the_time_the_next_conversation_begins_elsewhere() -> None:
    with Pair({"GREETING": hang}, {}) as pair:
        settings = settings_for(pair, timeout_seconds=1)
        with pytest.raises(Temporary) as caught:
            SmtpClient(settings, policy(total_seconds=0.3)).open()
        assert (caught.value.phase, caught.value.fault) == (Phase.GREETING, Fault.TIMEOUT)
        assert Opened(pair).error is None
        first, second = pair.servers
        assert (len(first.connections), len(second.messages)) == (1, 1)


@pytest.mark.parametrize("answer", ["421 4.3.2 going down", "451 4.3.0 not now", close, hang])
def test_a_server_that_is_not_well_at_ehlo_is_passed_over(answer: Answer) -> None:
    with Pair({"EHLO": answer}, {}) as pair:
        done = Opened(pair)
        assert len(pair.servers[1].messages) == 1
    assert done.error is None
    assert [step.status for step in done.steps if step.name is Phase.EHLO] == ["warning", "ok"]


@pytest.mark.parametrize("answer", ["550 5.7.1 your name is refused", "504 5.5.2 not fully qualified", "501 bad name"])
def test_a_name_that_one_address_refuses_is_not_tried_at_the_next(answer: str) -> None:
    with Pair({"EHLO": answer, "HELO": answer}, {}) as pair:
        done = Opened(pair)
        assert pair.servers[1].connections == []
    assert isinstance(done.error, Misconfigured)
    assert done.error.phase is Phase.EHLO


STARTTLS = "250-scripted.test\n250 STARTTLS"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ({"EHLO": "250 scripted.test"}, Fault.TLS_NOT_OFFERED),
        ({"EHLO": "502 unknown command"}, Fault.TLS_NOT_OFFERED),
        ({"EHLO": STARTTLS, "STARTTLS": "454 4.7.0 TLS not available"}, Fault.REPLY),
        ({"EHLO": STARTTLS, "STARTTLS": "502 what?"}, Fault.REPLY),
        ({"EHLO": STARTTLS, "STARTTLS": close}, Fault.CLOSED),
        ({"EHLO": STARTTLS}, Fault.TLS_CERTIFICATE),
    ],
)
def test_trouble_with_encryption_sends_nobody_on(script: Script, fault: Fault) -> None:
    with Pair(script, {"EHLO": STARTTLS}, tls=certificates.good_context()) as pair:
        done = Opened(pair, security=Security.STARTTLS)  # the certificate is not for this name
        assert pair.servers[1].connections == []
    assert done.error
    assert done.error.fault is fault


def test_a_certificate_that_fails_from_the_first_byte_sends_nobody_on() -> None:
    with Pair({}, {}, tls=certificates.good_context(), implicit=True) as pair:
        done = Opened(pair, security=Security.TLS)
        assert pair.servers[1].connections == []
    assert done.error
    assert done.error.fault is Fault.TLS_CERTIFICATE


def test_a_refused_login_is_not_carried_to_the_next_address() -> None:
    script: Script = {"EHLO": "250-scripted.test\n250 AUTH PLAIN", "AUTH": "535 5.7.8 wrong"}
    with Pair(script, script) as pair:
        done = Opened(pair, username="shop", password="geheim-8472")
        assert pair.servers[1].connections == []
    assert done.error
    assert done.error.code == 535


def test_a_server_that_goes_before_the_handshake_is_passed_over() -> None:
    with (
        socket.create_server((FIRST, 0)) as listener,
        ScriptedServer(
            host=SECOND, port=listener.getsockname()[1], tls=certificates.good_context(HOST), implicit=True
        ) as server,
    ):

        def leave() -> None:
            listener.accept()[0].close()

        gone = threading.Thread(target=leave)
        gone.start()
        place = Pair(None, None)
        place.port = server.port
        done = Opened(place, security=Security.TLS)
        gone.join()
        assert done.error is None
        assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("first", "second", "kind", "phase", "code"),
    [
        ("421 busy", "554 5.7.1 blocked", Temporary, Phase.GREETING, 421),
        ("554 5.7.1 blocked", "421 busy", Temporary, Phase.GREETING, 421),
        ("554 5.7.1 blocked", "554 5.7.1 blocked too", Misconfigured, Phase.GREETING, 554),
        ("554 5.7.1 blocked", None, Misconfigured, Phase.GREETING, 554),
        ("554 5.7.1 blocked", close, Misconfigured, Phase.GREETING, 554),
        (close, "554 5.7.1 blocked", Misconfigured, Phase.GREETING, 554),
        (close, None, Temporary, Phase.GREETING, None),
        (close, hang, Temporary, Phase.GREETING, None),
        ("HTTP/1.1 400 Bad Request", "HTTP/1.1 400 Bad Request", Misconfigured, Phase.GREETING, None),
    ],
)
def test_where_no_address_is_well_the_most_telling_failure_is_told(
    first: Answer, second: Answer | None, kind: type[DeliveryError], phase: Phase, code: int | None
) -> None:
    with Pair({"GREETING": first}, None if second is None else {"GREETING": second}) as pair:
        done = Opened(pair)
    assert isinstance(done.error, kind)
    assert (done.error.phase, done.error.code) == (phase, code)
    assert (done.steps[-1].name, done.steps[-1].status) == (phase, "failed")


def test_a_test_looks_at_all_addresses_once_and_dials_the_living_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[object, ...]] = [(0, 0, 0, "", (address, 0)) for address in (FIRST, THIRD, SECOND)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with Pair({"GREETING": "421 busy"}, {}) as pair:
        done = Opened(pair, {"every_address": True})
    assert done.error is None
    assert sorted(done.lines(Phase.CONNECT, SideLook.ADDRESS)) == [
        (SideLook.ADDRESS, "ok", f"{SECOND}, port {pair.port}: responds too"),
        (SideLook.ADDRESS, "warning", f"{THIRD}, port {pair.port}, refused the connection"),
        (Phase.CONNECT, "ok", f"{HOST} ({FIRST}), port {pair.port}"),
        (Phase.CONNECT, "ok", f"{HOST} ({SECOND}), port {pair.port}"),
    ]


def test_the_certificate_is_looked_at_where_the_server_is_well() -> None:
    tls = certificates.good_context()
    with Pair({"GREETING": "421 busy"}, {"EHLO": STARTTLS}, tls=tls) as pair:
        shown = probe.shown_certificate(settings_for(pair, security=Security.STARTTLS), policy(), 5)
    assert shown
    assert "localhost" in shown.names


@pytest.fixture
def waiting() -> Iterator[threading.Event]:
    """Set once the first server has a client that waits for its greeting."""
    event = threading.Event()
    yield event
    event.set()


def test_a_conversation_that_was_cancelled_goes_to_no_other_address(waiting: threading.Event) -> None:
    def wait(connection: Connection) -> None:
        waiting.set()
        hang(connection)

    with Pair({"GREETING": wait}, {}) as pair:
        settings = settings_for(pair, timeout_seconds=60)
        talk = Dialogue(settings, None)
        client = SmtpClient(settings, policy(), talk=talk)

        def cancel() -> None:
            waiting.wait()
            talk.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(DeliveryError):
            client.open()
        thread.join()
        assert pair.servers[1].connections == []
