"""The ``mail_hour`` table: how many attempts came to what in each hour; it outlives the log that it is counted from.

An hour is always counted whole, from the attempts that the log still has, so that nothing is counted twice or lost
whatever dies in between.
"""

from collections import Counter
from datetime import datetime, timedelta
from operator import add
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Float,
    SmallInteger,
    String,
    Text,
    case,
    cast,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.attempt_db import LONGEST_SERVER, EmailAttempt
from database.engine import Base
from database.outbox_db import WAS_SETTLED, OutboxMail, State
from database.types import UtcDateTime

LONGEST_DOMAIN = 255
MOST_DOMAINS: Final = 20  # of an hour, each counted by itself; the others together, as ""
HOUR: Final = timedelta(hours=1)
# Of accepted attempts: until when after the mail was promised. What took longer is in none of them.
BINS: Final = {"within_second": 1, "within_ten": 10, "within_minute": 60, "within_five": 300, "within_hour": 3600}
# Of all attempts: how many took no longer than so many milliseconds. What took longer is in none of them.
TOOK_BINS: Final = {
    "took_tenth": 100, "took_second": 1000, "took_three": 3000, "took_ten": 10_000, "took_thirty": 30_000,
}  # fmt: skip
NOT_QUEUED: Final = -1  # in the place of a priority: the email was sent directly
_KEYS: Final = 6  # of a count, before its numbers
_NONE: Final = text("0")
ROLLING: Final = 7_365_619  # an advisory lock's number, beside the others of ours


class MailHour(Base):
    """The attempts of an hour at one server that came to the same for the same cause, with recipients in one domain.

    ``server`` is as the log has it, ``cause`` the code of a reason or "", and the domain is the first recipient’s.
    ``phase`` is where an attempt ended, "" where it was accepted, or never begun; ``ms`` is how long all of them took
    together. ``counted_at`` is when. Queued mail that was suppressed, for which no server is tried, is among them.
    """

    __tablename__ = "mail_hour"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    server: Mapped[str] = mapped_column(String(LONGEST_SERVER), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16), primary_key=True)
    cause: Mapped[str] = mapped_column(String(64), primary_key=True)
    phase: Mapped[str] = mapped_column(String(16), primary_key=True)
    domain: Mapped[str] = mapped_column(String(LONGEST_DOMAIN), primary_key=True)
    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("-1"))
    mails: Mapped[int]
    ms: Mapped[int] = mapped_column(BigInteger)
    within_second: Mapped[int] = mapped_column(default=0)
    within_ten: Mapped[int] = mapped_column(default=0)
    within_minute: Mapped[int] = mapped_column(default=0)
    within_five: Mapped[int] = mapped_column(default=0)
    within_hour: Mapped[int] = mapped_column(default=0)
    took_tenth: Mapped[int] = mapped_column(default=0, server_default=_NONE)
    took_second: Mapped[int] = mapped_column(default=0, server_default=_NONE)
    took_three: Mapped[int] = mapped_column(default=0, server_default=_NONE)
    took_ten: Mapped[int] = mapped_column(default=0, server_default=_NONE)
    took_thirty: Mapped[int] = mapped_column(default=0, server_default=_NONE)
    counted_at: Mapped[datetime] = mapped_column(UtcDateTime)


class HourSpan(NamedTuple):
    """From a moment on, until before another."""

    since: datetime
    until: datetime


class HourCount(NamedTuple):
    """Attempts that came to the same; the numbers after ``ms`` are those of BINS and TOOK_BINS."""

    server: str
    outcome: str
    cause: str
    phase: str
    domain: str
    priority: int
    mails: int
    ms: int
    within_second: int = 0
    within_ten: int = 0
    within_minute: int = 0
    within_five: int = 0
    within_hour: int = 0
    took_tenth: int = 0
    took_second: int = 0
    took_three: int = 0
    took_ten: int = 0
    took_thirty: int = 0


class HourTotal(NamedTuple):
    """The attempts of several hours that came to the same; at the end the numbers of BINS and of TOOK_BINS."""

    server: str
    outcome: str
    cause: str
    phase: str
    priority: int
    mails: int
    ms: int
    within: tuple[int, ...]
    took: tuple[int, ...]


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour, in UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)


def count(session: Session, hour: datetime, accepted: str) -> list[HourCount]:
    """Count the attempts of an hour, and what was suppressed; nothing if the log has none any more."""
    took, domain = _seconds(session), _domain(session).label("domain")
    is_accepted, phase = EmailAttempt.outcome == accepted, func.coalesce(EmailAttempt.phase, "").label("phase")
    bins = [func.sum(case((is_accepted & (took <= seconds), 1), else_=0)) for seconds in BINS.values()]
    bins += [func.sum(case((EmailAttempt.ms <= ms, 1), else_=0)) for ms in TOOK_BINS.values()]
    priority = func.coalesce(OutboxMail.priority, NOT_QUEUED).label("priority")
    keys = EmailAttempt.server, EmailAttempt.outcome, EmailAttempt.reason, phase, domain, priority
    counted = (
        select(*keys, func.count(), func.sum(EmailAttempt.ms), *bins)
        .outerjoin(OutboxMail, OutboxMail.mail_id == EmailAttempt.mail_id)
        .where(EmailAttempt.started_at >= hour, EmailAttempt.started_at < hour + HOUR)
        .group_by(*keys)
    )
    return _bucketed([HourCount(*row) for row in session.execute(counted)]) + _suppressed(session, hour)


