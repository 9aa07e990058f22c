"""`python -m benchmarks.scale [--measure N …]`: what more worker processes bring, measured as far as this machine goes.

Few of them are measured on PostgreSQL with a mail server 20 ms away; what they cost goes into a simulation
(benchmarks/scale_model.py), which is held against what was measured, and tells of more of them and of more cores.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg import Connection

from benchmarks.application import environment, opened, prepare
from benchmarks.child import Child
from benchmarks.cpu import used_by
from benchmarks.databases import POSTGRESQL, bare, databases
from benchmarks.rows_sending import FAR
from benchmarks.scale_model import Costs, simulated
from benchmarks.senders.sealpost_durable import queue
from benchmarks.series import Side, started
from benchmarks.servers import Server, behind, sink
from database.outbox_claim_db import GROUP

ROUND_TRIP: Final = 20.0  # ms
WORKERS: Final = 1, 4, 16, 64
CORES: Final = 2, 8, 32
KINDS: Final = {True: "takes chunks", False: "takes no chunks"}
_EXPECTED: Final = {True: 250.0, False: 80.0}  # emails a second of a worker, on the slowest machine so far
_SECONDS: Final = 5.0  # that a measurement is to take
_IDLE_SECONDS: Final = 10.0  # in which each sweep comes twice
_COMMITS: Final = 40
_TURNS: Final = 3
_LOOK_SECONDS: Final = 0.05
_CONNECTIONS: Final = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND client_port IS NOT NULL"""
_IS_LEFT: Final = """SELECT EXISTS (SELECT FROM email_outbox
    WHERE state IN ('queued', 'deferred', 'leased', 'transmitting', 'uncertain'))"""
_LOG: Final = "SELECT pg_current_wal_lsn() - '0/0'"
_WAITS: Final = """SELECT coalesce(wait_event, 'at work') FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
    AND wait_event IS DISTINCT FROM 'ClientRead'"""


class Used(NamedTuple):
    """Seconds of CPU."""

    workers: float
    database: float
    servers: float
    ours: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """What so many workers did: emails a second; seconds of CPU, and bytes of the database's log, an email.

    ``upkeep`` is the CPU that each takes a second while nothing is to be sent, which ``cpu`` is without.
    ``foreign`` is how many cores something else on this machine used meanwhile; ``waits`` is the share of their time
    that the database's processes at work waited, and for what.
    """

    workers: int
    mails_per_second: float
    cpu: Used
    queueing: float
    upkeep: float
    log: float
    connections: int
    foreign: float
    waits: Mapping[str, float]


class Machine:
    """Who has used how much of the CPU."""

    def __init__(self, workers: Sequence[Child], database: Connection[Any]) -> None:
        self._workers = workers
        self._database = int((Path(_asked(database, "SHOW data_directory")) / "postmaster.pid").read_text().split()[0])

    def used(self) -> Used:
        database, all_of_ours, *workers = used_by(self._database, os.getpid(), *(each.pid for each in self._workers))
        ours = time.process_time()
        return Used(sum(workers), database, all_of_ours - sum(workers) - ours, ours)

    def during(self, work: Callable[[], object]) -> Used:
        before = self.used()
        work()
        return Used(*(now - then for now, then in zip(self.used(), before, strict=True)))


@contextmanager
def running(server: Server, workers: int) -> Iterator[tuple[list[Child], Connection[Any]]]:
    """So many workers and a connection to their database; this process may queue what they send."""
    with tempfile.TemporaryDirectory(prefix="sealpost-benchmark-") as name, ExitStack() as held:
        database = held.enter_context(databases(POSTGRESQL))()
        variables = environment(server.target, Path(name), database)
        held.enter_context(opened(variables, Path(name)))
        prepare(server.target)
        settings = {"variables": variables, "folder": name}
        children = [held.enter_context(Child("benchmarks.mail_worker", settings=settings)) for _ in range(workers)]
        yield children, held.enter_context(psycopg.connect(database, autocommit=True))


