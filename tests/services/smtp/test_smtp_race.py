"""Several addresses of one host: a dead one costs a moment, and what answered is tried first (RFC 8305)."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.smtp import dial
from services.smtp.client import Step
from services.smtp.dialogue import SideLook
from services.smtp.habits import Habit, Habits, habits_of
from services.smtp.wire import Deadline, WireError
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.scripted_server import ScriptedServer
from tests.smtp_clients import CONTENT, ENVELOPE, client_for, policy
from utils.addresses import ip_literal
from utils.errors import DeliveryError, Fault, Phase
from utils.net_guard import IPAddress

HOST = "mail.test"
A_DEAD_ONE_SECONDS = 60.0  # what each address may have: a test that waits for one fails long before


@contextmanager
def dead(address: str, port: int = 0) -> Iterator[int]:
    """A port whose queue of new connections is full, so that it answers nothing, like a filtered one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), backlog=0, family=family) as listener:
        port = listener.getsockname()[1]
        fillers = [socket.socket(family) for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield port
        for filler in fillers:
            filler.close()


def opened(port: int, *addresses: str, **limits: Any) -> list[Step]:
    """The steps of sending a mail to HOST, which has these addresses."""
    steps: list[Step] = []
    rules = policy(**{"connect_seconds": A_DEAD_ONE_SECONDS, "total_seconds": 5, **limits})
    with pytest.MonkeyPatch.context() as patch:  # a name server would shuffle them
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (each, 0)) for each in addresses])
        with client_for(_Place(HOST, port), steps.append, rules=rules) as client:
            client.send(ENVELOPE, CONTENT)
    return steps


class _Place:
    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port


def habits(port: int) -> Habits:
    return habits_of(HOST, port)


def connects(steps: list[Step]) -> list[tuple[str, str]]:
    return [(step.status, step.fact) for step in steps if step.name in (SideLook.ADDRESS, Phase.CONNECT)]


def addresses(*texts: str) -> list[IPAddress]:
    return [address for text in texts if (address := ip_literal(text))]


def unheard(_address: IPAddress, _fault: Fault) -> None:
    """Nobody wants to know what was missed."""


@pytest.mark.parametrize("silent", ["::1", "127.0.0.12"])
def test_a_dead_address_does_not_hold_up_the_mail(silent: str) -> None:
    with dead(silent) as port, ScriptedServer(port=port) as server:
        steps = opened(port, silent, "127.0.0.1")
        assert len(server.messages) == 1
    assert connects(steps)[0] == ("ok", f"{HOST} (127.0.0.1), port {port}")


def test_several_dead_addresses_do_not_hold_up_the_mail() -> None:
    with (
        dead("127.0.0.12") as port,
        dead("127.0.0.13", port),
        dead("::1", port),
        ScriptedServer(host="127.0.0.14", port=port) as server,
    ):
        opened(port, "::1", "127.0.0.12", "127.0.0.13", "127.0.0.14")
        assert len(server.messages) == 1


def test_what_answered_is_remembered_and_tried_first() -> None:
    with dead("127.0.0.12") as port, ScriptedServer(port=port) as server:
        opened(port, "127.0.0.12", "127.0.0.1")
        assert habits(port).name(Habit.ADDRESS) == "127.0.0.1"
    with ScriptedServer(host="127.0.0.12", port=port) as revived, ScriptedServer(port=port) as server:
        opened(port, "127.0.0.12", "127.0.0.1")
        assert (len(revived.connections), len(server.messages)) == (0, 1)


def test_what_is_remembered_is_forgotten_when_it_fails() -> None:
    with ScriptedServer(host="127.0.0.12") as server:
        habits(server.port).learn(Habit.ADDRESS, "127.0.0.1")
        steps = opened(server.port, "127.0.0.12", "127.0.0.1")
        assert len(server.messages) == 1
    assert connects(steps)[0] == ("warning", f"127.0.0.1, port {server.port}, refused the connection")
    assert habits(server.port).name(Habit.ADDRESS) == ""


def test_what_is_remembered_is_forgotten_when_it_is_silent() -> None:
    with dead("127.0.0.1") as port, ScriptedServer(host="127.0.0.12", port=port) as server:
        habits(port).learn(Habit.ADDRESS, "127.0.0.1")
        opened(port, "127.0.0.12", "127.0.0.1")
        assert len(server.messages) == 1
    assert habits(port).name(Habit.ADDRESS) == ""


def test_where_the_first_address_answers_there_is_nothing_to_remember() -> None:
    with ScriptedServer() as server:
        opened(server.port, "127.0.0.1", "127.0.0.12")
    assert habits(server.port).fact(Habit.ADDRESS) is None


