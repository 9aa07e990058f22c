"""Figures by the hour: counted from the log each minute by whoever sends, and kept longer than that."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from flask import current_app

from database import mail_hour_db
from database.engine import reading, transaction
from database.mail_hour_db import BINS, HOUR, HourSpan, MailHour, hour_of
from services.delivery.outcome import ACCEPTED
from utils import clock
from utils.json_shapes import Moment

EVERY_SECONDS: Final = 60.0
MOST_SHARE: Final = 30  # counting may take a thirtieth of the time: where an hour has very many, it is done less often
KEPT_FOR: Final = timedelta(days=2 * 365)
MOST_HOURS: Final = int(KEPT_FOR / HOUR)
_SERVERS: Final = "sealpost_servers_of_log"
_LATELY: Final = timedelta(days=30)
_ANEW: Final = timedelta(seconds=50)  # another process has counted as lately as that
_LEFT_TO_WORKERS: Final = timedelta(minutes=15)  # what is much to count, as long as one has counted within them
_MUCH: Final = 20_000  # attempts, which take a tenth of a second


@dataclass(frozen=True, kw_only=True)
class HourFigures:
    """What the attempts of an hour at one server came to, those alike together.

    ``cause`` is the code of a reason, ``phase`` where they ended, and ``ms`` what they took together; ``domain`` is ""
    for all but the most frequent ones. ``within`` counts those that were accepted within so many seconds.
    """

    hour: Moment
    server: str
    outcome: str
    cause: str
    phase: str
    domain: str
    mails: int
    ms: int
    within: dict[int, int]


class _Servers(NamedTuple):
    names: list[str]
    looked_at: float


def pause_after(seconds: float) -> float:
    """For how long to rest after counting took so many seconds."""
    return max(EVERY_SECONDS, MOST_SHARE * seconds)


def count_up(*, briefly: bool = False) -> None:
    """Count this hour, and those that were not counted to their end, unless another process has just done so.

    ``briefly``: somebody waits for it, so where there is much to count, a worker does it within minutes.
    """
    now = clock.now()
    with reading() as session:
        last, known = mail_hour_db.last_counted(session), mail_hour_db.hours_with_mail(session)
        if known is None or _is_within(last, now, _ANEW):
            return
        since = hour_of(last) if last is not None and last <= now else known.since
        is_left = briefly and _is_within(last, now, _LEFT_TO_WORKERS)
        if is_left and mail_hour_db.has_many(session, since, _MUCH):
            return
    _count(HourSpan(max(since, known.since), min(hour_of(now) + HOUR, known.until)), now)


def _is_within(moment: datetime | None, now: datetime, span: timedelta) -> bool:
    return moment is not None and timedelta(0) <= now - moment < span


def rebuild() -> int:
    """Count every hour anew of which the log has anything; how many. What is older stays as it was counted."""
    with reading() as session:
        logged = mail_hour_db.hours_in_log(session)
    return _count(logged, clock.now()) if logged else 0


def tidy() -> None:
    """Forget what is older than two years."""
    with transaction(durable=False) as session:
        mail_hour_db.delete_before(session, clock.now() - KEPT_FOR)


def latest(count: int, server: str = "") -> list[HourFigures]:
    """The figures of so many hours, the present one included; counted to this moment."""
    count_up()
    until = hour_of(clock.now()) + HOUR
    return hours(HourSpan(until - count * HOUR, until), server)


def hours(span: HourSpan, server: str = "") -> list[HourFigures]:
    """The figures of these hours, the first one first; of one server if it is named."""
    with reading() as session:
        return [_figures(row) for row in mail_hour_db.of(session, span, server)]


def servers() -> list[str]:
    """The servers of the last 30 days, as the log names them, to choose from; a new one may come a minute late.

    These are hours by the ten thousand, so a process remembers what it has found.
    """
    known: _Servers | None = current_app.extensions.get(_SERVERS)
    if known is None or not known.names or time.monotonic() - known.looked_at >= EVERY_SECONDS:
        with reading() as session:
            known = _Servers(mail_hour_db.servers(session, clock.now() - _LATELY), time.monotonic())
        current_app.extensions[_SERVERS] = known
    return known.names


def _count(span: HourSpan, now: datetime) -> int:
    """Count each hour of the span; how many had anything. Only what is found is written in a transaction."""
    counted = 0
    for hour in _hours(span):
        with reading() as session:
            found = mail_hour_db.count(session, hour, ACCEPTED)
        if found:
            with transaction(durable=False) as session:
                counted += mail_hour_db.put(session, hour, found, now)
    return counted


def _hours(span: HourSpan) -> Iterator[datetime]:
    hour = span.since
    while hour < span.until:
        yield hour
        hour += HOUR


def _figures(row: MailHour) -> HourFigures:
    return HourFigures(
        hour=row.hour,
        server=row.server,
        outcome=row.outcome,
        cause=row.cause,
        phase=row.phase,
        domain=row.domain,
        mails=row.mails,
        ms=row.ms,
        within={seconds: getattr(row, name) for name, seconds in BINS.items()},
    )
