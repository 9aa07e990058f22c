"""Several sides take turns at the same work in one run, and are compared turn by turn.

The machine's mood changes by the second: a ratio is the median of the ratios of neighbouring turns, not the ratio
of two medians.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from benchmarks import message, nodemailer
from benchmarks.child import Child
from benchmarks.servers import Server, Unavailable

NODEMAILER: Final = "nodemailer"
_MAIL: Final = {
    "from": f"{message.SENDER_NAME} <{message.SENDER}>",
    "to": message.TO,
    "subject": message.SUBJECT,
    "text": message.TEXT,
    "html": message.HTML,
}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure: so many turns for each side, each of about so many seconds; or only for a look."""

    rounds: int
    seconds: float
    is_full: bool


@dataclass(frozen=True)
class Side:
    """Who sends (a module of benchmarks.senders, or nodemailer), where to, and under what name it is reported.

    ``least`` is the fewest mails of a turn, for who has a start and an end to spread over them.
    """

    name: str
    module: str
    server: Server
    options: Mapping[str, Any] = field(default_factory=dict)
    least: int = 1


class _Taken(NamedTuple):
    """Seconds, and seconds of CPU of the sending process and of the server."""

    seconds: float
    cpu: float
    server_cpu: float


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What each turn of one side took for a mail, in seconds and in seconds of CPU: its process's, and its server's."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)

    @property
    def mails_per_second(self) -> float:
        return 1 / statistics.median(self.seconds)

    @property
    def cpu_microseconds(self) -> float:
        return statistics.median(self.cpu) * 1e6

    @property
    def server_microseconds(self) -> float:
        return statistics.median(self.server_cpu) * 1e6

    @property
    def server_cores(self) -> float:
        """How many cores the server would need to itself, to keep up with this side."""
        return statistics.median(cpu / seconds for cpu, seconds in zip(self.server_cpu, self.seconds, strict=True))

    def add(self, seconds: float, cpu: float, server_cpu: float) -> None:
        """Another turn."""
        self.seconds.append(seconds)
        self.cpu.append(cpu)
        self.server_cpu.append(server_cpu)


def times_faster(ours: Turns, theirs: Turns) -> float:
    """How many mails we send while they send one."""
    return statistics.median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True))


def alternate(sides: Sequence[Side], effort: Effort) -> tuple[dict[str, Turns], list[str]]:
    """The turns of each side, and a line about each that could not take part.

    Raises RuntimeError if a mail that a side says it sent did not arrive.
    """
    left_out: list[str] = []
    with ExitStack() as held:
        ready: dict[str, Callable[[], _Taken]] = {}
        for side in sides:
            try:
                child = held.enter_context(started(side))
            except Unavailable as lack:
                left_out.append(f"{side.name}: {lack}")
                continue
            ready[side.name] = _turn(side, child, effort.seconds)
        turns = {name: Turns() for name in ready}
        for _ in range(effort.rounds):
            for name, take in ready.items():
                turns[name].add(*take())
    return turns, left_out


def started(side: Side) -> Child:
    """Its process, ready to be told "send N"."""
    target = side.server.target
    settings = {"target": asdict(target), "options": dict(side.options)}
    if side.module == NODEMAILER:
        command, environment = nodemailer.command()
        return Child(*command, settings={**settings, "mail": _MAIL}, environment=environment)
    trust = {"SSL_CERT_FILE": target.ca_file} if target.ca_file else {}  # for the peers that verify
    return Child("benchmarks.sender", side.module, settings=settings, environment=trust)


def _turn(side: Side, child: Child, seconds: float) -> Callable[[], _Taken]:
    """One turn of this side, with as many mails as fit into the time. Its first mails are nobody's speed."""
    _sent(side, child, 1)
    count = 4
    while (taken := _sent(side, child, count).seconds) < seconds / 4:
        count *= 2 if taken > seconds / 16 else 4
    count = max(side.least, round(count * seconds / taken))

    def take() -> _Taken:
        return _Taken(*(each / count for each in _sent(side, child, count)))

    return take


def _sent(side: Side, child: Child, count: int) -> _Taken:
    before, used = side.server.taken(0), side.server.cpu_seconds()
    answer = child.ask(f"send {count}")
    arrived = side.server.taken(before + count) - before
    if arrived != count:
        raise RuntimeError(f"{side.name} was to send {count} mails and {arrived} arrived.")
    return _Taken(answer["seconds"], answer["cpu"], side.server.cpu_seconds() - used)
