"""From a host name to a greeted server: names, addresses, wrong ports, wrong protocols."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.smtp.client import Step
from services.smtp.dialogue import SideLook
from services.smtp.settings import Security
from tests.loopback import free_port, full_port
from tests.patience import PATIENCE
from tests.scripted_server import Answer, Connection, ScriptedServer, close, drip, hang, pause, reset
from tests.smtp_clients import CONTENT, ENVELOPE, client_for, policy
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary
from utils.log_utils import configure_logging

Resolver = Callable[[dict[str, list[str]]], None]


@dataclass(frozen=True)
class Place:
    host: str
    port: int


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Stands in for the name server: only the given names exist."""

    def know(names: dict[str, list[str]]) -> None:
        def answer(host: bytes, *_: object, **__: object) -> list[tuple[object, ...]]:
            if host.decode() not in names:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return [(0, 0, 0, "", (address, 0)) for address in names[host.decode()]]

        monkeypatch.setattr(socket, "getaddrinfo", answer)

    return know


def failure(place: object, **changes: object) -> DeliveryError:
    """The error that opening a connection to ``place`` ends in."""
    rules = changes.pop("rules", None) or policy(total_seconds=1)
    with pytest.raises(DeliveryError) as caught:
        client_for(place, rules=rules, **changes).open()  # type: ignore[arg-type]
    return caught.value


def test_a_name_that_does_not_exist_is_told(resolver: Resolver) -> None:
    resolver({})
    error = failure(Place("smtp.nowhere.example", 587))
    assert (error.phase, error.fault) == (Phase.DNS, Fault.DNS_NOT_FOUND)


def test_a_failing_name_server_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = failure(Place("smtp.example", 587))
    assert isinstance(error, Temporary)
    assert (error.phase, error.fault) == (Phase.DNS, Fault.DNS_FAILED)


def test_a_slow_name_server_cannot_exceed_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(PATIENCE) and [])
    error = failure(Place("smtp.example", 587), rules=policy(total_seconds=0.05))
    released.set()
    assert (error.phase, error.fault) == (Phase.DNS, Fault.DNS_FAILED)


def test_look_ups_that_hang_do_not_pile_up_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(PATIENCE) and [])
    for _ in range(20):
        failure(Place("smtp.example", 587), rules=policy(total_seconds=0.01))
    waiting = [thread for thread in threading.enumerate() if thread.name == "smtp-look-up"]
    released.set()
    for thread in waiting:
        thread.join()
    assert len(waiting) == 16


def test_getfqdn_is_never_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> str:
        raise AssertionError("getfqdn blocks on DNS and discloses the machine's name")

    monkeypatch.setattr(socket, "getfqdn", forbidden)
    monkeypatch.setattr(socket, "gethostname", forbidden)
    with ScriptedServer() as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
    assert server.commands[0] == "EHLO app.example"


def test_the_settings_own_ehlo_name_wins() -> None:
    with ScriptedServer() as server, client_for(server, helo_hostname="shop.example"):
        pass
    assert server.commands[0] == "EHLO shop.example"


def test_a_closed_port_is_refused() -> None:
    error = failure(Place("127.0.0.1", free_port()))
    assert isinstance(error, Temporary)
    assert (error.phase, error.fault) == (Phase.CONNECT, Fault.REFUSED)


def test_a_filtered_port_is_a_timeout() -> None:
    with full_port() as port:
        error = failure(Place("127.0.0.1", port), rules=policy(connect_seconds=0.1))
    assert (error.phase, error.fault) == (Phase.CONNECT, Fault.TIMEOUT)


def test_a_dead_first_address_does_not_hide_a_good_second(resolver: Resolver) -> None:
    resolver({"mail.test": ["127.0.0.9", "127.0.0.1"]})
    steps: list[Step] = []
    with ScriptedServer() as server, client_for(server, steps.append, host="mail.test") as client:
        client.send(ENVELOPE, CONTENT)
    assert [(step.status, step.fact) for step in steps if step.name in (SideLook.ADDRESS, Phase.CONNECT)] == [
        ("warning", f"127.0.0.9, port {server.port}, refused the connection"),
        ("ok", f"mail.test (127.0.0.1), port {server.port}"),
    ]


def test_a_mail_needs_one_address_and_leaves_the_others_alone(resolver: Resolver) -> None:
    resolver({"mail.test": ["127.0.0.1", "127.0.0.9"]})
    with ScriptedServer() as server, ScriptedServer(host="127.0.0.9", port=server.port) as other:
        with client_for(server, host="mail.test") as client:
            client.send(ENVELOPE, CONTENT)
        assert other.connections == []


def test_addresses_of_both_kinds_are_tried_in_turn(resolver: Resolver) -> None:
    resolver({"mail.test": ["127.0.0.2", "127.0.0.3", "::1"]})
    error = failure(Place("mail.test", free_port()))
    words = ["127.0.0.2", "::1", "127.0.0.3"]
    positions = [error.text.index(word) for word in words]
    assert positions == sorted(positions)


def test_an_exhausted_list_of_addresses_is_not_a_success(resolver: Resolver) -> None:
    resolver({"mail.test": ["127.0.0.2", "127.0.0.3"]})
    error = failure(Place("mail.test", free_port()))
    assert (error.phase, error.fault) == (Phase.CONNECT, Fault.REFUSED)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "224.0.0.1", "0.0.0.0", "fe80::1", "ff02::1"]
)
def test_a_forbidden_address_is_not_connected_to(address: str, caplog: pytest.LogCaptureFixture) -> None:
    configure_logging([], as_json=True)
    error = failure(Place(address, 25))
    assert isinstance(error, Misconfigured)
    assert error.fault is Fault.ADDRESS_REFUSED
    (record,) = (record for record in caplog.records if record.name == "security")
    assert "smtp_address_refused" in str(record.msg)


