"""Servers that have been silent for long: each may hold one sender, and never all."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from flask import current_app

from services.smtp.patience import Span

HELD_AFTER: Final = 30.0  # seconds without an answer
LOOK_AGAIN: Final = 10.0  # seconds that other mail for it rests
MOST_RECEIPTS: Final = 6  # senders more that may wait where a message is out, and nothing may be ended
MOST_HELD: Final = 2  # senders, by as many servers; beyond that, whoever has waited longest goes on to other mail


class Waits:
    """Who is in a conversation with which server, in this process; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, bool, Span]] = []

    @contextmanager
    def at(self, owner: str, span: Span, *, is_security: bool) -> Iterator[None]:
        """The block speaks to the server known as ``owner``."""
        entry = owner, is_security, span
        with self._lock:
            self._waiting.append(entry)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.remove(entry)

    def is_held(self, owner: str, *, is_security: bool) -> bool:
        """Whether somebody has been waiting for this server for long; security mail waits for its own kind only."""
        with self._lock:
            spans = [span for name, urgent, span in self._waiting if name == owner and urgent is is_security]
        return any(is_long(span) for span in spans)

    def surplus(self) -> list[Span]:
        """The conversations that are to end, so that a silent server holds one sender, and all of them only a few.

        None in which a message is out: its fate would be unknown.
        """
        with self._lock:
            waiting = [entry for entry in self._waiting if is_long(entry[2]) and not entry[2].is_waiting_for_receipt]
        waiting.sort(key=lambda entry: entry[2].silent_seconds, reverse=True)
        first: dict[tuple[str, bool], Span] = {}
        others = []
        for owner, urgent, span in waiting:
            if first.setdefault((owner, urgent), span) is not span:
                others.append(span)
        return others + list(first.values())[: max(0, len(first) - MOST_HELD)]


def is_long(span: Span) -> bool:
    """Whether the server of a conversation has been silent for so long that others should not wait for it as well."""
    return not span.is_ended and span.silent_seconds >= HELD_AFTER


def excused(spans: Sequence[Span]) -> int:
    """How many of these conversations hold somebody whom another may stand in for."""
    held = [span.is_waiting_for_receipt for span in spans if is_long(span)]
    return min(held.count(True), MOST_RECEIPTS) + min(held.count(False), MOST_HELD)


def waits() -> Waits:
    """Those of this application in this process."""
    found: Waits = current_app.extensions.setdefault("sealpost_waits", Waits())
    return found
