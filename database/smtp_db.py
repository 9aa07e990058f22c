"""The ``smtp_config`` table: stored mail servers, at most one of them active in a scope."""

from collections import namedtuple
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    String,
    Table,
    Text,
    and_,
    bindparam,
    func,
    or_,
    outerjoin,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from database import health_db
from database.driver import Driver
from database.engine import Base, compared_and_set
from database.health_db import Quiet
from database.prepared import Prepared
from database.types import UtcDateTime, partial_index
from database.user_db import Account

LONGEST_NAME_KEY = 400
LONGEST_UPDATED_BY = 64
ACTIVE_IN_SCOPE = text("is_active")
GLOBAL_CHANGES = 7_365_617  # an advisory lock's number, one beside the migrations' own
_GLOBAL = text("account_id IS NULL")
_ACTIVE_GLOBAL = text("is_active AND account_id IS NULL")


class SmtpConfig(Base):
    """A mail server as an administrator entered it. ``account_id`` is null for the global scope.

    ``smtp_password`` is a Fernet token under the key that ``key_id`` names, or "" without a login; ``client_key`` is
    one of the key that belongs to ``client_certificate``. ``binding_mac`` ties both to everything that is said to a
    server or shown to a reader, so that nothing of it can be exchanged behind our back.
    ``verified_at`` and what follows it are observations and change no ``version``.
    """

    __tablename__ = "smtp_config"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    # By which two spellings of a name are the same; the default is for rows from before it.
    name_key: Mapped[str] = mapped_column(String(LONGEST_NAME_KEY), server_default=text("''"))
    smtp_server: Mapped[str] = mapped_column(String(255))
    smtp_port: Mapped[int]
    smtp_username: Mapped[str] = mapped_column(String(255), default="")
    smtp_password: Mapped[str] = mapped_column(Text, default="")
    from_email: Mapped[str] = mapped_column(String(255))
    from_name: Mapped[str] = mapped_column(String(255), default="")
    use_tls: Mapped[bool]
    use_ssl: Mapped[bool]
    is_active: Mapped[bool]
    active_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when it was switched off last, if it ever was
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(LONGEST_UPDATED_BY), default="")
    reply_to: Mapped[str] = mapped_column(String(255), default="")
    helo_hostname: Mapped[str] = mapped_column(String(255), default="")
    timeout_seconds: Mapped[int] = mapped_column(default=10)
    auth_method: Mapped[str] = mapped_column(String(16), default="")
    # The defaults are for rows from before them.
    client_certificate: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    client_key: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    emails_per_minute: Mapped[int | None]
    emails_per_day: Mapped[int | None]
    failover: Mapped[bool] = mapped_column(default=True)
    key_id: Mapped[str] = mapped_column(String(8))
    binding_mac: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)
    verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    verified_fingerprint: Mapped[str | None] = mapped_column(String(64))
    last_error: Mapped[str | None] = mapped_column(String(255))
    failed_over_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_over_to: Mapped[str | None] = mapped_column(String(320))
    failover_told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Of an account's own server: why it is switched off, as a code; how often mail went by the global one instead;
    # and since when its owner knows that it is broken.
    inactive_reason: Mapped[str] = mapped_column(String(32), default="", server_default=text("''"))
    fell_back: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    broken_told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # How often somebody agreed that we sign in by token; 0: not yet.
    oauth_consent: Mapped[int] = mapped_column(default=0, server_default=text("0"))

    __table_args__ = (
        CheckConstraint("NOT (use_tls AND use_ssl)", name="one_mode"),
        CheckConstraint("smtp_port BETWEEN 1 AND 65535", name="port_range"),
        partial_index("uq_smtp_config_name_key", "name_key", where=_GLOBAL, unique=True),
        # Two plain partial indexes: an expression index would be lost in SQLite's batch migrations.
        partial_index("uq_smtp_config_active_in_scope", "account_id", where=ACTIVE_IN_SCOPE, unique=True),
        partial_index("uq_smtp_config_active_global", "is_active", where=_ACTIVE_GLOBAL, unique=True),
    )


