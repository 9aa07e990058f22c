"""Accounts and the one-time set-up codes that precede the first of them."""

import unicodedata
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, Select, String, and_, column, delete, or_, select, table, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime
from utils.numbers import LARGEST

SETUP_CODES_KEPT = 20
LONGEST_USERNAME_KEY = 128  # some letters are two once they are folded
LONGEST_EMAIL_KEY = 508


class Account(Base):
    """Somebody who signs in. The two keys are what names are compared by.

    ``password_hash`` is "" until somebody who was invited has chosen a password; whoever signs in at a provider needs
    none.
    """

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64))
    username_key: Mapped[str] = mapped_column(String(LONGEST_USERNAME_KEY), unique=True)
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(LONGEST_EMAIL_KEY), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False)
    session_epoch: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    password_changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    second_factor_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # null while there is none that counts
    second_factor_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # first, where the policy asks for one
    # What an administrator decided: "own", "disabled" (its server is not used), "global" (that one serves for it).
    personal_smtp: Mapped[str] = mapped_column(String(16), default="own", server_default="own")
    emails_per_minute: Mapped[int | None]  # null: as for everybody
    emails_per_day: Mapped[int | None]


IS_ENABLED: ColumnElement[bool] = Account.disabled_at.is_(None)
_IS_LINKED: ColumnElement[bool] = Account.id.in_(select(column("account_id")).select_from(table("account_identity")))
# Who was invited and has not come in yet, or is disabled, administrates nothing.
_ADMINISTRATES: ColumnElement[bool] = and_(Account.is_admin, IS_ENABLED, or_(Account.password_hash != "", _IS_LINKED))


class _OfAccount(Protocol):
    account_id: int


_Model = TypeVar("_Model", bound=_OfAccount)


def with_owner(model: type[_Model]) -> Select[_Model, Account]:
    """Rows that are an account's, each with that account."""
    return select(model, Account).join(Account, Account.id == model.account_id)


class SetupCode(Base):
    """A code that one start of the server printed; every one is good until there is an administrator."""

    __tablename__ = "setup_code"

    id: Mapped[int] = mapped_column(primary_key=True)
    code_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


def comparable(name: str) -> str:
    """The form in which two spellings of a name or an address are the same one."""
    # Else full-width letters, say, would make a second account that looks like the first.
    return unicodedata.normalize("NFKC", name).casefold()


def find(session: Session, account_id: int) -> Account | None:
    # PostgreSQL refuses to look for a larger one.
    return session.get(Account, account_id) if 0 < account_id <= LARGEST else None


def find_by_login(session: Session, key: str) -> Account | None:
    """The account with this user name or address. A user name holds no "@", so it is at most one."""
    query = select(Account).where(or_(Account.username_key == key, Account.email_key == key))
    return session.scalars(query).one_or_none()


def find_by_email(session: Session, key: str) -> Account | None:
    return session.scalars(select(Account).where(Account.email_key == key)).one_or_none()


def lock(session: Session, account_id: int) -> Account | None:
    """The account as it is now, held until the transaction ends (SQLite's writer holds everything)."""
    # Whoever held it before may have changed what this session has read of it.
    if not 0 < account_id <= LARGEST:
        return None
    return session.get(Account, account_id, with_for_update=True, populate_existing=True)


def every_account(session: Session, after: str = "", limit: int | None = None) -> list[Account]:
    behind = select(Account).where(Account.username_key > after) if after else select(Account)
    return list(session.scalars(behind.order_by(Account.username_key).limit(limit)))


def has_accounts(session: Session) -> bool:
    return session.scalar(select(Account.id).limit(1)) is not None


def has_administrator(session: Session) -> bool:
    """Whether anybody can act as administrator."""
    return session.scalar(select(Account.id).where(_ADMINISTRATES).limit(1)) is not None


def administrator_ids(session: Session) -> list[int]:
    return list(session.scalars(select(Account.id).where(_ADMINISTRATES).order_by(Account.id)))


def administrators_without_factor(session: Session) -> list[str]:
    """The names of those who can act as administrator and have no second factor, the first account first."""
    lacking = select(Account.username).where(_ADMINISTRATES, Account.second_factor_since.is_(None))
    return list(session.scalars(lacking.order_by(Account.id)))


def lock_administrators(session: Session) -> list[Account]:
    """Who can act as administrator, held until the transaction ends: of two who remove each other one waits here.

    PostgreSQL looks at a row again that it waited for, so whoever was removed meanwhile is not among them.
    """
    query = select(Account).where(_ADMINISTRATES).order_by(Account.id).with_for_update()
    return list(session.scalars(query.execution_options(populate_existing=True)))


def delete_account(session: Session, account_id: int) -> None:
    """Forget an account and, by the database's own rule, whatever belongs to it alone."""
    session.execute(delete(Account).where(Account.id == account_id))


def add_setup_code(session: Session, code_hash: str, moment: datetime) -> None:
    """Keep one more code, and of all of them only the newest."""
    session.add(SetupCode(code_hash=code_hash, created_at=moment))
    session.flush()
    kept = select(SetupCode.id).order_by(SetupCode.id.desc()).limit(SETUP_CODES_KEPT)
    session.execute(delete(SetupCode).where(SetupCode.id.not_in(kept.scalar_subquery())))


def has_setup_code_since(session: Session, moment: datetime) -> bool:
    """Whether a code was made since then. Until the transaction's end nobody else makes one."""
    if session.get_bind().dialect.name != "sqlite":  # where a writer has the file for itself
        session.execute(text("LOCK TABLE setup_code IN EXCLUSIVE MODE"))
    return session.scalar(select(SetupCode.id).where(SetupCode.created_at >= moment).limit(1)) is not None


def setup_code_hashes(session: Session) -> list[str]:
    return list(session.scalars(select(SetupCode.code_hash).order_by(SetupCode.id)))


def lock_setup_codes(session: Session) -> list[str]:
    """The hashes of all codes, their rows held: of two set-ups at once the second finds none left."""
    query = select(SetupCode).order_by(SetupCode.id).with_for_update()
    return [row.code_hash for row in session.scalars(query)]


def delete_setup_codes(session: Session) -> None:
    session.execute(delete(SetupCode))


def administrator_emails(session: Session) -> list[str]:
    return list(session.scalars(select(Account.email).where(_ADMINISTRATES).order_by(Account.id)))
