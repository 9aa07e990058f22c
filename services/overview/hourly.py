"""What became of mail by hours and days: as it was counted, and what the log shows since."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import mail_hour_db, overview_db
from database.engine import reading
from database.mail_hour_db import HOUR, HourSpan, hour_of
from database.overview_db import HourSum
from services.delivery.outcome import ACCEPTED, SUPPRESSED
from utils import clock
from utils.errors import Permanent

DAY: Final = timedelta(days=1)
HOURS: Final = 24  # of which failures are told
MOST_LIVE: Final = 5_000  # attempts that are read from the log itself


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Attempts: ``sent`` were accepted, ``refused`` were refused for good, and ``delayed`` ended in any other way."""

    sent: int = 0
    delayed: int = 0
    refused: int = 0

    @property
    def all(self) -> int:
        return self.sent + self.delayed + self.refused


@dataclass(frozen=True, kw_only=True)
class Column(Tally):
    """A span of time and what it came to. ``is_known``: it was counted; else its numbers mean nothing."""

    since: datetime
    until: datetime
    is_known: bool = True


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What is known of a span: the sums of its hours, and until when they are complete."""

    sums: tuple[HourSum, ...]
    until: datetime
    now: datetime

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing but what the last minutes have brought."""
        return self.now - self.until < timedelta(minutes=3)

    def tally(self, since: datetime) -> Tally:
        """All since then together."""
        return tally_of(each for each in self.sums if each.hour >= since)


def read(days: int) -> Counted:
    """What is known of so many days, and of the last 24 hours."""
    now = clock.now()
    span = HourSpan(min(day_of(now) - (days - 1) * DAY, first_of_last_hours(now)), hour_of(now) + HOUR)
    with reading() as session:
        return _read(session, span, now)


def day_of(moment: datetime) -> datetime:
    """The beginning of its day, in UTC."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def first_of_last_hours(now: datetime) -> datetime:
    """The beginning of the first of the last hours, of which the present one is the last."""
    return hour_of(now) - (HOURS - 1) * HOUR


def last_hours(known: Counted) -> list[Column]:
    """The last hours, the first one first."""
    begin = first_of_last_hours(known.now)
    return _columns(known, [begin + number * HOUR for number in range(HOURS)], HOUR)


def last_days(known: Counted, days: int) -> list[Column]:
    """The last days, today at the end."""
    begin = day_of(known.now) - (days - 1) * DAY
    return _columns(known, [begin + number * DAY for number in range(days)], DAY)


def tally_of(sums: Iterable[HourSum]) -> Tally:
    """What these came to; what was suppressed is no attempt."""
    kinds: Counter[str] = Counter()
    for each in sums:
        kinds[kind_of(each.outcome)] += each.mails
    return Tally(sent=kinds["sent"], delayed=kinds["delayed"], refused=kinds["refused"])


def kind_of(outcome: str) -> str:
    """Which number of a tally an outcome counts towards; "" for none."""
    if outcome == SUPPRESSED:
        return ""
    return {ACCEPTED: "sent", Permanent.outcome: "refused"}.get(outcome, "delayed")


def _columns(known: Counted, begins: Sequence[datetime], length: timedelta) -> list[Column]:
    found: dict[datetime, list[HourSum]] = {begin: [] for begin in begins}
    for each in known.sums:
        begin = begins[0] + (each.hour - begins[0]) // length * length
        if begin in found:
            found[begin].append(each)
    return [
        Column(
            since=begin,
            until=begin + length,
            is_known=known.is_complete or begin < known.until,
            **vars(tally_of(sums)),
        )
        for begin, sums in found.items()
    ]


def _read(session: Session, span: HourSpan, now: datetime) -> Counted:
    """What was counted; the hours that are not counted to their end are read from the log, if they are short."""
    sums, newest = overview_db.sums(session, span), overview_db.last_attempt(session)
    counted_at = mail_hour_db.last_counted(session)
    if newest is None or (counted_at is not None and newest < counted_at <= now):
        return Counted(sums=tuple(sums), until=now, now=now)
    # By a clock that was put back since, something may have been counted in what is still to come.
    begin = max(hour_of(min(counted_at, now)), span.since) if counted_at else span.since
    ends = overview_db.ends_of(session, HourSpan(begin, span.until), MOST_LIVE + 1)
    if len(ends) > MOST_LIVE:
        return Counted(sums=tuple(sums), until=min(counted_at, now) if counted_at else span.since, now=now)
    live = Counter((hour_of(each.started_at), each.outcome, each.cause) for each in ends)
    fresh = [HourSum(*key, mails) for key, mails in live.items()]
    return Counted(sums=(*(each for each in sums if each.hour < begin), *fresh), until=now, now=now)
