"""Web processes and workers on one database, a server that misbehaves, and somebody who kills them; all by a seed.

Beside them goes what a real installation has, too: a sweep, and an administrator who has mail that waits tried again
now, since nobody wants to sit here through the minutes of the real back-off.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from database.engine import reading, transaction
from database.outbox_claim_db import GROUP
from database.outbox_db import IN_HAND, WAITING, OutboxMail
from services.settings import named
from services.worker import groups
from services.worker.lease import Pace
from services.worker.threads import SENDERS
from tests.faults import child, sink
from tests.faults.checker import Promises, Verdict, judge, rows
from tests.faults.child import Orders, Place
from tests.faults.points import Point
from tests.faults.sink import Manners
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from utils import clock

IN_FLIGHT: Final = SENDERS * GROUP + 1  # in one process, with a security mail
DRAIN_SECONDS: Final = 60.0
MAILS_BEFORE_CRASH: Final = 12
_LOOK: Final = 0.005  # seconds between two looks
_TOLD: Final = 8000  # characters of what the processes have printed, once it is to explain a failure
_CHORES: Final = 0.25  # seconds from one sweep to the next


@dataclass(kw_only=True)
class Role:
    """What a process does; the next one to do it is started when it was killed."""

    work: Callable[..., None]
    arguments: tuple[Any, ...]
    is_mortal: bool = True
    process: ForkServerProcess | None = None

    def start(self) -> None:
        self.process = CONTEXT.Process(target=self.work, args=self.arguments, daemon=True)
        self.process.start()

    def signal(self, number: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def pid(self) -> int:
        """Of the process that does it now; 0 if there is none."""
        return (self.process.pid or 0) if self.process else 0

    @property
    def exit_code(self) -> int | None:
        """How the process has ended; None while it runs, or if there is none."""
        return self.process.exitcode if self.process else None

    def wait(self, seconds: float) -> int | None:
        """How the process has ended; None if it still runs after so many seconds."""
        if self.process is None:
            return None
        self.process.join(seconds)
        return self.process.exitcode

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.join()
            self.process.close()
            self.process = None


class Sink:
    """A misbehaving server in a process of its own."""

    def __init__(self, manners: Manners, ledger: Path) -> None:
        self.ledger = ledger
        here, there = CONTEXT.Pipe(duplex=False)
        self._role = Role(work=sink.serve, arguments=(manners, ledger, there))
        self._role.start()
        assert here.poll(PATIENCE), "the sink did not start"
        self.port: int = here.recv()

    def entries(self) -> list[dict[str, Any]]:
        return sink.entries(self.ledger)

    def end(self) -> None:
        self._role.end()


def configure(port: int, name: str = "Sink", **fields: object) -> int:
    """An active configuration for the server on this port; its id."""
    place = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "use_ssl": False}
    values = {"from_email": "shop@example.com", "timeout_seconds": 5, "is_active": True, "failover": False}
    return named.create_config(name, **{**place, **values, **fields}).row.id


@dataclass(kw_only=True)
class Storm:
    """Begins with a ``with`` block, inside an application's context on the same database.

    ``seed`` decides who is killed when, and, whatever seed the ``manners`` name, how the server misbehaves.
    """

    place: Place
    seed: int
    mails: int
    webs: int = 2
    workers: int = 2
    manners: Manners = field(default_factory=Manners)
    web: Callable[..., None] = child.serve
    worker: Callable[..., None] = child.send
    mortal: Callable[..., None] = child.die_at
    drained_in: float = 0.0

    def __enter__(self) -> Self:
        self.chance = random.Random(self.seed)
        self.sink = Sink(replace(self.manners, seed=self.seed), self.place.folder / "ledger")
        login = {"smtp_username": self.manners.username, "smtp_password": self.manners.password}
        configure(self.sink.port, **(login if self.manners.username else {}))
        self.orders: list[Orders] = []
        for number in range(self.webs):
            self._order(f"web{number}", self.mails // self.webs)
        self.roles = [Role(work=self.web, arguments=(self.place, orders)) for orders in self.orders]
        self.roles += [Role(work=self.worker, arguments=(self.place,)) for _ in range(self.workers)]
        for role in self.roles:
            role.start()
        self._next_chores = 0.0
        self._read: dict[Path, tuple[int, int]] = {}
        return self

    def __exit__(self, *_: object) -> None:
        for role in self.roles:
            role.end()
        self.sink.end()

    def kill(self, times: int) -> None:
        """Kill that many processes, one after the other, while mail is queued and sent; each is replaced at once."""
        for number in range(times):
            self.wait_for((number + self.chance.random()) / (times + 1))
            role = self._victim()
            role.end()
            role.start()

    def pause(self, times: int) -> None:
        """Stop that many processes, one after the other, for longer than their leases last; then let them go on."""
        for number in range(times):
            self.wait_for((number + self.chance.random()) / (times + 1))
            role = self._victim()
            role.signal(signal.SIGSTOP)
            try:
                self._pass(self.place.pace.lease.total_seconds() * 1.3)
            finally:
                role.signal(signal.SIGCONT)

    def crash(self, point: Point) -> None:
        """Start a web process that queues some mails and dies when it gets to this point; wait until it has."""
        orders = self._order(f"crash{len(self.orders)}", MAILS_BEFORE_CRASH)
        doomed = Role(work=self.mortal, arguments=(self.place, orders, point, self.chance.randint(1, point.most)))
        doomed.start()
        exit_code = doomed.wait(PATIENCE)
        doomed.end()
        assert exit_code == -signal.SIGKILL, f"it did not get to {point.name}"

    def start(self, work: Callable[..., None], *, mortal: bool = True) -> Role:
        """Start one more process, which ends with the storm."""
        role = Role(work=work, arguments=(self.place,), is_mortal=mortal)
        self.roles.append(role)
        role.start()
        return role

    def wait_for(self, part: float, *, and_on: Sink | None = None) -> None:
        """Wait until that part of all mail was queued and has arrived, here or on another server."""

        def progress() -> int:
            return self._progress() + (self._lines(and_on.ledger) if and_on else 0)

        self._wait_until(progress, 2 * self.mails * part)

    def drain(self, within: float = DRAIN_SECONDS) -> None:
        """Wait until no mail waits or is under way, at most ``within`` seconds, and note how long that took."""
        self._wait_until(self._asked, self.mails)
        began = time.monotonic()
        while self._open_mails() and time.monotonic() < began + within:
            self._chores()
            time.sleep(_LOOK * 10)
        self.drained_in = time.monotonic() - began

    def verdict(self, *, bound: int, others: Iterable[Sink] = ()) -> Verdict:
        """``bound`` is the most duplicates that the faults explain; ``others`` are servers that had mail, too."""
        promises = Promises.read(self.place.folder, self.orders)
        entries = [entry for each in (self.sink, *others) for entry in each.entries()]
        return judge(promises, rows(), entries, bound=bound)

    def _victim(self) -> Role:
        return self.chance.choice([role for role in self.roles if role.is_mortal])

    def _order(self, name: str, count: int) -> Orders:
        orders = Orders(name=name, count=count)
        orders.notes(self.place.folder).touch()
        self.orders.append(orders)
        return orders

    def _progress(self) -> int:
        """From nothing to twice the mails: how much was queued, and how much has arrived."""
        return self._asked() + self._lines(self.sink.ledger)

    def _asked(self) -> int:
        return sum(self._lines(orders.notes(self.place.folder), b"asked") for orders in self.orders)

    def _lines(self, file: Path, word: bytes = b"\n") -> int:
        """How often a word stands in a file that only ever grows; only what is new is read."""
        place, found = self._read.get(file, (0, 0))
        with file.open("rb") as stream:
            stream.seek(place)
            new = stream.read()
        self._read[file] = place + len(new), found + new.count(word)
        return self._read[file][1]

    def _pass(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._chores()
            time.sleep(_LOOK)

    def _wait_until(self, reached: Callable[[], int], least: float) -> None:
        last, end = -1, time.monotonic() + PATIENCE
        while (now := reached()) < least:
            if now != last:
                last, end = now, time.monotonic() + PATIENCE
            assert time.monotonic() < end, f"nothing goes on: {now} of {least:.0f}\n{self._told()}"
            self._chores()
            time.sleep(_LOOK)

    def _told(self) -> str:
        """Which processes have ended, and what all of them printed last."""
        ended = [
            f"{role.work.__name__} ended with {role.exit_code}" for role in self.roles if role.exit_code is not None
        ]
        file = self.place.folder / child.LOG
        printed = file.read_text(errors="replace") if file.exists() else ""
        return "\n".join([*ended, printed[-_TOLD:]])

    def _chores(self) -> None:
        if time.monotonic() < self._next_chores:
            return
        # Nobody but the storm kills them, and it starts another at once.
        assert all(role.exit_code is None for role in self.roles), f"one of them has ended by itself\n{self._told()}"
        with suppress(SQLAlchemyError):
            chores(self.place.pace)
        self._next_chores = time.monotonic() + _CHORES

    def _open_mails(self) -> int:
        try:
            return open_mails()
        except SQLAlchemyError:
            return -1


def chores(pace: Pace) -> None:
    """The sweep, and an administrator who presses "send now" for all that waits longer than a cool-down."""
    groups.sweep(pace)
    now = clock.now()
    with transaction() as session:
        late = OutboxMail.state.in_(WAITING), OutboxMail.due_at > now + pace.cool_down
        ids = select(OutboxMail.id).where(*late).with_for_update(skip_locked=True)
        session.execute(update(OutboxMail).where(OutboxMail.id.in_(ids)).values(due_at=now))


def open_mails() -> int:
    """How many mails wait or are under way."""
    with reading() as session:
        return session.scalar(select(func.count()).where(OutboxMail.state.in_((*WAITING, *IN_HAND)))) or 0
