"""Worker processes that share cores, a database and a line to a far mail server, as a simulation.

What each step takes is measured (benchmarks/scale.py). A sender has one group of emails in hand, and does one step
after the other: Python's, which its process does one at a time; the database's; the wait for the mail server; the
commit, which waits for the disk together with all others that have come meanwhile.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from database.outbox_claim_db import GROUP
from services.worker.threads import SENDERS

SECONDS: Final = 6.0  # that are simulated, and a sixth before that are not counted
_WARMING: Final = SECONDS / 6
# A process gives the seconds that it waits, or takes itself to where it is gone on with.
Process = Iterator["float | Callable[[Process], object]"]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds: CPU a mail of a worker, of the database, and of what else is on this machine; CPU a second of a worker
    that only waits, with what the database does for it; a commit's wait for the disk; a round trip. ``round_trips`` a
    group."""

    worker: float
    database: float
    others: float
    upkeep: float
    flush: float
    round_trip: float
    round_trips: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """Emails a second, and the share of the time in which the cores, and the disk of the database, were at work."""

    mails_per_second: float
    cores: float
    disk: float

    def __str__(self) -> str:
        return f"{self.mails_per_second:,.0f} (cores {self.cores:.0%}, disk {self.disk:.0%})"


class Simulation:
    """What happens when: processes go on in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Process]] = []
        self._number = count()

    def go_on(self, process: Process, after: float = 0.0) -> None:
        heapq.heappush(self._due, (self.now + after, next(self._number), process))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] < until:
            self.now, _, process = heapq.heappop(self._due)
            wanted = next(process, None)
            if callable(wanted):
                wanted(process)
            elif wanted is not None:
                self.go_on(process, wanted)
        self.now = until


class Places:
    """So many can be used at a time; the others wait in line."""

    def __init__(self, simulation: Simulation, number: int) -> None:
        self.used = 0.0
        self._simulation = simulation
        self._free = number
        self._line: deque[Process] = deque()

    def take(self) -> Process:
        if self._free:
            self._free -= 1
        else:
            yield self._line.append

    def give(self) -> None:
        if self._line:
            self._simulation.go_on(self._line.popleft())
        else:
            self._free += 1

    def use(self, seconds: float) -> Process:
        yield from self.take()
        yield seconds
        self.used += seconds
        self.give()


class Disk:
    """Commits wait for it; a flush is for all that have come before it begins."""

    def __init__(self, simulation: Simulation, seconds: float) -> None:
        self.used = 0.0
        self._simulation = simulation
        self._seconds = seconds
        self._line: list[Process] = []
        self._is_busy = False

    def commit(self) -> Process:
        if not self._is_busy:
            self._is_busy = True
            self._simulation.go_on(self._flush())
        yield self._line.append

    def _flush(self) -> Process:
        while self._line:
            served, self._line = self._line, []
            yield self._seconds
            self.used += self._seconds
            for process in served:
                self._simulation.go_on(process)
        self._is_busy = False


def simulated(costs: Costs, workers: int, cores: int) -> Found:
    """What so many workers do on so many cores, all of them with emails to send all the time."""
    simulation = Simulation()
    processors, disk = Places(simulation, cores), Disk(simulation, costs.flush)
    done = [0]

    def python(interpreter: Places, seconds: float) -> Process:
        yield from interpreter.take()
        yield from processors.use(seconds)
        interpreter.give()

    def sender(interpreter: Places) -> Process:
        while True:
            yield from python(interpreter, costs.worker * GROUP / 2)
            yield from processors.use(costs.database * GROUP / 2)
            yield costs.round_trip * costs.round_trips
            yield from processors.use(costs.others * GROUP)
            yield from python(interpreter, costs.worker * GROUP / 2)
            yield from processors.use(costs.database * GROUP / 2)
            yield from disk.commit()
            done[0] += GROUP

    def upkeep(interpreter: Places) -> Process:
        while True:
            yield from python(interpreter, costs.upkeep)
            yield 1.0

    for each in range(workers):
        interpreter = Places(simulation, 1)
        for process in (upkeep(interpreter), *(sender(interpreter) for _ in range(SENDERS))):
            simulation.go_on(process, each * costs.round_trip / workers)
    simulation.run(_WARMING)
    before = done[0], processors.used, disk.used
    simulation.run(_WARMING + SECONDS)
    mails, busy, flushing = (a - b for a, b in zip((done[0], processors.used, disk.used), before, strict=True))
    return Found(mails_per_second=mails / SECONDS, cores=busy / SECONDS / cores, disk=flushing / SECONDS)
