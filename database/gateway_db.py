"""The ``gateway_…`` tables: who has used the submission gateway and how that went, and which gateways run."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.api_token_db import ApiToken
from database.driver import borrowed
from database.engine import Base, compared_and_set
from database.prepared import Prepared
from database.types import UtcDateTime
from database.user_db import Account

LONGEST_WHO: Final = 64
LONGEST_PEER: Final = 45  # characters of an IPv6 address
LONGEST_EHLO: Final = 255
LONGEST_WORDS: Final = 500
_EMPTY = text("''")


class GatewayUse(Base):
    """What one sender has done at the gateway: a token, a trusted network, or an account whose sign-in was refused.

    ``who`` is its key, as ``services/gateway/uses.py`` writes it. ``used_at`` is when it last signed in or handed over
    a mail, from ``address``, as ``ehlo``. ``mails`` were taken, the first and the last of them by these ids;
    ``refusal`` is the last reply that refused it, with its code.
    """

    __tablename__ = "gateway_use"

    who: Mapped[str] = mapped_column(String(LONGEST_WHO), primary_key=True)
    token_id: Mapped[int | None] = mapped_column(ForeignKey("api_token.id", ondelete="CASCADE"), unique=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), unique=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    address: Mapped[str] = mapped_column(String(LONGEST_PEER), default="", server_default=_EMPTY)
    ehlo: Mapped[str] = mapped_column(String(LONGEST_EHLO), default="", server_default=_EMPTY)
    mails: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    first_mail_id: Mapped[str | None] = mapped_column(String(32))
    first_mail_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_mail_id: Mapped[str | None] = mapped_column(String(32))
    last_mail_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refusal_code: Mapped[int | None]
    refusal: Mapped[str] = mapped_column(String(LONGEST_WORDS), default="", server_default=_EMPTY)


class GatewayChoice(Base):
    """What an account chose for mail whose From it may not use; without a row it is refused."""

    __tablename__ = "gateway_choice"

    account_id: Mapped[int] = mapped_column(
        ForeignKey("account.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    foreign_from: Mapped[str] = mapped_column(String(8))


class GatewayProcess(Base):
    """A gateway that runs, or ran until ``at``: where it listens, and what about that somebody has to mend."""

    __tablename__ = "gateway_process"

    process_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    listens: Mapped[str] = mapped_column(Text, default="", server_default=_EMPTY)
    trouble: Mapped[str] = mapped_column(String(LONGEST_WORDS), default="", server_default=_EMPTY)


_USE: Final = cast(Table, GatewayUse.__table__)
_THERE: Final = {
    "used_at": bindparam("at", type_=UtcDateTime()),
    "address": bindparam("address", type_=String()),
    "ehlo": bindparam("ehlo", type_=String()),
}
_THIS: Final = update(_USE).where(_USE.c.who == bindparam("key", type_=String())).returning(_USE.c.who)
_BEEN: Final = Prepared(_THIS.values(_THERE), [_USE.c.who])
_CAME: Final = Prepared(
    _THIS.values(
        _THERE
        | {
            "mails": _USE.c.mails + bindparam("added", type_=BigInteger()),
            "first_mail_id": func.coalesce(_USE.c.first_mail_id, bindparam("first", type_=String())),
            "first_mail_at": func.coalesce(_USE.c.first_mail_at, bindparam("at", type_=UtcDateTime())),
            "last_mail_id": bindparam("last", type_=String()),
            "last_mail_at": bindparam("at", type_=UtcDateTime()),
        }
    ),
    [_USE.c.who],
)


def of_tokens(session: Session, token_ids: Collection[int]) -> list[GatewayUse]:
    """What is known of these tokens; those that were never shown to a gateway are missing."""
    return list(session.scalars(select(GatewayUse).where(GatewayUse.token_id.in_(token_ids)))) if token_ids else []


def of_account(session: Session, account_id: int) -> GatewayUse | None:
    """The account's refused sign-ins, if there were any."""
    return session.scalars(select(GatewayUse).where(GatewayUse.account_id == account_id)).one_or_none()


def of_networks(session: Session) -> list[GatewayUse]:
    """Trusted networks that have sent, the one that was there last first."""
    is_network = GatewayUse.token_id.is_(None), GatewayUse.account_id.is_(None)
    return list(session.scalars(select(GatewayUse).where(*is_network).order_by(GatewayUse.used_at.desc())))


def add_missing(session: Session, row: GatewayUse) -> None:
    """Add a row for a sender that has none; not for a token or an account that is gone."""
    if not _is_there(session, row):
        return
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was faster, or whoever it is of has just been deleted
        return


def note_use(session: Session, who: str, at: datetime, place: Mapping[str, str], mail_ids: Sequence[str]) -> bool:
    """Write down that a sender was there, from which address and as whom, with mails that this transaction takes.

    False for one without a row.
    """
    values = {"key": who, "at": at, **place}
    with borrowed(session.connection()) as driver:
        if not mail_ids:
            return bool(_BEEN.rows(driver, values))
        mails = {"first": mail_ids[0], "last": mail_ids[-1], "added": len(mail_ids)}
        return bool(_CAME.rows(driver, values | mails))


def note_refusal(session: Session, who: str, at: datetime, code: int, words: str) -> None:
    """Keep the reply that has refused a sender; the one before it goes."""
    _note(session, who, refused_at=at, refusal_code=code, refusal=words[:LONGEST_WORDS])


def choice(session: Session, account_id: int) -> str | None:
    """What the account chose, if it did."""
    return session.scalar(select(GatewayChoice.foreign_from).where(GatewayChoice.account_id == account_id))


def choose(session: Session, account_id: int, foreign_from: str) -> None:
    session.merge(GatewayChoice(account_id=account_id, foreign_from=foreign_from))


def beat(session: Session, process: GatewayProcess) -> None:
    """Note that a gateway runs, and where it listens."""
    session.merge(process)


def end(session: Session, process_id: str) -> None:
    session.execute(delete(GatewayProcess).where(GatewayProcess.process_id == process_id))


def forget_processes(session: Session, before: datetime, after: datetime) -> None:
    """Drop those whose last sign of life is older, or lies ahead since a clock was set."""
    gone = or_(GatewayProcess.at < before, GatewayProcess.at > after)
    session.execute(delete(GatewayProcess).where(gone))


def processes(session: Session) -> list[GatewayProcess]:
    return list(session.scalars(select(GatewayProcess).order_by(GatewayProcess.started_at)))


def _note(session: Session, who: str, **values: object) -> bool:
    return compared_and_set(session, update(GatewayUse).where(GatewayUse.who == who).values(**values))


def _is_there(session: Session, row: GatewayUse) -> bool:
    def has(wanted: ColumnElement[bool]) -> bool:
        return session.scalar(select(func.count()).where(wanted)) == 1

    if row.token_id is not None:
        return has(ApiToken.id == row.token_id)
    return row.account_id is None or has(Account.id == row.account_id)