def test_a_remembered_address_does_not_keep_itself_alive() -> None:
    with ScriptedServer(host="127.0.0.12") as server:
        habits(server.port).learn(Habit.ADDRESS, "127.0.0.12")
        learnt = habits(server.port).fact(Habit.ADDRESS)
        opened(server.port, "127.0.0.1", "127.0.0.12")
        assert habits(server.port).fact(Habit.ADDRESS) is learnt


def test_the_test_tells_of_the_address_that_lost_the_race() -> None:
    with dead("::1") as port, ScriptedServer(port=port):
        steps = opened(port, "::1", "127.0.0.1", every_address=True, connect_seconds=0.5)
    assert connects(steps) == [
        ("ok", f"{HOST} (127.0.0.1), port {port}"),
        ("warning", f"::1, port {port}, did not respond"),
    ]


def test_where_all_addresses_are_dead_each_is_named() -> None:
    with dead("127.0.0.12") as port, dead("::1", port), pytest.raises(DeliveryError) as caught:
        opened(port, "::1", "127.0.0.12", total_seconds=0.5)
    assert (caught.value.phase, caught.value.fault) == (Phase.CONNECT, Fault.TIMEOUT)
    assert all(f"{address} did not respond" in caught.value.text for address in ("::1", "127.0.0.12"))


@pytest.mark.parametrize("seconds", [0.01, 0.4])
def test_each_address_has_its_own_time(seconds: float) -> None:
    missed: list[IPAddress] = []
    with dead("127.0.0.12") as port, dead("127.0.0.13", port), pytest.raises(WireError) as caught:
        dial.dial(
            addresses("127.0.0.12", "127.0.0.13"),
            port,
            seconds,
            Deadline(PATIENCE),
            lambda each, _: missed.append(each),
        )
    assert caught.value.fault is Fault.TIMEOUT
    assert missed == addresses("127.0.0.12")


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_without_time_nothing_is_dialled(seconds: float) -> None:
    with ScriptedServer() as server:
        with pytest.raises(WireError) as caught:
            dial.dial(addresses("127.0.0.1"), server.port, 5, Deadline(seconds), unheard)
        assert server.connections == []
    assert caught.value.fault is Fault.TIMEOUT


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("last", ["127.0.0.1", "127.0.0.15"], ids=["one answers", "none answers"])
def test_no_socket_is_left_over_from_a_race(last: str) -> None:
    with dead("127.0.0.12") as port, dead("127.0.0.13", port), socket.create_server(("127.0.0.1", port)):
        before = descriptors()
        left = addresses("127.0.0.12", "127.0.0.14", "127.0.0.13", last)
        try:
            dial.dial(left, port, 0.6, Deadline(PATIENCE), unheard)[0].close()
            assert left == addresses("127.0.0.12", "127.0.0.13")
        except WireError:
            assert left == []
        assert descriptors() == before


@pytest.mark.parametrize("at", ["waiting", "hearing of a failure"])
def test_no_socket_is_left_over_from_a_race_that_is_interrupted(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with dead("127.0.0.12") as port:
        before = descriptors()
        if at == "waiting":
            monkeypatch.setattr(dial, "_over", interrupt)
        with pytest.raises(KeyboardInterrupt):
            dial.dial(addresses("127.0.0.12", "127.0.0.14", "127.0.0.15"), port, 5, Deadline(PATIENCE), interrupt)
        assert descriptors() == before


def test_an_address_whose_kind_this_machine_does_not_know_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def only_ipv4(family: int = -1, *rest: int, **more: object) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *rest, **more)  # type: ignore[arg-type]

    missed: list[tuple[IPAddress, Fault]] = []
    with ScriptedServer() as server:
        monkeypatch.setattr("services.smtp.dial.socket.socket", only_ipv4)
        sock, peer = dial.dial(
            addresses("::1", "127.0.0.1"), server.port, 5, Deadline(PATIENCE), lambda *each: missed.append(each)
        )
        sock.close()
    assert str(peer[0]) == "127.0.0.1"
    assert missed == [(addresses("::1")[0], Fault.UNREACHABLE)]


def test_a_port_that_nobody_listens_on_is_refused_at_every_address() -> None:
    port, missed = free_port(), list[IPAddress]()
    hear: Callable[[IPAddress, Fault], None] = lambda each, _: missed.append(each)  # noqa: E731
    with pytest.raises(WireError) as caught:
        dial.dial(addresses("127.0.0.12", "::1", "127.0.0.13"), port, 5, Deadline(PATIENCE), hear)
    assert caught.value.fault is Fault.REFUSED
    tried = ("127.0.0.12", "::1", "127.0.0.13")
    assert caught.value.text == f"Port {port}: {', '.join(f'{each} refused the connection' for each in tried)}."
    assert missed == addresses("127.0.0.12", "::1")