_ACTIVE = SmtpConfig.is_active, SmtpConfig.account_id.is_not_distinct_from(bindparam("account_id"))
_TABLE = cast(Table, SmtpConfig.__table__)
_WITH_HEALTH: Final = and_(health_db.TABLE.c.config_id == _TABLE.c.id, health_db.IS_QUIET)
_COLUMNS: Final = (*_TABLE.c, *health_db.QUIET)
_ACTIVE_VALUES = Prepared(
    select(*_COLUMNS).select_from(outerjoin(_TABLE, health_db.TABLE, _WITH_HEALTH)).where(*_ACTIVE),
    list(_COLUMNS),
    keeps=True,
)
_Values = namedtuple("_Values", _TABLE.c.keys())  # type: ignore[misc]
_WHO: Final = tuple(
    cast(Table, Account.__table__).c[name] for name in ("username", "email", "is_admin", "disabled_at", "personal_smtp")
)
_OWN_VALUES: Final = Prepared(
    select(*_WHO, *_COLUMNS)
    .select_from(outerjoin(Account, _TABLE, _TABLE.c.account_id == Account.id).outerjoin(health_db.TABLE, _WITH_HEALTH))
    .where(Account.id == bindparam("account"))
    .order_by(_TABLE.c.is_active.desc(), _TABLE.c.id)
    .limit(1),
    [*_WHO, *_COLUMNS],
)


class MailOwner(NamedTuple):
    """What a mail's route asks of the account that it is sent for, and the server that is its own, if it has one."""

    username: str
    email: str
    is_admin: bool
    disabled_at: datetime | None
    personal_smtp: str
    server: SmtpConfig | None
    quiet: Quiet


def read_active(driver: Driver, account_id: int | None = None) -> tuple[SmtpConfig, Quiet] | None:
    """The active configuration of a scope as values alone, at a fraction of the cost of an object; for every mail.

    With it whether it is known to work.
    """
    rows = _ACTIVE_VALUES.rows(driver, {"account_id": account_id})
    return _apart(rows[0]) if rows else None


def read_owner(driver: Driver, account_id: int) -> MailOwner | None:
    """An account with its own server, active or not, as values alone; in one question, for every mail of an account."""
    rows = _OWN_VALUES.rows(driver, {"account": account_id})
    if not rows:
        return None
    who, values = rows[0][: len(_WHO)], rows[0][len(_WHO) :]
    server, quiet = _apart(values) if values[0] is not None else (None, Quiet())
    return MailOwner(*cast(tuple[str, str, bool, datetime | None, str], who), server, quiet)


def _apart(values: tuple[Any, ...]) -> tuple[SmtpConfig, Quiet]:
    columns = len(_TABLE.c)
    return cast(SmtpConfig, _Values(*values[:columns])), Quiet(*values[columns:])


def find_active(session: Session, account_id: int | None = None) -> SmtpConfig | None:
    """The active configuration of a scope, if there is one."""
    return session.scalars(select(SmtpConfig).where(*_ACTIVE), {"account_id": account_id}).one_or_none()


def find(session: Session, config_id: int) -> SmtpConfig | None:
    return session.get(SmtpConfig, config_id)


def hold(session: Session, config_id: int) -> bool:
    """Keep a configuration there until the transaction's end; whether it still is."""
    held = select(SmtpConfig.id).where(SmtpConfig.id == config_id).with_for_update()
    return session.scalar(held) is not None


def find_own(session: Session, account_id: int) -> SmtpConfig | None:
    """The server that an account has brought, active or not."""
    own = select(SmtpConfig).where(SmtpConfig.account_id == account_id).order_by(SmtpConfig.id).limit(1)
    return session.scalars(own).one_or_none()


def connected_own(session: Session) -> list[SmtpConfig]:
    """The servers of accounts that somebody has connected, by id."""
    query = select(SmtpConfig).where(SmtpConfig.account_id.is_not(None), SmtpConfig.oauth_consent > 0)
    return list(session.scalars(query.order_by(SmtpConfig.id)))


def find_by_name(session: Session, name_key: str) -> SmtpConfig | None:
    """The global configuration whose name compares as ``name_key``."""
    named = select(SmtpConfig).where(SmtpConfig.account_id.is_(None), SmtpConfig.name_key == name_key)
    return session.scalars(named).one_or_none()


def find_active_last(session: Session) -> SmtpConfig | None:
    """The global configuration that was switched off last; none that never was active."""
    was_active = SmtpConfig.account_id.is_(None), SmtpConfig.active_until.is_not(None)
    newest = SmtpConfig.active_until.desc(), SmtpConfig.id.desc()
    return session.scalars(select(SmtpConfig).where(*was_active).order_by(*newest).limit(1)).first()


def has_global(session: Session) -> bool:
    """Whether there is a global configuration."""
    return session.scalar(select(SmtpConfig.id).where(SmtpConfig.account_id.is_(None)).limit(1)) is not None


