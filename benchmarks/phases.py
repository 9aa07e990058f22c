"""`python -m benchmarks.phases [sqlite|postgresql] [MAILS]`: where the processor's time of a queued email goes.

Our own functions are wrapped, and each is charged with the CPU time of its thread but for what it called of the others.
The clock of a thread is asked twice for each call, which adds a fifth to the whole: docs/where-the-time-goes.md.
"""

import functools
import inspect
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from benchmarks.databases import POSTGRESQL, SQLITE, databases
from benchmarks.senders import sealpost_durable
from benchmarks.servers import sink
from database import attempt_db, driver, outbox_add_db, outbox_claim_db, prepared
from services import email_service
from services.delivery import attempt, bounces, record, standing
from services.message import draft
from services.outbox import content, promise
from services.settings import route
from services.smtp.pool import Pool
from services.worker import along_route, groups, settling

MAILS: Final = 5000
WARM_UP: Final = 500
_STATEMENT: Final = "statements"
# What each function is a part of; what one of them calls of the others is charged to those.
PHASES: Final[dict[str, list[tuple[Any, str]]]] = {
    "compose and check": [(email_service, "queue_email"), (draft, "draft")],
    "seal, and what the log finds it by": [(promise, "sealed")],
    "hand to the caller's transaction": [(promise, "add"), (outbox_add_db, "add"), (outbox_add_db, "_write_out")],
    "claim, and make values of the rows": [
        (groups, "_claimed"),
        (outbox_claim_db, "claim"),
        (prepared.Prepared, "rows"),
    ],
    "open the content": [(groups, "_opened_surely"), (content, "unseal"), (groups, "_listing_of")],
    "read the server, and what it may take": [
        (route, "usable"),
        (along_route, "_admitted"),
        (along_route, "_is_throttled"),
    ],
    "write it out for the server": [(along_route, "_parcel_of")],
    "connection, and fence": [(attempt, "failure_to_reach"), (groups, "_fenced"), (outbox_claim_db, "fence")],
    "conversation, with TLS": [(Pool, "send_all")],
    "what became of it": [
        (attempt, "attempt_all"),
        (along_route, "_outcomes"),
        (along_route, "_settle"),
        (settling, "after"),
        (standing, "note"),
        (bounces, "note"),
    ],
    "row and line of the attempt": [(record, "told")],
    "bind values": [(prepared.Prepared, "run"), (outbox_claim_db, "settle"), (attempt_db, "add_all")],
    "begin, turn to write, connection of the pool": [(groups, "_write"), (driver.Driver, "run")],
    "commit": [(driver.Driver, "commit")],
    _STATEMENT: [(driver.Driver, "rows"), (driver.Driver, "run_many")],
    "the rest of a group": [
        (groups, "work_off"),
        (groups, "finish"),
        (along_route, "_through"),
        (along_route, "deliver"),
    ],
}


class _Clock:
    """The CPU time of each phase in each thread, in nanoseconds."""

    def __init__(self) -> None:
        self._of_thread = threading.local()
        self._threads: list[Counter[str]] = []

    def timed(self, phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, charged to the phase; a plain function, since a context manager takes longer than some of these."""
        of_thread, clock = self._of_thread, time.thread_time_ns

        @functools.wraps(work)
        def charged(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes and gives
            if not hasattr(of_thread, "others"):
                of_thread.others, of_thread.spent = [0], Counter[str]()
                self._threads.append(of_thread.spent)
            others = of_thread.others
            others.append(0)
            began = clock()
            try:
                return work(*given, **named)
            finally:
                took = clock() - began
                of_thread.spent[phase] += took - others.pop()
                others[-1] += took

        return charged

    def clear(self) -> None:
        for spent in self._threads:
            spent.clear()

    def spent(self, phase: str) -> int:
        return sum(spent[phase] for spent in self._threads)


def _wrap(owner: Any, name: str, phase: str, clock: _Clock) -> None:  # noqa: ANN401 - a module or a class
    work = getattr(owner, name)

    @functools.wraps(work)
    def stepped(*given: Any, **named: Any) -> Iterator[Any]:  # noqa: ANN401
        steps = work(*given, **named)
        step = clock.timed(phase, functools.partial(next, steps))
        try:
            while True:
                try:
                    found = step()
                except StopIteration:
                    return
                yield found
        finally:
            clock.timed(phase, steps.close)()

    setattr(owner, name, stepped if inspect.isgeneratorfunction(work) else clock.timed(phase, work))


def _wrap_all(clock: _Clock) -> None:
    for phase, functions in PHASES.items():
        for owner, name in functions:
            _wrap(owner, name, phase, clock)


def measured(engine: str, mails: int) -> tuple[dict[str, float], float]:
    """Microseconds an email of each phase, and of the whole process."""
    clock = _Clock()
    _wrap_all(clock)
    with (
        databases(engine) as new,
        sink(secure=True, chunking=True) as server,
        sealpost_durable.sender(server.target, new()) as send,
    ):
        send(WARM_UP)
        clock.clear()
        began = time.process_time()
        send(mails)
        whole = (time.process_time() - began) / mails * 1e6
    return {phase: clock.spent(phase) / mails / 1000 for phase in PHASES}, whole


def table(found: dict[str, float], whole: float) -> Iterator[str]:
    """Lines of Markdown, the longest phase first; what is left is the threads' own, and the caller's transaction."""
    yield "| phase | µs an email | share |"
    yield "|---|---|---|"
    left = {"threads, sessions of the caller, all else": whole - sum(found.values())}
    for phase, took in sorted((found | left).items(), key=lambda each: -each[1]):
        yield f"| {phase} | {took:,.0f} | {took / whole:.0%} |"
    yield f"| **together** | **{whole:,.0f}** | |"


def main(arguments: list[str]) -> None:
    engine = POSTGRESQL if POSTGRESQL.lower() in arguments else SQLITE
    mails = next((int(each) for each in arguments if each.isdigit()), MAILS)
    print(*table(*measured(engine, mails)), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
