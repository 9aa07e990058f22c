"""What mail servers have shown of themselves beside what they announce, in one place for everybody who talks to them.

A fact holds for some hours and is then found out anew, since servers are mended, moved and replaced. All methods may be
called from any thread.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import Final, NamedTuple

from utils import clock
from utils.numbers import counted


class Habit(StrEnum):
    """What there is to know. Those with "most" are numbers, the last three are texts, the others true or false."""

    PIPELINING = "pipelining"  # commands said together are all answered, in step (RFC 2920)
    BEHIND_DOT = "behind_dot"  # the next commands may come in one piece with the end of a message
    CHUNKING = "chunking"  # BDAT is understood and answered (RFC 3030)
    SWALLOWS = "swallows"  # a refused chunk is read all the same, and never taken for commands
    PARAMETERS = "parameters"  # MAIL may carry the parameters that EHLO announced
    MOST_MAILS = "most_mails"  # on one connection
    MOST_CONNECTIONS = "most_connections"  # at a time
    MOST_RECIPIENTS = "most_recipients"  # of one mail
    MOST_A_MINUTE = "most_a_minute"  # mails that it took before it said that they were too many
    MECHANISM = "mechanism"  # the login mechanism that worked last
    ADDRESS = "address"  # the one of the host's addresses that answered last
    CERTIFICATE = "certificate"  # the day on which the one that it showed ends, as 2026-12-31


Value = bool | int | str

LIFE: Final = timedelta(hours=6)
LIVES: Final = {
    Habit.SWALLOWS: timedelta(days=1),  # finding out counts as an error with some servers
    Habit.MOST_CONNECTIONS: timedelta(minutes=10),  # others of ours may have used them up
    Habit.ADDRESS: timedelta(minutes=10),  # RFC 8305 8
    Habit.CERTIFICATE: timedelta(days=7),  # each connection shows it anew
}


_DEFECTS: Final = {
    Habit.PIPELINING: "accepts one command at a time",
    Habit.BEHIND_DOT: "accepts nothing after the end of a message",
    Habit.CHUNKING: "does not reply to chunks (BDAT)",
    Habit.SWALLOWS: "was not seen to skip a refused chunk (BDAT)",
    Habit.PARAMETERS: "refuses the size of a message with MAIL",
}
_LIMITS: Final = {
    Habit.MOST_MAILS: ("email", "on a connection"),
    Habit.MOST_CONNECTIONS: ("connection", "at a time"),
    Habit.MOST_RECIPIENTS: ("recipient", "of one email at a time"),
}


class Fact(NamedTuple):
    """Something learnt. ``face`` is how the server presented itself then; it means something for SWALLOWS alone."""

    value: Value
    learnt_at: datetime
    face: str = ""


class Habits:
    """The facts about one server. ``now`` tells the time; a test may turn it.

    ``looked_up_until`` is for whoever shares them between processes: a monotonic moment.
    """

    def __init__(self, now: Callable[[], datetime] = clock.now) -> None:
        self.looked_up_until = 0.0
        self._now = now
        self._lock = Lock()
        self._facts: dict[Habit, Fact] = {}
        self._has_news = False
        self._asked: dict[Habit, datetime] = {}
        self._is_odd = False  # anything may be known that is worth a line; asked for every mail

    def fact(self, habit: Habit) -> Fact | None:
        """What is known, unless it is too old."""
        found = self._facts.get(habit)
        if found is None or self._now() - found.learnt_at >= LIVES.get(habit, LIFE):
            return None
        return found

    def shows(self, habit: Habit) -> bool:
        """Whether it is known to be so."""
        found = self.fact(habit)
        return found is not None and found.value is True

    def lacks(self, habit: Habit) -> bool:
        """Whether it is known not to be so."""
        found = self.fact(habit)
        return found is not None and found.value is False

    def most(self, habit: Habit) -> int | None:
        """The number that is known, or None."""
        found = self.fact(habit)
        return found.value if found and isinstance(found.value, int) and not isinstance(found.value, bool) else None

    def name(self, habit: Habit) -> str:
        """The text that is known, or ""."""
        found = self.fact(habit)
        return found.value if found and isinstance(found.value, str) else ""

    def learn(self, habit: Habit, value: Value, *, face: str = "") -> None:
        """Remember a fact from now on. What is known to be so already costs nothing."""
        known = self._facts.get(habit)
        if known and known.value is value is True and known.face == face and self.fact(habit):
            return
        with self._lock:
            self._facts[habit] = Fact(value, self._now(), face)
            self._is_odd = self._is_odd or _is_odd(value)
            self._has_news = self._has_news or known is None or known[::2] != (value, face)

    def forget(self, habit: Habit) -> None:
        """Know nothing of this any more."""
        with self._lock:
            self._has_news = self._facts.pop(habit, None) is not None or self._has_news

    def ask(self, habit: Habit) -> bool:
        """Whether it may be asked about now: it is not known, and this process has not asked in the fact's life.

        For questions that cost something with the server; whoever gets True asks.
        """
        with self._lock:
            now, asked = self._now(), self._asked.get(habit)
            if self.fact(habit) or (asked and now - asked < LIVES.get(habit, LIFE)):
                return False
            self._asked[habit] = now
            return True

    def known(self) -> dict[Habit, Fact]:
        """All that is known and not too old."""
        return {habit: fact for habit in list(self._facts) if (fact := self.fact(habit))}

    def lines(self) -> list[str]:
        """What an administrator should know: where the server does not keep what it announces, and its limits."""
        if not self._is_odd:
            return []
        known = self.known()
        defects = [text for habit, text in _DEFECTS.items() if habit in known and known[habit].value is False]
        most = ((self.most(habit), noun, where) for habit, (noun, where) in _LIMITS.items())
        return defects + [
            f"accepts {counted(number, noun)} {where}" for number, noun, where in most if number is not None
        ]

    def recall(self, facts: Iterable[tuple[Habit, Fact]]) -> None:
        """Take over what others have learnt, where it is newer than what is known here."""
        with self._lock:
            for habit, fact in facts:
                known = self._facts.get(habit)
                if known is None or known.learnt_at < fact.learnt_at:
                    self._facts[habit] = fact
                    self._is_odd = self._is_odd or _is_odd(fact.value)

    def take_news(self) -> bool:
        """Whether something was learnt since this was asked last."""
        with self._lock:
            had, self._has_news = self._has_news, False
            return had


def _is_odd(value: Value) -> bool:
    return value is False or (isinstance(value, int) and value is not True)


def habits_of(host: str, port: int) -> Habits:
    """The one record of a server in this process."""
    with _lock:
        return _all.get((host, port)) or _all.setdefault((host, port), Habits(clock.now))


def forget_all() -> None:
    """Know nothing of any server, as a new process does."""
    with _lock:
        _all.clear()


_lock: Final = Lock()
_all: Final[dict[tuple[str, int], Habits]] = {}
