"""What the rules of alerts ask about mail: bounded questions, whatever there is of it."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import String, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from database.attempt_db import EmailAttempt
from database.smtp_db import SmtpConfig

_MOST = 20_000  # attempts that are looked at
_TRIED = ("accepted", "temporary", "permanent", "misconfigured", "unknown")
_REFUSING = ("permanent", "misconfigured")  # if the server has answered so


class Refusals(NamedTuple):
    """How many of the attempts met a refusal for good, be it of one recipient."""

    refused: int
    attempts: int


def refusals(session: Session, since: datetime) -> Refusals:
    """Of the newest attempts since then, but for those through servers of accounts, which are their matter."""
    personal = select(SmtpConfig.id).where(SmtpConfig.account_id.is_not(None))
    newest = (
        select(EmailAttempt.outcome, EmailAttempt.code, cast(EmailAttempt.refused, String).label("refused"))
        .where(
            EmailAttempt.started_at > since,
            EmailAttempt.outcome.in_(_TRIED),
            or_(EmailAttempt.config_id.is_(None), EmailAttempt.config_id.not_in(personal)),
        )
        .order_by(EmailAttempt.started_at.desc())
        .limit(_MOST)
        .subquery()
    )
    is_refusal = or_(
        and_(newest.c.outcome.in_(_REFUSING), newest.c.code.is_not(None)),
        and_(newest.c.outcome == "accepted", newest.c.refused != "[]"),
    )
    counted = select(func.coalesce(func.sum(case((is_refusal, 1), else_=0)), 0), func.count()).select_from(newest)
    return Refusals(*session.execute(counted).one())


def has_accepted(session: Session, since: datetime) -> bool:
    """Whether any email was accepted since then."""
    found = select(EmailAttempt.id).where(EmailAttempt.started_at > since, EmailAttempt.outcome == "accepted")
    return session.scalar(found.limit(1)) is not None
