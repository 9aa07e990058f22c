"""Second factors of accounts: authenticator apps and recovery codes; and the policy of who must have one."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime
from database.user_db import Account

LONGEST_SELECTOR = 8


class TotpFactor(Base):
    """The secret of an account's authenticator app (RFC 6238), sealed. It counts once ``confirmed_at`` is set.

    ``last_step`` is the newest time step of which a code was used: neither that code nor an older one is good again.
    """

    __tablename__ = "totp_factor"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), unique=True)
    sealed: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(String(8))
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RecoveryCode(Base):
    """A code for whoever has lost the other factors: its beginning, by which it is found, and a hash of the rest."""

    __tablename__ = "recovery_code"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    selector: Mapped[str] = mapped_column(String(LONGEST_SELECTOR))
    code_hash: Mapped[str] = mapped_column(String(255))
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FactorPolicy(Base):
    """What the page saved of the policy, in one row; null: nobody must have a second factor."""

    __tablename__ = "factor_policy"

    id: Mapped[int] = mapped_column(primary_key=True)
    required_after_days: Mapped[int | None]
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


def totp_of(session: Session, account_id: int) -> TotpFactor | None:
    return session.scalars(select(TotpFactor).where(TotpFactor.account_id == account_id)).one_or_none()


def use_step(session: Session, account_id: int, sealed: str, step: int, moment: datetime) -> bool:
    """Use the code of a time step up; False if it, or a newer one, was used before, or the secret is another by now."""
    used = update(TotpFactor).where(
        TotpFactor.account_id == account_id, TotpFactor.sealed == sealed, TotpFactor.last_step < step
    )
    found = session.execute(used.values(last_step=step, last_used_at=moment).returning(TotpFactor.id))
    return found.first() is not None


def delete_totp(session: Session, account_id: int) -> bool:
    gone = delete(TotpFactor).where(TotpFactor.account_id == account_id).returning(TotpFactor.id)
    return session.execute(gone).first() is not None


def every_totp(session: Session) -> list[TotpFactor]:
    return list(session.scalars(select(TotpFactor).order_by(TotpFactor.id)))


def reseal_totp(session: Session, account_id: int, old: str, sealed: str, key_id: str) -> bool:
    """Put the same secret under another key, unless it is another one by now."""
    anew = update(TotpFactor).where(TotpFactor.account_id == account_id, TotpFactor.sealed == old)
    return session.execute(anew.values(sealed=sealed, key_id=key_id).returning(TotpFactor.id)).first() is not None


def unused_codes(session: Session, account_id: int) -> int:
    """How many recovery codes are left."""
    query = select(func.count()).where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
    return session.scalar(query) or 0


def unused_code(session: Session, account_id: int, selector: str) -> RecoveryCode | None:
    query = select(RecoveryCode).where(
        RecoveryCode.account_id == account_id, RecoveryCode.selector == selector, RecoveryCode.used_at.is_(None)
    )
    return session.scalars(query).one_or_none()


def use_code(session: Session, code_id: int, moment: datetime) -> bool:
    """Use a recovery code up; False if another was faster."""
    used = update(RecoveryCode).where(RecoveryCode.id == code_id, RecoveryCode.used_at.is_(None))
    return session.execute(used.values(used_at=moment).returning(RecoveryCode.id)).first() is not None


def delete_codes(session: Session, account_id: int) -> None:
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))


def policy(session: Session, *, lock: bool = False) -> FactorPolicy | None:
    """The policy, if one was ever saved; held until the transaction ends if asked to."""
    query = select(FactorPolicy).order_by(FactorPolicy.id).limit(1)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.scalars(query).one_or_none()


def note_asked(session: Session, account_id: int, moment: datetime) -> None:
    """That this account was asked for a second factor; the first time counts."""
    first = update(Account).where(Account.id == account_id, Account.second_factor_asked_at.is_(None))
    session.execute(first.values(second_factor_asked_at=moment))
