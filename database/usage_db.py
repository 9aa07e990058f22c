"""What an account has sent, counted by day and within its limits; each query by the index of its account."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, String, case, distinct, false, func, select
from sqlalchemy.orm import Session

from database.attempt_db import EmailAttempt
from database.outbox_db import IS_SETTLED, IS_WAITING, OutboxMail, Priority, State

_GIVEN_UP = (State.FAILED, State.EXPIRED)


class Sent(NamedTuple):
    """How many mails servers took on a day, in UTC, and how many of them others than the account's own server."""

    day: str
    mails: int
    by_others: int


class WaitingBulk(NamedTuple):
    """How many mails, and what their content has in octets."""

    mails: int
    octets: int


def sent(session: Session, account_id: int, since: datetime, own_name: str, own_since: datetime | None) -> list[Sent]:
    """By day. ``own_name`` is what the account's own server is called, which it has had since then."""
    day = _day(session, EmailAttempt.started_at)
    is_own = EmailAttempt.server.like(f"{own_name} (%")
    is_after = EmailAttempt.started_at >= own_since if own_since else false()
    by_others = func.sum(case((is_own, 0), (is_after, 1), else_=0))
    query = select(day, func.count(), by_others).where(*_theirs(account_id, since), EmailAttempt.outcome == "accepted")
    return [Sent(*row) for row in session.execute(query.group_by(day))]


def failed(session: Session, account_id: int, since: datetime) -> dict[str, int]:
    """How many mails were given up, by the day on which that was: queued ones, and direct ones that nobody took."""
    day = _day(session, OutboxMail.settled_at)
    # As such a moment it leads into no index, with the mail of everybody: the account does.
    settled_at = func.coalesce(OutboxMail.settled_at, OutboxMail.created_at)
    given_up = OutboxMail.account_id == account_id, IS_SETTLED, OutboxMail.state.in_(_GIVEN_UP), settled_at >= since
    found = dict[str, int](session.execute(select(day, func.count()).where(*given_up).group_by(day)).all())
    is_taken = func.max(case((EmailAttempt.outcome.in_(("accepted", "suppressed")), 1), else_=0))
    tried = select(func.min(EmailAttempt.started_at).label("at")).where(
        *_theirs(account_id, since), EmailAttempt.mail_id.is_(None)
    )
    direct = tried.group_by(EmailAttempt.message_id).having(is_taken == 0).subquery()
    when = _day(session, direct.c.at)
    for moment, count in session.execute(select(when, func.count()).group_by(when)):
        found[moment] = found.get(moment, 0) + count
    return found


def tried(session: Session, account_id: int, since: datetime, not_counted: Sequence[str], own_name: str = "") -> int:
    """How many mails were tried at a server since then; with a name only those that were tried at another."""
    others = [~EmailAttempt.server.like(f"{own_name} (%")] if own_name else []
    query = select(func.count(distinct(EmailAttempt.message_id))).where(
        *_theirs(account_id, since), EmailAttempt.outcome.not_in(not_counted), *others
    )
    return session.scalar(query) or 0


def waiting(session: Session, account_id: int, most: int | None) -> WaitingBulk:
    """An account's mails that wait, counted no further than ``most``."""
    # The length is known without the content, which is not read. The priorities lead into the index.
    size = func.length(OutboxMail.content).label("size")
    theirs = select(size).where(IS_WAITING, OutboxMail.priority.in_(Priority), OutboxMail.account_id == account_id)
    found = theirs.limit(most).subquery()
    mails, octets = session.execute(select(func.count(), func.sum(found.c.size)).select_from(found)).one()
    return WaitingBulk(mails, octets or 0)


def _theirs(account_id: int, since: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return EmailAttempt.account_id == account_id, EmailAttempt.started_at >= since


def _day(session: Session, moment: Any) -> ColumnElement[str]:  # noqa: ANN401 - a column of any query
    """The day of a moment in UTC, like 2026-11-28."""
    if session.get_bind().dialect.name == "sqlite":  # which keeps it as a text in UTC
        return func.substr(moment, 1, 10, type_=String)
    return cast(ColumnElement[str], func.to_char(func.timezone("UTC", moment), "YYYY-MM-DD"))
