"""Accounts beside their own servers, and what became of their mail: for who oversees them. No table of its own."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from database.attempt_db import EmailAttempt
from database.smtp_db import SmtpConfig
from database.user_db import Account

_ACCEPTED = EmailAttempt.outcome == "accepted"
# What keeps an account in the list: a server, or something that an administrator has decided about it.
_IS_OVERSEEN: ColumnElement[bool] = or_(
    SmtpConfig.id.is_not(None),
    Account.personal_smtp != "own",
    Account.emails_per_minute.is_not(None),
    Account.emails_per_day.is_not(None),
)
_IS_BROKEN: ColumnElement[bool] = and_(
    SmtpConfig.id.is_not(None),
    or_(SmtpConfig.last_error.is_not(None), SmtpConfig.broken_told_at.is_not(None), ~SmtpConfig.is_active),
)
_JOINED: Any = select(Account, SmtpConfig).outerjoin(SmtpConfig, SmtpConfig.account_id == Account.id)
_SHOWN = {"servers": _IS_OVERSEEN, "broken": _IS_BROKEN, "decided": Account.personal_smtp != "own"}


class Taken(NamedTuple):
    """The mails of an account that one server took: the last one's moment, and how many there were lately."""

    account_id: int
    config_id: int | None
    last: datetime
    lately: int


def find(session: Session, account_id: int) -> tuple[Account, SmtpConfig | None] | None:
    """An account with its server."""
    row = session.execute(_JOINED.where(Account.id == account_id)).first()
    return (row[0], row[1]) if row else None


def lock(session: Session, account_id: int) -> SmtpConfig | None:
    """The own server of an account, held until the transaction ends."""
    query = select(SmtpConfig).where(SmtpConfig.account_id == account_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).first()


def search(
    session: Session, *, shown: str, text: str, key: str, after: str, limit: int
) -> list[tuple[Account, SmtpConfig | None]]:
    """Accounts by user name, behind ``after``, with this text in user name, address, host or From.

    ``shown`` is servers, broken, decided or anything else for every account; ``key`` is the text as names compare.
    """
    query = _JOINED.order_by(Account.username_key).limit(limit)
    if shown in _SHOWN:
        query = query.where(_SHOWN[shown])
    if text:
        names = (Account.username_key, Account.email_key)
        found = [column.contains(key, autoescape=True) for column in names]
        found += [column.icontains(text, autoescape=True) for column in (SmtpConfig.smtp_server, SmtpConfig.from_email)]
        query = query.where(or_(*found))
    if after:
        query = query.where(Account.username_key > after)
    return [(account, row) for account, row in session.execute(query)]


def taken(session: Session, account_ids: Sequence[int], *, since: datetime, lately: datetime) -> list[Taken]:
    """What was taken since ``since``, by account and server, and how much of it from ``lately`` on."""
    recent = func.sum(case((EmailAttempt.started_at >= lately, 1), else_=0))
    query = (
        select(EmailAttempt.account_id, EmailAttempt.config_id, func.max(EmailAttempt.started_at), recent)
        .where(EmailAttempt.started_at >= since, EmailAttempt.account_id.in_(account_ids), _ACCEPTED)
        .group_by(EmailAttempt.account_id, EmailAttempt.config_id)
    )
    return [Taken(*row) for row in session.execute(query)]