def measured(server: Server, workers: int, expected: float) -> Point:
    """They find a queue that is filled in one transaction and lasts for some seconds; the turn of middling speed."""
    with running(server, workers) as (children, database):
        machine = Machine(children, database)
        count = round(expected * _SECONDS)
        _turn(children, database, machine, workers * GROUP * 4)  # connections are opened
        turns = [_turn(children, database, machine, count) for _ in range(_TURNS)]
        connections = _asked(database, _CONNECTIONS)
        idle = machine.during(lambda: time.sleep(_IDLE_SECONDS))
    point = sorted(turns, key=lambda each: each.mails_per_second)[_TURNS // 2]
    upkeep = (idle.workers + idle.database) / _IDLE_SECONDS / workers
    return replace(point, cpu=_without(idle, point), upkeep=upkeep, connections=connections)


def _without(idle: Used, point: Point) -> Used:
    """What an email takes beside what the workers take anyhow."""
    workers, database = (each / _IDLE_SECONDS / point.mails_per_second for each in (idle.workers, idle.database))
    return point.cpu._replace(workers=point.cpu.workers - workers, database=point.cpu.database - database)


def _turn(children: Sequence[Child], database: Connection[Any], machine: Machine, count: int) -> Point:
    promising = machine.during(lambda: queue(count))
    waits: Counter[str] = Counter()

    def send() -> None:
        for child in children:
            child.ask("wake")
        while _asked(database, _IS_LEFT):
            waits.update(name for (name,) in database.execute(_WAITS))
            time.sleep(_LOOK_SECONDS)

    log, busy, began = _asked(database, _LOG), _busy_seconds(), time.perf_counter()
    used = machine.during(send)
    seconds = time.perf_counter() - began
    return Point(
        workers=len(children),
        mails_per_second=count / seconds,
        cpu=Used(*(each / count for each in used)),
        queueing=(promising.ours + promising.database) / count,
        upkeep=0,
        log=float(_asked(database, _LOG) - log) / count,
        connections=0,
        foreign=max(0.0, (_busy_seconds() - busy - sum(used)) / seconds),
        waits={name: round(seen / waits.total(), 2) for name, seen in waits.most_common(6)},
    )


def _asked(database: Connection[Any], statement: LiteralString) -> Any:  # noqa: ANN401 - whatever it gives
    row = database.execute(statement).fetchone()
    assert row
    return row[0]


def _busy_seconds() -> float:
    """What all processes of this machine have used of its cores, see proc(5)."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


def flush_seconds() -> float:
    """What a commit waits for the disk of the database."""
    with databases(POSTGRESQL) as new, bare(new()) as connection:
        connection.execute("CREATE TABLE written (number integer)")
        connection.commit()
        taken: dict[str, list[float]] = {"on": [], "off": []}
        for _ in range(_COMMITS):
            for durable, seconds in taken.items():
                connection.execute(f"SET synchronous_commit = {durable}")
                connection.execute("INSERT INTO written VALUES (1)")
                began = time.perf_counter()
                connection.commit()
                seconds.append(time.perf_counter() - began)
    return statistics.median(taken["on"]) - statistics.median(taken["off"])


def round_trips(near: Server) -> float:
    """How many a group takes over a kept connection."""
    with behind(near, FAR) as server, started(Side("ours", "sealpost_kept", server)) as child:
        child.ask(f"send {GROUP}")
        seconds: float = statistics.median(child.ask(f"send {GROUP}")["seconds"] for _ in range(5))
        return seconds * 1000 / FAR


def costs_of(points: Sequence[Point], flush: float, trips: float) -> Costs:
    """What went into the points, as the simulation wants it."""
    return Costs(
        worker=statistics.median(each.cpu.workers for each in points),
        database=statistics.median(each.cpu.database for each in points),
        others=statistics.median(each.cpu.servers + each.cpu.ours for each in points),
        upkeep=statistics.median(each.upkeep for each in points),
        flush=flush,
        round_trip=ROUND_TRIP / 1000,
        round_trips=trips,
    )


def _slowed(costs: Costs, foreign: float) -> Costs:
    """The same while something else uses so many of this machine's cores: each step takes the longer."""
    cores = os.cpu_count() or 1
    times = cores / (cores - foreign)
    return replace(
        costs,
        worker=costs.worker * times,
        database=costs.database * times,
        others=costs.others * times,
        upkeep=costs.upkeep * times,
    )


def foretold(costs: Costs) -> Iterator[str]:
    """A table: emails a second of so many workers on so many cores, and what is at work there."""
    yield f"| workers | {' | '.join(f'{cores} cores' for cores in CORES)} |"
    yield "|---" * (1 + len(CORES)) + "|"
    elsewhere = replace(costs, others=0.0)  # the mail server is another machine
    for workers in WORKERS:
        cells = [str(simulated(elsewhere, workers, cores)) for cores in CORES]
        yield f"| {workers} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="What more workers bring.")
    parser.add_argument("--measure", type=int, nargs="+", default=[1, 4], metavar="N", help="so many workers (1 4)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that PostgreSQL is stopped, too
    flush = flush_seconds()
    for chunking, kind in KINDS.items():
        with sink(secure=True, chunking=chunking, cheap=True) as near, behind(near, ROUND_TRIP) as server:
            trips = round_trips(near)
            points: list[Point] = []
            for workers in asked.measure:
                print(f"{workers} at a server that {kind} …", file=sys.stderr, flush=True)
                points.append(measured(server, workers, _EXPECTED[chunking] * min(workers, 4)))
        costs = costs_of(points, flush, trips)
        print(f"\n## A mail server {ROUND_TRIP:.0f} ms away that {kind}\n\n{costs}\n")
        for point in points:
            found = simulated(_slowed(costs, point.foreign), point.workers, os.cpu_count() or 1)
            error = found.mails_per_second / point.mails_per_second - 1
            print(f"{point}\n  simulated: {found}, which is {error:+.0%}")
        print("\n" + "\n".join(foretold(costs)))


if __name__ == "__main__":
    main()
