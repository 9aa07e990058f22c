"""Servers that have been silent for long: each may hold one sender, and never all.

There can be any number of accounts' own servers, and of dead ones among them: whoever waits for one is stood in for
almost at once, and from the start where it was silent the last time.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from services.smtp.patience import Span
from utils import application

HELD_AFTER: Final = 30.0  # seconds without an answer
LOOK_AGAIN: Final = 10.0  # seconds that other mail for it rests
MOST_REMEMBERED: Final = 10_000  # own servers
MOST_RECEIPTS: Final = 6  # senders more that may wait where a message is out, and nothing may be ended
HELD_BY_OWN: Final = 0.5  # seconds without an answer of an account's own server
OWN_LOOK_AGAIN: Final = 2.0  # seconds that other mail for it rests
MOST_BY_OWN: Final = 50  # senders more that may wait for such servers
MOST_HELD: Final = 2  # senders, by as many servers; beyond that, whoever has waited longest goes on to other mail


class Waits:
    """Who is in a conversation with which server, in this process; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, bool, Span]] = []
        self._silent: dict[str, None] = {}  # own servers that were, the last time

    @contextmanager
    def at(self, owner: str, span: Span, *, is_security: bool, is_own: bool = False) -> Iterator[None]:
        """The block speaks to the server known as ``owner``, an account's own if it ``is_own``."""
        entry = owner, is_security, span
        with self._lock:
            self._waiting.append(entry)
            if is_own:
                span.held_after, span.was_silent = 0.0 if owner in self._silent else HELD_BY_OWN, False
        try:
            yield
        finally:
            with self._lock:
                self._waiting.remove(entry)
                if is_own:
                    self._note(owner, span)

    def _note(self, owner: str, span: Span) -> None:
        """Remember whether the own server was silent, as one of the latest."""
        self._silent.pop(owner, None)
        if span.was_silent:
            self._silent[owner] = None
            if len(self._silent) > MOST_REMEMBERED:
                del self._silent[next(iter(self._silent))]
        span.held_after = math.inf

    def is_silent(self, owner: str) -> bool:
        """Whether somebody is waiting for this own server, which gives no answer just now."""
        with self._lock:
            return any(span.silent_seconds >= HELD_BY_OWN for name, _, span in self._waiting if name == owner)

    def is_held(self, owner: str, *, is_security: bool) -> bool:
        """Whether somebody has been waiting for this server for long; security mail waits for its own kind only."""
        with self._lock:
            spans = [span for name, urgent, span in self._waiting if name == owner and urgent is is_security]
        return any(is_long(span) for span in spans)

    def is_stalled(self, owner: str) -> bool:
        """Whether somebody has been waiting for it for long, and not for the receipt of a message."""
        with self._lock:
            spans = [span for name, _, span in self._waiting if name == owner]
        return any(is_long(span) and not span.is_waiting_for_receipt for span in spans)

    def surplus(self) -> list[Span]:
        """The conversations that are to end, so that a silent server holds one sender, and all of them only a few.

        None in which a message is out: its fate would be unknown.
        """
        with self._lock:
            others = [entry for entry in self._waiting if entry[2].held_after == math.inf]
        waiting = [entry for entry in others if is_long(entry[2]) and not entry[2].is_waiting_for_receipt]
        waiting.sort(key=lambda entry: entry[2].silent_seconds, reverse=True)
        first: dict[tuple[str, bool], Span] = {}
        further = []
        for owner, urgent, span in waiting:
            if first.setdefault((owner, urgent), span) is not span:
                further.append(span)
        return further + list(first.values())[: max(0, len(first) - MOST_HELD)]


def is_long(span: Span) -> bool:
    """Whether the server of a conversation has been silent for so long that others should not wait for it as well."""
    return not span.is_ended and span.silent_seconds >= HELD_AFTER


def excused(spans: Sequence[Span]) -> int:
    """How many of these conversations hold somebody whom another may stand in for."""
    own = sum(_is_held_by_own(span) for span in spans)
    held = [span.is_waiting_for_receipt for span in spans if is_long(span) and span.held_after == math.inf]
    return min(own, MOST_BY_OWN) + min(held.count(True), MOST_RECEIPTS) + min(held.count(False), MOST_HELD)


def may_be_given_back(span: Span) -> bool:
    """Whether what was not begun had better wait for its server elsewhere: another way may be open to it by then.

    Not where an account's own server is silent: who took it up next would be held as well.
    """
    return is_long(span) and span.held_after == math.inf


def may_be_held_soon(spans: Sequence[Span]) -> bool:
    """Whether one of these conversations may hold somebody within a moment."""
    return any(span.held_after < math.inf and not _is_held_by_own(span) for span in spans)


def _is_held_by_own(span: Span) -> bool:
    """Whether an account's own server lets somebody wait."""
    silent = span.silent_seconds
    if span.held_after < math.inf and silent >= HELD_BY_OWN:
        span.was_silent = True
    return silent >= span.held_after


def waits() -> Waits:
    """Those of this application in this process."""
    return application.kept("sealpost_waits", Waits)