def _suppressed(session: Session, hour: datetime) -> list[HourCount]:
    """The queued mails that were suppressed within an hour, by the code of their reason."""
    found = (
        select(OutboxMail.reason, OutboxMail.priority, func.count())
        .where(WAS_SETTLED, OutboxMail.settled_at >= hour, OutboxMail.settled_at < hour + HOUR)
        .where(OutboxMail.state == State.SUPPRESSED)
        .group_by(OutboxMail.reason, OutboxMail.priority)
    )
    return [
        HourCount("", State.SUPPRESSED, reason, "", "", priority, mails, 0)
        for reason, priority, mails in session.execute(found)
    ]


def put(session: Session, hour: datetime, found: list[HourCount], now: datetime) -> bool:
    """Write the figures of an hour in the place of those before. False if another process is doing the same."""
    if not _is_my_turn(session):
        return False
    session.execute(delete(MailHour).where(MailHour.hour == hour))
    session.execute(insert(MailHour), [each._asdict() | {"hour": hour, "counted_at": now} for each in found])
    return True


def _bucketed(found: list[HourCount]) -> list[HourCount]:
    mails: Counter[str] = Counter()
    for each in found:
        mails[each.domain] += each.mails
    most = {name for name, _ in sorted(mails.items(), key=lambda item: (-item[1], item[0]))[:MOST_DOMAINS]}
    together: dict[tuple[Any, ...], HourCount] = {}
    for each in found:
        domain = each.domain[:LONGEST_DOMAIN] if each.domain in most else ""
        key = each.server, each.outcome, each.cause, each.phase, domain, each.priority
        before = together.get(key)
        numbers = each[_KEYS:] if before is None else tuple(map(add, before[_KEYS:], each[_KEYS:]))
        together[key] = HourCount(*key, *numbers)
    return list(together.values())


def last_counted(session: Session) -> datetime | None:
    """When an hour was counted last."""
    return session.scalar(select(func.max(MailHour.counted_at)))


def hours_in_log(session: Session) -> HourSpan | None:
    """The first and the last hour of which the log has an attempt."""
    ends = (func.min(EmailAttempt.started_at), func.max(EmailAttempt.started_at))
    first, last = (session.scalar(select(end)) for end in ends)  # each by itself: SQLite finds only one by an index
    return HourSpan(hour_of(first), hour_of(last) + HOUR) if first and last else None


def hours_with_mail(session: Session) -> HourSpan | None:
    """The same, and the hour in which a queued mail was settled last, perhaps without any attempt."""
    logged, last = hours_in_log(session), session.scalar(select(func.max(OutboxMail.settled_at)).where(WAS_SETTLED))
    if last is None:
        return logged
    settled = HourSpan(hour_of(last), hour_of(last) + HOUR)
    return HourSpan(min(logged.since, settled.since), max(logged.until, settled.until)) if logged else settled


def of(session: Session, span: HourSpan, server: str = "") -> list[MailHour]:
    """The figures of these hours, the first one first; of one server if it is named."""
    query = select(MailHour).where(MailHour.hour >= span.since, MailHour.hour < span.until)
    if server:
        query = query.where(MailHour.server == server)
    return list(session.scalars(query.order_by(*MailHour.__table__.primary_key)))


def totals(session: Session, since: datetime) -> list[HourTotal]:
    """What was counted of the hours since a moment, added up over hours and domains."""
    keys = MailHour.server, MailHour.outcome, MailHour.cause, MailHour.phase, MailHour.priority
    numbers = [func.sum(getattr(MailHour, name)) for name in ("mails", "ms", *BINS, *TOOK_BINS)]
    query = select(*keys, *numbers).where(MailHour.hour >= since).group_by(*keys).order_by(*keys)
    at, after = len(keys) + 2, len(keys) + 2 + len(BINS)
    rows: list[Any] = list(session.execute(query))
    return [HourTotal._make((*row[:at], tuple(row[at:after]), tuple(row[after:]))) for row in rows]


def has_many(session: Session, since: datetime, most: int) -> bool:
    """Whether the log has more attempts than ``most`` since a moment; by an index alone, and no further than those."""
    query = select(EmailAttempt.started_at).where(EmailAttempt.started_at >= since)
    return session.execute(query.order_by(EmailAttempt.started_at).offset(most).limit(1)).first() is not None


def servers(session: Session, since: datetime) -> list[str]:
    """The names of servers of which there are hours since then, in their order."""
    query = select(MailHour.server).where(MailHour.hour >= since, MailHour.server != "").distinct()
    return sorted(session.scalars(query))


def delete_before(session: Session, moment: datetime) -> None:
    session.execute(delete(MailHour).where(MailHour.hour < moment))


def _is_my_turn(session: Session) -> bool:
    """One counts at a time; SQLite has one writer anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": ROLLING}))


def _domain(session: Session) -> ColumnElement[str]:
    """The domain of an attempt's first recipient, of which the log keeps a text like “a***@example.com, b***@…”."""
    recipients = cast(EmailAttempt.recipients, Text)
    if session.get_bind().dialect.name == "postgresql":
        return func.split_part(func.split_part(recipients, ", ", 1), "@", 2)
    first = func.substr(recipients, 1, func.instr(recipients + ", ", ", ") - 1)
    return case((func.instr(first, "@") > 0, func.substr(first, func.instr(first, "@") + 1)), else_="")


def _seconds(session: Session) -> ColumnElement[float]:
    """How long it took until the server had it: since it was promised, or of a direct mail the attempt itself."""
    ms: ColumnElement[Any] = EmailAttempt.ms / 1000.0
    if session.get_bind().dialect.name == "postgresql":
        waited: ColumnElement[Any] = func.extract("epoch", EmailAttempt.started_at - OutboxMail.created_at)
    else:
        waited = (func.julianday(EmailAttempt.started_at) - func.julianday(OutboxMail.created_at)) * 86400.0
    return cast(func.coalesce(waited, 0), Float) + ms
