"""The ``mail_hour`` table: how many attempts came to what in each hour; it outlives the log that it is counted from.

An hour is always counted whole, from the attempts that the log still has, so that nothing is counted twice or lost
whatever dies in between.
"""

from collections import Counter
from datetime import datetime, timedelta
from operator import add
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Float, String, Text, case, cast, delete, func, insert, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.attempt_db import LONGEST_SERVER, EmailAttempt
from database.engine import Base
from database.outbox_db import OutboxMail
from database.types import UtcDateTime

LONGEST_DOMAIN = 255
MOST_DOMAINS: Final = 20  # of an hour, each counted by itself; the others together, as ""
HOUR: Final = timedelta(hours=1)
# Of accepted attempts: until when after the mail was promised. What took longer is in none of them.
BINS: Final = {"within_second": 1, "within_ten": 10, "within_minute": 60, "within_five": 300, "within_hour": 3600}
_KEYS: Final = 5  # of a count, before its numbers
ROLLING: Final = 7_365_619  # an advisory lock's number, beside the others of ours


class MailHour(Base):
    """The attempts of an hour at one server that came to the same for the same cause, with recipients in one domain.

    ``server`` is as the log has it, ``cause`` the code of a reason or "", and the domain is the first recipient’s.
    ``phase`` is where an attempt ended, "" where it was accepted, or never begun; ``ms`` is how long all of them took
    together. ``counted_at`` is when.
    """

    __tablename__ = "mail_hour"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    server: Mapped[str] = mapped_column(String(LONGEST_SERVER), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16), primary_key=True)
    cause: Mapped[str] = mapped_column(String(64), primary_key=True)
    phase: Mapped[str] = mapped_column(String(16), primary_key=True)
    domain: Mapped[str] = mapped_column(String(LONGEST_DOMAIN), primary_key=True)
    mails: Mapped[int]
    ms: Mapped[int] = mapped_column(BigInteger)
    within_second: Mapped[int] = mapped_column(default=0)
    within_ten: Mapped[int] = mapped_column(default=0)
    within_minute: Mapped[int] = mapped_column(default=0)
    within_five: Mapped[int] = mapped_column(default=0)
    within_hour: Mapped[int] = mapped_column(default=0)
    counted_at: Mapped[datetime] = mapped_column(UtcDateTime)


class HourSpan(NamedTuple):
    """From a moment on, until before another."""

    since: datetime
    until: datetime


class HourCount(NamedTuple):
    """Attempts that came to the same; the numbers after ``mails`` are those of BINS."""

    server: str
    outcome: str
    cause: str
    phase: str
    domain: str
    mails: int
    ms: int
    within_second: int
    within_ten: int
    within_minute: int
    within_five: int
    within_hour: int


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour, in UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)


def count(session: Session, hour: datetime, accepted: str) -> list[HourCount]:
    """Count the attempts of an hour, the rarer domains together; nothing if the log has none any more."""
    took, domain = _seconds(session), _domain(session).label("domain")
    is_accepted, phase = EmailAttempt.outcome == accepted, func.coalesce(EmailAttempt.phase, "").label("phase")
    bins = [func.sum(case((is_accepted & (took <= seconds), 1), else_=0)) for seconds in BINS.values()]
    keys = EmailAttempt.server, EmailAttempt.outcome, EmailAttempt.reason, phase, domain
    counted = (
        select(*keys, func.count(), func.sum(EmailAttempt.ms), *bins)
        .outerjoin(OutboxMail, OutboxMail.mail_id == EmailAttempt.mail_id)
        .where(EmailAttempt.started_at >= hour, EmailAttempt.started_at < hour + HOUR)
        .group_by(*keys)
    )
    return _bucketed([HourCount(*row) for row in session.execute(counted)])


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
    together: dict[tuple[str, ...], HourCount] = {}
    for each in found:
        domain = each.domain[:LONGEST_DOMAIN] if each.domain in most else ""
        key = each.server, each.outcome, each.cause, each.phase, domain
        before = together.get(key)
        numbers = each[_KEYS:] if before is None else tuple(map(add, before[_KEYS:], each[_KEYS:]))
        together[key] = HourCount(*key, *numbers)
    return list(together.values())


def last_counted(session: Session) -> datetime | None:
    """When an hour was counted last."""
    return session.scalar(select(func.max(MailHour.counted_at)))


def hours_in_log(session: Session) -> HourSpan | None:
    """The first and the last hour of which the log has an attempt."""
    first, last = session.execute(select(func.min(EmailAttempt.started_at), func.max(EmailAttempt.started_at))).one()
    return HourSpan(hour_of(first), hour_of(last) + HOUR) if first and last else None


def of(session: Session, span: HourSpan, server: str = "") -> list[MailHour]:
    """The figures of these hours, the first one first; of one server if it is named."""
    query = select(MailHour).where(MailHour.hour >= span.since, MailHour.hour < span.until)
    if server:
        query = query.where(MailHour.server == server)
    return list(session.scalars(query.order_by(*MailHour.__table__.primary_key)))


def servers(session: Session, since: datetime) -> list[str]:
    """The names of servers of which there are hours since then, in their order."""
    query = select(MailHour.server).where(MailHour.hour >= since, MailHour.server != "").distinct()
    return sorted(session.scalars(query))


def totals(session: Session) -> list[Any]:
    """All that was ever counted, added up: server, outcome, cause, phase, mails, ms, the numbers of BINS."""
    keys = MailHour.server, MailHour.outcome, MailHour.cause, MailHour.phase
    numbers = [func.sum(getattr(MailHour, name)) for name in ("mails", "ms", *BINS)]
    return list(session.execute(select(*keys, *numbers).group_by(*keys).order_by(*keys)))


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
