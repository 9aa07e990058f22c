"""Mails that are held: nobody sends one until somebody has released it, since it may have been sent already."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, null, or_, select, update
from sqlalchemy.orm import Session

from database.engine import changed
from database.outbox_db import IS_HELD, IS_WAITING, OutboxMail, Priority, State

_C: Final = OutboxMail
_IS_TRANSMITTING: Final = _C.state == State.TRANSMITTING
# As they were: a mail of unknown fate keeps that mark, and its server.
_AS_BEFORE: Final = case(
    (_C.pinned_to.is_not(None), State.UNCERTAIN),
    (_C.attempts > 0, State.DEFERRED),
    else_=State.QUEUED,
)
_HELD: Final = {
    "attempts": case((_C.state == State.LEASED, _C.attempts - 1), else_=_C.attempts),
    "lease_token": case((_C.state == State.LEASED, null()), else_=_C.lease_token),
    "lease_until": null(),
    "leased_by": null(),
    "state": State.HELD,
}


def hold_all(session: Session, reason: str, dead_before: datetime | None, again: Sequence[str] = ()) -> int:
    """Hold every mail that waits or that a worker has; how many. A worker that has not begun with one hears of it.

    Likewise what is held for a reason among ``again``, so that it waits for no less than the others.
    A mail that is being handed over is held if its lease ended before ``dead_before``, or in any case without that: its
    fate is unknown then. Its token stays, so that what is still told of it counts.
    """
    is_lost = _IS_TRANSMITTING if dead_before is None else _IS_TRANSMITTING & (_C.lease_until < dead_before)
    uncertain = case((_IS_TRANSMITTING, _C.uncertain + 1), else_=_C.uncertain)
    held = and_(IS_HELD, _C.reason.in_(again))
    values = {**_HELD, "uncertain": uncertain, "reason": reason}
    return _changed(session, or_(IS_WAITING, _C.state == State.LEASED, is_lost, held), values)


def hold_of(session: Session, account_id: int, reason: str, *, again: bool = False) -> int:
    """Hold what waits for this account, or that a worker has not begun with; how many. Its worker hears of it.

    ``again``: for this reason, too, what is held for another. As in ``hold_all``, what is still told of a mail of
    unknown fate counts.
    """
    waiting = or_(IS_WAITING, _C.state == State.LEASED, *([IS_HELD] if again else []))
    return _changed(session, and_(_C.account_id == account_id, waiting), {**_HELD, "reason": reason})


def held_for(session: Session, account_id: int, reason: str) -> list[str]:
    """The mails of this account that are held for this reason."""
    return list(session.scalars(select(_C.mail_id).where(IS_HELD, _C.account_id == account_id, _C.reason == reason)))


def expire_for(session: Session, reason: str, now: datetime) -> int:
    """Settle mails that are held for this reason and whose time is over; how many."""
    values = {"state": State.EXPIRED, "content": None, "settled_at": now}
    return _changed(session, and_(IS_HELD, _C.reason == reason, _C.expires_at <= now), values)


def being_sent(session: Session) -> int:
    """How many mails are being handed over just now."""
    return session.scalar(select(func.count()).where(_IS_TRANSMITTING)) or 0


def count(session: Session, but: Sequence[str]) -> int:
    """How many are held, but for those that are so for these reasons."""
    return session.scalar(select(func.count()).select_from(_C).where(_held(None, but))) or 0


def held_among(session: Session, mail_ids: Sequence[str]) -> set[str]:
    """Those of these mails that are held; nobody else changes them until the transaction ends."""
    return set(session.scalars(select(_C.mail_id).where(_held(mail_ids)).with_for_update()))


def expire(
    session: Session, mail_ids: Sequence[str] | None, now: datetime, reason: str, but: Sequence[str] = ()
) -> int:
    """Settle held mails, or those of them with these ids, whose time is over; how many.

    Here and below: but for those that are held for the reasons in ``but``.
    """
    content = case((_C.priority == Priority.SECURITY, null()), else_=_C.content)  # a link must not lie around
    values = {"state": State.EXPIRED, "content": content, "settled_at": now, "reason": reason}
    return _changed(session, _held(mail_ids, but) & (_C.expires_at <= now), values)


def release(session: Session, mail_ids: Sequence[str] | None, but: Sequence[str] = ()) -> int:
    """Let held mails, or those of them with these ids, wait again as before; how many."""
    return _changed(session, _held(mail_ids, but), {"state": _AS_BEFORE, "reason": "", "lease_token": null()})


def cancel(session: Session, now: datetime, reason: str, but: Sequence[str] = ()) -> int:
    """Withdraw every held mail; how many."""
    values = {"state": State.CANCELLED, "settled_at": now, "content": None, "reason": reason}
    return _changed(session, _held(None, but), values)


def _held(mail_ids: Sequence[str] | None, but: Sequence[str] = ()) -> ColumnElement[bool]:
    is_one = [] if mail_ids is None else [_C.mail_id.in_(mail_ids)]
    return and_(IS_HELD, *is_one, *([_C.reason.not_in(but)] if but else []))


def _changed(session: Session, condition: ColumnElement[bool], values: dict[str, Any]) -> int:
    change = update(_C).where(condition).values(**values).execution_options(synchronize_session=False)
    return changed(session, change)
