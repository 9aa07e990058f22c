"""How long a server is waited for: for each of its answers, and for a whole conversation, which may be cut short."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from services.smtp.wire import Deadline
from utils.errors import Phase

LOOK_UP: Final = 30.0  # seconds; a name server that needs more gives no answer
STOP_SILENCE: Final = 2.0  # seconds of a server's silence, after which a process that is to end waits for it no longer


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds for the answer to a command, to DATA, for the next block of a message to go out, for its receipt.

    ``outlasts``: a receipt is waited for even after the time for the whole is over.
    """

    command: float
    data: float
    block: float
    receipt: float
    outlasts: bool = False

    def of(self, phase: Phase) -> float:
        """For one answer in this phase."""
        if phase is Phase.DNS:
            return min(self.command, LOOK_UP)
        return self.data if phase is Phase.DATA else self.command


# What RFC 5321 4.5.3.2 asks of whoever is not waited for: with less, a slow server gets mail twice.
RFC_5321: Final = Patience(command=300.0, data=120.0, block=180.0, receipt=600.0, outlasts=True)


class Cancellable(Protocol):
    """A conversation that another thread can end."""

    @property
    def silent_seconds(self) -> float: ...

    @property
    def is_waiting_for_receipt(self) -> bool: ...

    def cancel(self) -> None: ...


class Queueing:
    """A wait in which nothing can be unknown, for a connection that others have for example."""

    is_waiting_for_receipt = False

    def __init__(self) -> None:
        self._since = monotonic()

    @property
    def silent_seconds(self) -> float:
        return monotonic() - self._since

    def cancel(self) -> None:
        """Whoever waits looks at the span."""


class Span:
    """The time that conversations may take: nothing new is begun after it, nor once somebody has ended it.

    The thread that speaks asks ``is_over``; any other may look at it, and ``end`` it.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = Deadline(seconds)
        self._lock = threading.Lock()
        self._talks: list[Cancellable] = []
        self.held_after = math.inf  # seconds of silence, set by who speaks to a server that is to hold nobody
        self.was_silent = False  # for that long
        self.is_ended = False  # by somebody, so that whoever is in a conversation will be free in a moment

    @property
    def is_over(self) -> bool:
        return self.is_ended or self.deadline.remaining() <= 0

    @property
    def silent_seconds(self) -> float:
        """For how long the server of the conversation under way has given no answer; 0 if none is."""
        with self._lock:
            return max((talk.silent_seconds for talk in self._talks), default=0.0)

    @property
    def is_waiting_for_receipt(self) -> bool:
        """Whether a message is out, or on its way out, so that its fate would be unknown."""
        with self._lock:
            return any(talk.is_waiting_for_receipt for talk in self._talks)

    def end_silent(self) -> None:
        """End the conversations whose server says nothing, but for those where a message is out."""
        with self._lock:
            for talk in self._talks:
                if talk.silent_seconds >= STOP_SILENCE and not talk.is_waiting_for_receipt:
                    talk.cancel()

    def end(self) -> None:
        """End what is under way, and let nothing begin any more; from any thread."""
        with self._lock:
            self.is_ended = True
            for talk in self._talks:
                talk.cancel()

    @contextmanager
    def covers(self, talk: Cancellable) -> Iterator[None]:
        """The block holds a conversation, which ends with the span."""
        with self._lock:
            self._talks.append(talk)
            if self.is_ended:
                talk.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._talks.remove(talk)


class _Unwatched:
    """The conversations of this process that no span of a worker holds: somebody waits for their end."""

    span = Span(math.inf)


def unwatched() -> Span:
    """The span of all conversations that have no other."""
    return _Unwatched.span


def _after_fork() -> None:
    _Unwatched.span = Span(math.inf)


os.register_at_fork(after_in_child=_after_fork)