def search(session: Session, text_: str, name_key: str) -> list[SmtpConfig]:
    """The global configurations with this text in host, user name or (as ``name_key``) name; the active one first."""
    query = select(SmtpConfig).where(SmtpConfig.account_id.is_(None))
    if text_:
        columns = (SmtpConfig.smtp_server, SmtpConfig.smtp_username)
        in_name = SmtpConfig.name_key.contains(name_key, autoescape=True)
        query = query.where(or_(in_name, *(column.icontains(text_, autoescape=True) for column in columns)))
    return list(session.scalars(query.order_by(SmtpConfig.is_active.desc(), SmtpConfig.name_key)))


def count_of(session: Session, account_id: int) -> int:
    """How many servers are an account's own."""
    query = select(func.count()).select_from(SmtpConfig).where(SmtpConfig.account_id == account_id)
    return session.scalar(query) or 0


def lock_global(session: Session) -> None:
    """Let changes to global configurations wait for each other until the transaction's end, additions included.

    A row lock would not hold back a row that is just being added. SQLite has one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": GLOBAL_CHANGES})


def every(session: Session) -> list[SmtpConfig]:
    """All rows of all scopes, by id."""
    return list(session.scalars(select(SmtpConfig).order_by(SmtpConfig.id)))


def reseal(session: Session, row: SmtpConfig, **seal: str | None) -> bool:
    """Compare-and-set: put another seal on the row, if it is still the one that was read. Changes no version."""
    # The seal beside the version, which an observation or another rotation leaves as it is.
    as_read = (getattr(SmtpConfig, name).is_not_distinct_from(getattr(row, name)) for name in ("version", *seal))
    return compared_and_set(session, update(SmtpConfig).where(SmtpConfig.id == row.id, *as_read).values(**seal))


def note_verified(session: Session, config_id: int, fingerprint: str, moment: datetime) -> None:
    """Record a successful test of exactly these values."""
    _note(session, config_id, verified_at=moment, verified_fingerprint=fingerprint, last_error=None)


def take_mark(session: Session, config_id: int, marks: Collection[str]) -> None:
    """Forget that a test was passed, if the mark of it is still one of these."""
    _note(session, config_id, SmtpConfig.verified_fingerprint.in_(marks), verified_at=None, verified_fingerprint=None)


def note_error(session: Session, config_id: int, text_: str | None) -> None:
    """Record what went wrong last, or None when it works again."""
    _note(session, config_id, SmtpConfig.last_error.is_distinct_from(text_), last_error=text_)


def note_failover(session: Session, config_id: int, to: str, moment: datetime) -> None:
    """Record that mail went another way because this server was down."""
    _note(session, config_id, failed_over_at=moment, failed_over_to=to)


def clear_failover(session: Session, config_id: int) -> None:
    _note(session, config_id, failed_over_at=None, failed_over_to=None)


def count_falls(session: Session, config_id: int, times: int) -> None:
    """Record that so many more mails went by another server than this one, which is their account's own."""
    _note(session, config_id, fell_back=SmtpConfig.fell_back + times)


def claim_broken_notice(session: Session, config_id: int, moment: datetime, before: datetime) -> tuple[bool, bool]:
    """Whether it is news that this server is broken, and whether its owner is to be told by mail.

    That is so for one of all who meet it, and not again for what breaks and works in turns: since ``before`` no mail
    has told it.
    """
    if not _note(session, config_id, SmtpConfig.broken_told_at.is_(None), broken_told_at=moment):
        return False, False
    return True, claim_failover_notice(session, config_id, moment, before)


def claim_works_notice(session: Session, config_id: int) -> bool:
    """True for the one who may tell the owner that this server works again, whom a mail has told that it was broken."""
    is_broken = SmtpConfig.broken_told_at.is_not(None)
    was_mailed = SmtpConfig.broken_told_at == SmtpConfig.failover_told_at
    if _note(session, config_id, is_broken, was_mailed, broken_told_at=None):
        return True
    _note(session, config_id, is_broken, broken_told_at=None)
    return False


def claim_failover_notice(session: Session, config_id: int, moment: datetime, before: datetime) -> bool:
    """True for the one who may tell the administrators: nobody has since ``before``."""
    # Every process meets the server that is down, and one of them is to tell.
    told = or_(SmtpConfig.failover_told_at.is_(None), SmtpConfig.failover_told_at < before)
    return _note(session, config_id, told, failover_told_at=moment)


def _note(session: Session, config_id: int, *where: ColumnElement[bool], **values: object) -> bool:
    """Write an observation on a configuration; whether it is there, and as it had to be."""
    return compared_and_set(session, update(SmtpConfig).where(SmtpConfig.id == config_id, *where).values(**values))
