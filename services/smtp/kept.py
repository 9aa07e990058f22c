"""The connections to one server that are kept for the next mail, and how many there may be."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.smtp.client import SmtpClient

_SHRUNK_SECONDS: Final = 600.0
_GROWTH_SECONDS: Final = 60.0
_PARTING_SECONDS: Final = 5.0  # in which a server may still count a connection that we have ended


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """``size`` is connections to one server, ``messages`` how many each carries; times are in seconds."""

    size: int = 3  # one for each sender of a worker, and one for security mail
    messages: int = 100
    age: float = 600.0
    idle: float = 60.0  # servers hang up after 10 to 300 seconds; RFC 5321 4.5.3.2.7 asks them for 5 minutes


class Lane:
    """The connections with the same settings: those that are idle, the last used last, and a count of the others."""

    def __init__(self, limits: PoolLimits, clock: Callable[[], float], lock: threading.Lock) -> None:
        self.idle: list[Kept] = []
        self.busy = 0  # in use or being opened
        self.is_current = True  # these are still somebody's settings
        self.freed = threading.Condition(lock)
        self.limits = limits
        self._clock = clock
        self.left_at: float | None = None  # when we last ended one
        self._shrunk: tuple[int, float] | None = None  # to how many, and when

    @property
    def cap(self) -> int:
        """How many connections there may be: half as many for ten minutes after the server had too many."""
        if not self._shrunk:
            return self.limits.size
        cap, since = self._shrunk
        quiet = self._clock() - since - _SHRUNK_SECONDS
        return min(self.limits.size, cap + max(0, 1 + int(quiet // _GROWTH_SECONDS)))

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left that would have to be remembered."""
        return not self.idle and not self.busy and self.cap == self.limits.size

    @property
    def was_just_left(self) -> bool:
        """Whether the server may have one too many because it has not noticed yet that we left."""
        return self.left_at is not None and self._clock() - self.left_at < _PARTING_SECONDS

    def shrink(self, most: int | None = None) -> None:
        """Lower the cap for ten minutes, to ``most`` or by half; from then on it grows by one a minute."""
        self._shrunk = max(1, self.cap // 2 if most is None else most), self._clock()

    def worn(self) -> list["Kept"]:
        """Take out what has been idle for too long, or is too old."""
        worn = [kept for kept in self.idle if kept.is_worn]
        self.idle = [kept for kept in self.idle if not kept.is_worn]
        return worn

    def next_idle(self) -> tuple["Kept | None", list["Kept"]]:
        """Take out the connection that was used last and still works; and those before it that do not."""
        unfit = self.worn()
        while self.idle:
            # The last used is the likeliest to live, and those that are not needed get old and go.
            kept = self.idle.pop()
            if kept.client.is_quiet:
                return kept, unfit
            unfit.append(kept)
        return None, unfit

    def keep(self, client: SmtpClient) -> "Kept":
        """A new connection of this lane."""
        return Kept(client, self, self.limits, self._clock)


class Kept:
    """An open connection. ``carried`` counts the mails that it was given, ``idle_since`` is when it came back."""

    def __init__(self, client: SmtpClient, lane: Lane, limits: PoolLimits, clock: Callable[[], float]) -> None:
        self.client = client
        self.lane = lane
        self.carried = 0
        self.idle_since = self._opened_at = clock()
        self._limits = limits
        self._clock = clock

    @property
    def room(self) -> int:
        """How many more mails it may carry."""
        return min(self._limits.messages, self.client.most_mails or self._limits.messages) - self.carried

    @property
    def is_worn(self) -> bool:
        now, limits = self._clock(), self._limits
        is_old = now - self._opened_at >= limits.age or now - self.idle_since >= limits.idle
        return is_old or self.room <= 0

    @property
    def may_stay(self) -> bool:
        """Whether, back from its use, it is to be kept for the next mail."""
        lane = self.lane
        room = lane.busy + len(lane.idle) < lane.cap
        return lane.is_current and room and self.client.is_open and not self.is_worn
