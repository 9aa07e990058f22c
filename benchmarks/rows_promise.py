"""What a promise costs: ``queue_email`` in one's own transaction, beside inserting the very same rows by the driver."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from benchmarks.application import application
from benchmarks.databases import bare, databases
from benchmarks.message import HTML, NOWHERE, SUBJECT, TEXT, TO
from benchmarks.results import Goal, Result
from benchmarks.series import Effort
from database import outbox_add_db
from database.engine import db, transaction
from services import email_service
from services.message.draft import draft
from services.outbox import promise
from services.outbox.promise import Terms
from services.settings import route

Parameters = dict[str, object] | tuple[object, ...]
SIZES: Final = 1, 100


def promises(engine: str, effort: Effort) -> Result:
    """Microseconds an email, in transactions of one and of a hundred; composing and sealing stand beside it."""
    with databases(engine) as new, application(NOWHERE, database := new()):
        figures: dict[str, float] = {}
        goals = []
        for size in SIZES:
            ours, made, bare = _turns(database, size, replace(effort, rounds=effort.rounds * 3))
            figures |= {f"queue_email, {size} a transaction": ours, f"of which composing and sealing, {size}": made}
            figures |= {f"the same rows by the driver, {size}": bare}
            goals.append(Goal(f"× the driver, {size} a transaction", (ours - made) / bare, 1.3, True))
    return Result(
        name=f"promise-{engine.lower()}",
        what=f"promising an email in one's own transaction, {engine}, fsync on",
        unit="µs an email",
        figures=figures,
        goals=goals,
    )


def _turns(database: str, size: int, effort: Effort) -> tuple[float, float, float]:
    """The medians of turns that alternate: a transaction of ``queue_email``, what composing it took, the driver's."""
    times = max(1, 200 // size) if effort.is_full else 3
    sides: tuple[Callable[[int], None], ...] = (_queue, _compose, _Bare(database, size).insert)
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(effort.rounds):
        for side, seconds in zip(sides, found, strict=True):
            began = time.perf_counter()
            for _ in range(times):
                side(size)
            seconds.append((time.perf_counter() - began) / times / size * 1e6)
    ours, made, bare = map(statistics.median, found)
    return ours, made, bare


def _queue(size: int) -> None:
    with transaction() as session:
        for _ in range(size):
            email_service.queue_email(TO, SUBJECT, TEXT, HTML, session=session)


def _compose(size: int) -> None:
    for _ in range(size):
        _sealed()


def _sealed() -> dict[str, Any]:
    mail = draft(TO, SUBJECT, TEXT, HTML, kind="other", message_id_domain=route.message_id_domain(None))
    return dict(promise.sealed(mail, Terms()))


class _Bare:
    """The rows of such a transaction, bound already; only their ids are others each time."""

    def __init__(self, database: str, size: int) -> None:
        self._connection = bare(database)
        compiled = outbox_add_db._ADD._in(db.engine.dialect)
        self._sql = compiled.sql
        rows = [_sealed() for _ in range(size)]
        for row in rows:
            row.pop("names", None)
        self._mail_ids = [row["mail_id"] for row in rows]
        self._parameters = [compiled.parameters(row) for row in rows]
        self._turn = 0

    def insert(self, _size: int) -> None:
        self._turn += 1
        fresh = [f"{self._turn:08x}{mail_id[8:]}" for mail_id in self._mail_ids]
        rows = [_with_id(row, old, new) for row, old, new in zip(self._parameters, self._mail_ids, fresh, strict=True)]
        self._connection.cursor().executemany(self._sql, rows)
        self._connection.commit()


def _with_id(row: Parameters, old: str, new: str) -> Parameters:
    """The same parameters with another id, in the Message-ID as well."""
    if isinstance(row, dict):
        return {name: _renamed(value, old, new) for name, value in row.items()}
    return tuple([_renamed(value, old, new) for value in row])


def _renamed(value: object, old: str, new: str) -> object:
    return value.replace(old, new) if isinstance(value, str) else value
