"""Servers that accept connections and say nothing hold up nobody but the mail that is for them alone (fault F9)."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import quantiles

import pytest

from database.outbox_db import State
from services import email_service
from services.delivery.held_servers import MOST_HELD
from services.worker.threads import SENDERS
from tests.conftest import ADMIN_TOKEN
from tests.faults import figures
from tests.faults.checker import Promises, judge, rows
from tests.faults.child import Place
from tests.faults.sink import Manners
from tests.faults.storm import Sink, configure, open_mails
from tests.faults.web import serving
from tests.live_server import Browser, LiveServer
from tests.long_run import ALL
from tests.outbox import row_of
from tests.patience import PATIENCE

SILENT, REQUESTS = (12, 25) if ALL else (2, 5)  # requests for each of the servers; each is waited for by half a minute
MAILS = 10  # for each of them, more than one group
TIMEOUT = 1  # second
CONNECTIONS = 2 * (SENDERS + 1)  # at most: each sender's own to the silent server, and one to the other


class Tarpit:
    """A server whose system takes every connection, and which never says a word."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]

    def catch(self) -> None:
        """Wait until somebody has come."""
        self._stack.enter_context(self._listener.accept()[0])


@pytest.fixture
def tarpits() -> Iterator[list[Tarpit]]:
    with ExitStack() as stack:
        yield [Tarpit(stack) for _ in range(SILENT)]


@dataclass
class Watch:
    """Asks for pages, and looks each time at how many threads and sockets the busiest process has."""

    server: LiveServer
    times: list[float] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    threads: int = 0
    sockets: int = 0

    def ask(self, method: str = "GET", target: str = "/api/settings/smtp/configs") -> int:
        began = time.perf_counter()
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
        status = Browser(self.server).send(method, target, headers=headers).status
        self.times.append(time.perf_counter() - began)
        self.statuses.add(status)
        for pid in self.server.pids:
            self.threads = max(self.threads, len(list(Path(f"/proc/{pid}/task").iterdir())))
            self.sockets = max(self.sockets, sockets(pid))
        return status

    @property
    def slowest(self) -> str:
        """What 99 of 100 answers took at most."""
        return f"{quantiles(self.times, n=100)[-1] * 1000:.0f} ms"


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    names = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(str(file.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return sum(name.startswith("socket:") for name in names)


@pytest.mark.parametrize("place", ["SQLite", "PostgreSQL"] if ALL else ["SQLite"], indirect=True)
def test_silent_servers_hold_up_neither_pages_nor_mail_that_has_another_way(
    place: Place, tmp_path: Path, tarpits: list[Tarpit]
) -> None:
    sink = Sink(Manners(faults=0, untold=0), place.folder / "ledger")
    other_way = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(sink.port), "EMAIL_USE_TLS": "false"}
    promises = Promises()
    try:
        with serving(place, tmp_path, **other_way, DEFAULT_FROM_EMAIL="shop@example.com") as server:
            watch = Watch(server)
            watch.ask()
            before = replace(watch)
            for tarpit in tarpits:
                activate(watch, tarpit)
                queue_mails(watch, f"for-{tarpit.port}", promises)
                tarpit.catch()
                for _ in range(REQUESTS):
                    watch.ask()
            drained_in = drain(watch)
    finally:
        sink.end()
    verdict = judge(promises, rows(), sink.entries(), bound=0)
    fault = f"silent servers (99 of 100 pages within {watch.slowest})"
    figures.note(fault, place, verdict, faults=SILENT, drained_in=drained_in)
    assert verdict.complaints == {}
    assert watch.statuses <= {200, 409}  # the latter if a worker was faster than the administrator
    assert watch.threads <= before.threads + MOST_HELD + 1  # who stands in for those that wait, and the pool's own
    assert watch.sockets <= before.sockets + CONNECTIONS


def activate(watch: Watch, tarpit: Tarpit) -> None:
    config_id = configure(tarpit.port, f"Silent {tarpit.port}", timeout_seconds=TIMEOUT, is_active=False, failover=True)
    assert watch.ask("POST", f"/api/settings/smtp/configs/{config_id}/activate") == 200


def queue_mails(watch: Watch, name: str, promises: Promises) -> None:
    for number in range(MAILS):
        to = f"{name}-{number}@example.com"
        promises.asked.add(to)
        mail_id = email_service.queue_email(to, "Order", "Thank you.")
        promises.promised[mail_id] = [to]
    watch.ask("POST", f"/api/messages/{mail_id}/retry")  # which wakes the workers


def drain(watch: Watch) -> float:
    """How many seconds it takes until no mail waits or is under way; meanwhile pages are asked for."""
    began = time.monotonic()
    while open_mails() and time.monotonic() < began + PATIENCE:
        watch.ask()
    return time.monotonic() - began


@pytest.mark.parametrize("place", ["SQLite"], indirect=True)
def test_mail_for_a_silent_server_alone_waits_and_pages_do_not(
    place: Place, tmp_path: Path, tarpits: list[Tarpit]
) -> None:
    configure(tarpits[0].port, timeout_seconds=TIMEOUT)
    mail_ids = [email_service.queue_email("to@example.com", "Order", "Thank you.") for _ in range(MAILS)]
    with serving(place, tmp_path) as server:
        tarpits[0].catch()
        watch = Watch(server)
        for _ in range(REQUESTS * SILENT):
            watch.ask()
    assert watch.statuses == {200}
    assert {row_of(mail_id).state for mail_id in mail_ids} <= {State.QUEUED, State.LEASED, State.DEFERRED}