def test_a_name_with_forbidden_addresses_alone_is_refused(resolver: Resolver) -> None:
    with ScriptedServer() as server:
        resolver({"mail.test": ["0.0.0.0", "169.254.169.254", "fe80::1"]})
        error = failure(Place("mail.test", server.port))
    assert error.fault is Fault.ADDRESS_REFUSED
    assert server.connections == []


def test_a_name_is_looked_up_once_and_its_answer_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["127.0.0.1", "169.254.169.254"])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (next(answers), 0))])
    with ScriptedServer() as server, client_for(server, host="rebinding.test"):
        pass
    assert next(answers) == "169.254.169.254"


def test_ipv6_works() -> None:
    with ScriptedServer(host="::1") as server, client_for(server) as client:
        assert client.send(ENVELOPE, CONTENT).accepted == ENVELOPE.recipients


@pytest.mark.parametrize(
    ("greeting", "kind", "fault"),
    [
        ("421 4.3.2 too busy", Temporary, Fault.REPLY),
        ("450 come back later", Temporary, Fault.REPLY),
        ("554 5.7.1 you are blocked", Misconfigured, Fault.REPLY),
        ("250 that is no greeting", Misconfigured, Fault.REPLY),
        ("HTTP/1.1 400 Bad Request", Misconfigured, Fault.NOT_SMTP),
        ("SSH-2.0-OpenSSH_9.2p1", Misconfigured, Fault.NOT_SMTP),
        (b"\x00\xff\xfe\x01binary", Misconfigured, Fault.NOT_SMTP),
        (b"\x15\x03\x01\x00\x02\x02\x46", Misconfigured, Fault.TLS_EXPECTED),
        (close, Temporary, Fault.CLOSED),
        ((pause(0.05), reset), Temporary, Fault.CLOSED),
        (hang, Temporary, Fault.TIMEOUT),
        (drip(b"220 scripted.test ESMTP ready and waiting\r\n"), Temporary, Fault.TIMEOUT),
    ],
)
def test_a_bad_greeting_is_told_by_its_kind(greeting: Answer, kind: type[DeliveryError], fault: Fault) -> None:
    with ScriptedServer({"GREETING": greeting}) as server:
        error = failure(server)
    assert isinstance(error, kind)
    assert (error.phase, error.fault) == (Phase.GREETING, fault)


def test_a_server_that_only_speaks_when_spoken_to_is_a_timeout() -> None:
    with ScriptedServer({"GREETING": b""}) as server:
        assert failure(server, rules=policy(total_seconds=1)).fault is Fault.TIMEOUT


def test_silence_on_the_port_of_tls_means_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer({"GREETING": hang}) as server:
        real = socket.socket.connect
        monkeypatch.setattr(socket.socket, "connect", lambda sock, place: real(sock, (place[0], server.port)))
        error = failure(Place("127.0.0.1", 465), rules=policy(total_seconds=1))
    assert isinstance(error, Misconfigured)
    assert (error.phase, error.fault) == (Phase.GREETING, Fault.TLS_EXPECTED)


@pytest.mark.parametrize("greeting", ["220 at once", (Connection.receive, "220 after your hello")])
def test_tls_from_the_first_byte_to_a_plain_server_is_recognised(greeting: Answer) -> None:
    with ScriptedServer({"GREETING": greeting}) as server:
        error = failure(server, security=Security.TLS, rules=policy())
    assert isinstance(error, Misconfigured)
    assert (error.phase, error.fault) == (Phase.ENCRYPTION, Fault.TLS_UNEXPECTED)


def test_tls_from_the_first_byte_to_a_web_server_is_recognised() -> None:
    answer = (Connection.receive, pause(0.05), "HTTP/1.1 400 Bad Request")
    with ScriptedServer({"GREETING": answer}) as server:
        error = failure(server, security=Security.TLS, rules=policy())
    assert (error.phase, error.fault) == (Phase.ENCRYPTION, Fault.NOT_SMTP)
    assert "HTTP" in error.text


def test_a_relay_that_knows_only_helo_is_good_enough_for_plain_mail() -> None:
    with ScriptedServer({"EHLO": "502 5.5.1 what?"}) as server, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
    assert server.verbs == ["EHLO", "HELO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert server.commands[2] == f"MAIL FROM:<{ENVELOPE.sender}>"


def test_a_server_that_knows_only_helo_is_not_signed_in_to() -> None:
    with ScriptedServer({"EHLO": "502 5.5.1 what?"}) as server:
        error = failure(server, username="shop", password="geheim-8472")
    assert isinstance(error, Misconfigured)
    assert error.fault is Fault.AUTH_NOT_OFFERED
    assert server.verbs == ["EHLO"]


@pytest.mark.parametrize(
    "name", ["", "a b", "a\r\nMAIL FROM:<x@y.example>", "a\0", "a<b", "bücher.example", "a" * 256, "a\u2028"]
)
def test_an_ehlo_name_that_is_none_is_a_bug_of_ours(name: str) -> None:
    with ScriptedServer() as server, pytest.raises(ValueError, match="EHLO"):
        client_for(server, rules=policy(ehlo_name=name)).open()
    assert server.connections == []


def test_a_client_that_failed_to_open_can_be_opened_again() -> None:
    with ScriptedServer({"GREETING": ["421 busy", "220 welcome"]}) as server:
        client = client_for(server)
        with pytest.raises(Temporary):
            client.open()
        assert not client.is_open
        with client:
            client.send(ENVELOPE, CONTENT)
    assert len(server.messages) == 1
