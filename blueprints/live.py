"""Lists that stay current while somebody looks at them: what has changed in one, told as server-sent events.

A stream holds a thread of its server. So it lives for a while only (the browser asks again then, with the mark of what
it has), and a process serves few at a time: who gets no place asks for the page every few seconds instead.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from flask import Response, make_response, request, stream_with_context
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError

from blueprints.clients import client_address
from utils import clock, ending
from utils.encryption_utils import digest
from utils.errors import AppError

log = structlog.get_logger(__name__)

LIFE: Final = 25.0  # seconds: below the 30 after which proxies and servers give up on a request
LOOK_EVERY: Final = 2.0
AROUND_EVERY: Final = 10.0
REST: Final = 1000  # milliseconds until the browser asks again
MOST: Final = 8  # streams of a process
FEW: Final = 2  # of one whose threads nobody has counted
EACH: Final = 2  # of one person: a browser has six connections for a server, and needs some for all else
SEEN: Final = "seen"  # the parameter with the mark of what the page shows
_VERSION_LENGTH: Final = 12

_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class ShownRows:
    """What a list shows: each row's id with what tells this state of it from any other.

    ``newest`` are the ids of the rows of the first page, where another one is shown.
    """

    rows: Mapping[str, str]
    newest: tuple[str, ...] = ()
    data: Any = field(default=None, compare=False)  # what the rows are drawn from

    @property
    def mark(self) -> str:
        """The same for the same rows only."""
        return version_of((tuple(self.rows.items()), self.newest))


def version_of(facts: object) -> str:
    """What tells these facts of a row from any others of it, in every process; they are plain data."""
    return digest(repr(facts))[:_VERSION_LENGTH]


class _Places:
    """How many streams this process may have open, and has."""

    def __init__(self) -> None:
        self._most = FEW
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def fit(self, threads: int) -> None:
        """Let streams hold half of so many threads at most: the others answer everybody else."""
        self._most = min(MOST, threads // 2)

    def take(self, whose: str) -> bool:
        with self._lock:
            if self._taken.total() >= self._most or self._taken[whose] >= EACH:
                return False
            self._taken[whose] += 1
            return True

    def give_back(self, whose: str) -> None:
        with self._lock:
            self._taken -= Counter([whose])


places: Final = _Places()
_ends: Final = threading.Event()
ending.hear(_ends.set)


def in_background(view: _View) -> _View:
    """A view that scripts ask for by themselves: it does not count as somebody being there."""
    view.is_in_background = True  # type: ignore[attr-defined]
    return view


@dataclass(frozen=True)
class Watched:
    """A list that a stream tells of; each of these ends its transaction before it returns.

    ``look`` tells what it shows now, ``drawn`` gives these rows of it as HTML, ``around`` what stands beside the list,
    by name, and ``may_go_on`` whether who asked may still see it.
    """

    look: Callable[[], ShownRows]
    drawn: Callable[[ShownRows, Sequence[str]], Mapping[str, str]]
    around: Callable[[], Mapping[str, str]]
    may_go_on: Callable[[], bool]


def streamed(watched: Watched) -> Response:
    """What changes in a list, as events; 204, after which a browser does not ask again, where there is no place for it.

    It ends with the process, too.
    """
    shown = watched.look()
    whose = str(current_user.id) if current_user.is_authenticated else client_address()
    if ending.is_near() or not places.take(whose):
        return make_response("", 204)
    try:
        seen = request.headers.get("Last-Event-ID") or request.args.get(SEEN, "")
        # X-Accel-Buffering: nginx would otherwise hold the events back until the end.
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        stream = stream_with_context(_events(watched, shown, seen))
        response = Response(stream, mimetype="text/event-stream", headers=headers)
    except BaseException:
        places.give_back(whose)
        raise
    response.call_on_close(partial(places.give_back, whose))
    return response


def _events(watched: Watched, shown: ShownRows, seen: str) -> Iterator[str]:
    """The events of one stream. One comes with each look, so that a reader who has gone is noticed."""
    yield f"retry: {REST}\n\n"
    until, around_at = time.monotonic() + LIFE, 0.0
    known: Mapping[str, str] = shown.rows if seen == shown.mark else {}
    beside: Mapping[str, str] = {}
    try:
        while True:
            told: dict[str, Any] = {"at": clock.now().isoformat()}
            if shown.mark != seen:
                changed = [row for row, version in shown.rows.items() if known.get(row) != version]
                told |= {"order": list(shown.rows), "newest": shown.newest, "rows": watched.drawn(shown, changed)}
                known, seen, around_at = shown.rows, shown.mark, 0.0
            if time.monotonic() >= around_at:
                now = watched.around()
                told["around"] = {name: html for name, html in now.items() if beside.get(name) != html}
                beside, around_at = now, time.monotonic() + AROUND_EVERY
            yield f"id: {seen}\ndata: {json.dumps(told)}\n\n"
            if time.monotonic() >= until or _ends.wait(LOOK_EVERY) or not watched.may_go_on():
                return
            shown = watched.look()
    except (SQLAlchemyError, AppError) as error:  # the browser asks again, and is told by the answer to that
        log.warning("live_list_ended", reason=type(error).__name__)
