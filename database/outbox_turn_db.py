"""Whose mail is due: the accounts that wait for their turn, and those that rest, since none of their mail can go."""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    ScalarSelect,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    literal_column,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.driver import Driver
from database.engine import Base
from database.outbox_db import IN_TURNS, IS_IN_HAND, IS_URGENT, IS_WAITING, OutboxMail, Priority, literally
from database.prepared import Prepared
from database.smtp_db import ACTIVE_IN_SCOPE, SmtpConfig
from database.types import UtcDateTime


def _literal(most: int) -> ColumnElement[int]:
    """A limit: where PostgreSQL does not know the number it plans for a tenth of all rows, or anew each time."""
    return literal_column(str(most), Integer)


ONE: Final = _literal(1)
_MAIL: Final = cast(Table, OutboxMail.__table__)
_C: Final = _MAIL.c


class OutboxRest(Base):
    """An account whose mail is not claimed until then; ``reason`` is a code, as a mail's.

    One row for all of its mails, however many wait: they would all have to be put off one by one.
    """

    __tablename__ = "outbox_rest"

    account_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    until: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(Text)


def is_taken(account: ColumnElement[int], now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether the account has a server of its own, and a worker that lives has a group of its mail.

    Such a server may say nothing for minutes after it has got a mail; so it holds one worker, and not every one.
    """
    mail = _MAIL.alias()
    in_hand = exists().where(IS_IN_HAND, mail.c.account_id == account, mail.c.lease_until > now)
    return and_(in_hand, has_own_server(account))


def has_own_server(account: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the account has one that it uses."""
    return exists().where(ACTIVE_IN_SCOPE, SmtpConfig.account_id == account)


def _in_order(mail: FromClause) -> tuple[ColumnElement[Any], ...]:
    """The order of the index by account, named whole: else PostgreSQL takes another, with all that was ever sent."""
    return mail.c.account_id, mail.c.due_at, mail.c.id


def _first_due(*where: ColumnElement[bool], is_urgent: bool = False) -> Select[datetime]:
    """When the first of these mails is due."""
    if is_urgent:
        return select(_C.due_at).where(IS_WAITING, IS_URGENT).order_by(_C.due_at).limit(ONE)
    return select(_C.due_at).where(IS_WAITING, *where).order_by(*_in_order(_MAIL)).limit(ONE)


def _next_account(priority: object, after: object) -> ScalarSelect[int | None]:
    """The first account behind this one that has a mail waiting: one seek in the index, however many mails it has."""
    mail = _MAIL.alias()
    waiting = select(mail.c.account_id).where(IS_WAITING, mail.c.priority == priority, mail.c.account_id > after)
    return waiting.order_by(*_in_order(mail)).limit(ONE).scalar_subquery()


def _accounts(priority: object, after: object) -> CTE:
    """Every account behind this one that has a mail waiting, found one by the other."""
    walk = select(_next_account(priority, after).label("account")).cte("walk", recursive=True)
    return walk.union_all(select(_next_account(priority, walk.c.account)).where(walk.c.account.is_not(None)))


_NOW: Final = bindparam("now", type_=_C.due_at.type)


def _walked(priority: Priority) -> CTE:
    return _accounts(literally(priority), bindparam("after", type_=Integer))


def _first_of(priority: Priority, walk: CTE) -> ScalarSelect[datetime]:
    """When the first mail of an account that was found is due."""
    return _first_due(_C.priority == literally(priority), _C.account_id == walk.c.account).scalar_subquery()


@cache
def _due_accounts_of(priority: Priority, most: int) -> Prepared:
    walk = _walked(priority)
    rests = exists().where(OutboxRest.account_id == walk.c.account, OutboxRest.until > _NOW)
    due = select(walk.c.account).where(walk.c.account.is_not(None), _first_of(priority, walk) <= _NOW, ~rests)
    return Prepared(due.where(~is_taken(walk.c.account, _NOW)).limit(_literal(most)), [_C.account_id])


@cache
def _waiting_accounts_of(priority: Priority, most: int) -> Prepared:
    walk = _walked(priority)
    return Prepared(select(walk.c.account).where(walk.c.account.is_not(None)).limit(_literal(most)), [_C.account_id])


def due_accounts(driver: Driver, priority: Priority, *, after: int, most: int, now: datetime) -> list[int]:
    """The next accounts behind ``after`` with mail of this priority that is due and that may be claimed just now.

    ``most`` is one of few numbers: for each there is a statement.
    """
    return sorted(row[0] for row in _due_accounts_of(priority, most).rows(driver, {"after": after, "now": now}))


def has_more_than(driver: Driver, priority: Priority, few: int) -> bool:
    """Whether mail of more accounts than that waits, due or not."""
    return len(_waiting_accounts_of(priority, few + 1).rows(driver, {"after": 0})) > few


def oldest_due(session: Session, moment: datetime) -> datetime | None:
    """When the mail was due that has waited longest to be claimed; None if none waits beyond its time.

    While an account rests, or a worker has a group of its mail for its own server, the others are not due.
    """
    return min(oldest_dues(session, moment).values(), default=None)


def oldest_dues(session: Session, moment: datetime) -> dict[Priority, datetime]:
    """The same of each priority that has any."""
    found = {Priority.SECURITY: [session.scalar(_first_urgent())]}
    found |= {priority: _first_dues(session, priority, moment) for priority in IN_TURNS}
    dues = {priority: [due for due in each if due and due <= moment] for priority, each in found.items()}
    return {priority: min(each) for priority, each in dues.items() if each}


def _first_dues(session: Session, priority: Priority, moment: datetime) -> list[datetime | None]:
    """When the first mail of the system, and of each account, is due."""
    system = session.scalar(_first_of_system(priority))
    theirs = session.execute(_first_of_accounts(priority), {"after": 0, "now": moment})
    return [system, *(max(due, until) if until else due for due, until in theirs)]


# Built once, and no sooner than somebody asks: to build the last takes longer than the database does.
@cache
def _first_urgent() -> Select[datetime]:
    return _first_due(is_urgent=True)


@cache
def _first_of_system(priority: Priority) -> Select[datetime]:
    return _first_due(_C.priority == literally(priority), _C.account_id.is_(None))


@cache
def _first_of_accounts(priority: Priority) -> Select[datetime, datetime | None]:
    walk = _walked(priority)
    return (
        select(_first_of(priority, walk), OutboxRest.until)
        .select_from(walk)
        .outerjoin(OutboxRest, OutboxRest.account_id == walk.c.account)
        .where(walk.c.account.is_not(None), ~is_taken(walk.c.account, _NOW))
    )


def rest(session: Session, account_id: int, until: datetime, reason: str) -> None:
    """Let no mail of the account be claimed until then."""
    # On PostgreSQL, of two processes that say so at once one fails: its caller lets it be.
    session.merge(OutboxRest(account_id=account_id, until=until, reason=reason))


def end_rest(session: Session, account_id: int) -> None:
    session.execute(delete(OutboxRest).where(OutboxRest.account_id == account_id))


def end_rests(session: Session) -> None:
    session.execute(delete(OutboxRest))


def resting(session: Session, account_ids: Collection[int], now: datetime) -> list[OutboxRest]:
    """The rests of these accounts that are not over."""
    query = select(OutboxRest).where(OutboxRest.account_id.in_(account_ids), OutboxRest.until > now)
    return list(session.scalars(query)) if account_ids else []


def forget_rests(session: Session, moment: datetime) -> None:
    """Delete what is over since then."""
    session.execute(delete(OutboxRest).where(OutboxRest.until < moment))
