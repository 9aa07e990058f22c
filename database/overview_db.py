"""What the start page asks about mail: bounded questions, however much of it there is."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from database.attempt_db import EmailAttempt
from database.mail_hour_db import HOUR, HourSpan, MailHour
from database.outbox_db import IS_WAITING, OF_ANY_PRIORITY, OutboxMail, State


class HourSum(NamedTuple):
    """How many attempts of an hour came to the same for the same cause, at all servers together."""

    hour: datetime
    outcome: str
    cause: str
    mails: int


class AttemptEnd(NamedTuple):
    """What an attempt of the log came to."""

    started_at: datetime
    outcome: str
    cause: str


class WaitingMail(NamedTuple):
    """How many mails wait, how many of them are uncertain, and when the oldest was queued."""

    mails: int
    uncertain: int
    oldest: datetime | None


def sums(session: Session, span: HourSpan) -> list[HourSum]:
    """What was counted of these hours."""
    keys = MailHour.hour, MailHour.outcome, MailHour.cause
    found = select(*keys, func.sum(MailHour.mails)).where(MailHour.hour >= span.since, MailHour.hour < span.until)
    return [HourSum(*row[:3], int(row[3])) for row in session.execute(found.group_by(*keys))]


def last_attempt(session: Session) -> datetime | None:
    """When the newest attempt of the log began."""
    return session.scalar(select(func.max(EmailAttempt.started_at)))


def ends_of(session: Session, span: HourSpan, most: int) -> list[AttemptEnd]:
    """What the attempts of these hours came to, at most so many of them."""
    columns = EmailAttempt.started_at, EmailAttempt.outcome, EmailAttempt.reason
    found = select(*columns).where(EmailAttempt.started_at >= span.since, EmailAttempt.started_at < span.until)
    return [AttemptEnd(*row) for row in session.execute(found.limit(most))]


def failures_among_newest(session: Session, most: int) -> dict[str, int]:
    """Of the causes among so many of the newest attempts, the number of the last attempt that failed for each."""
    newest = select(EmailAttempt.id, EmailAttempt.reason).order_by(EmailAttempt.id.desc()).limit(most).subquery()
    found = select(newest.c.reason, func.max(newest.c.id)).where(newest.c.reason != "").group_by(newest.c.reason)
    return {row[0]: row[1] for row in session.execute(found)}


def failure_within(session: Session, hour: datetime, cause: str, most: int) -> int | None:
    """The number of an attempt of this hour that failed for this cause, if there is one among so many."""
    of_hour = (
        select(EmailAttempt.id, EmailAttempt.reason)
        .where(EmailAttempt.started_at >= hour, EmailAttempt.started_at < hour + HOUR)
        .limit(most)
        .subquery()
    )
    return session.scalar(select(of_hour.c.id).where(of_hour.c.reason == cause).limit(1))


def attempts_of(session: Session, numbers: Sequence[int]) -> list[EmailAttempt]:
    """These attempts."""
    return list(session.scalars(select(EmailAttempt).where(EmailAttempt.id.in_(numbers)))) if numbers else []


def waiting(session: Session) -> WaitingMail:
    """All mail that waits, whichever server it waits for; by an index, and one row."""
    uncertain = func.count(case((OutboxMail.state == State.UNCERTAIN, 1)))
    counted = select(func.count(), uncertain, func.min(OutboxMail.id)).where(IS_WAITING, OF_ANY_PRIORITY)
    mails, unknown, first = session.execute(counted).one()
    oldest = session.scalar(select(OutboxMail.created_at).where(OutboxMail.id == first)) if first else None
    return WaitingMail(mails - unknown, unknown, oldest)
