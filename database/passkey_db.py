"""Passkeys of accounts (W3C Web Authentication), and the challenges that their signatures answer."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime
from database.user_db import Account, with_owner
from utils.numbers import LARGEST

LONGEST_CREDENTIAL = 1368  # characters of base64url, for the 1023 octets that an id may have
LONGEST_NAME = 64


class Passkey(Base):
    """One passkey. ``count_fell_at`` is when its count of signatures was lower than before, as that of a copy is."""

    __tablename__ = "passkey"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    credential_id: Mapped[str] = mapped_column(String(LONGEST_CREDENTIAL), unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    count_fell_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class PasskeyChallenge(Base):
    """A challenge, for one use: ``bound_to`` says in which browser, ``purpose`` for what."""

    __tablename__ = "passkey_challenge"

    challenge_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    bound_to: Mapped[str] = mapped_column(String(64))
    purpose: Mapped[str] = mapped_column(String(16))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def of_account(session: Session, account_id: int) -> list[Passkey]:
    return list(session.scalars(select(Passkey).where(Passkey.account_id == account_id).order_by(Passkey.id)))


def count(session: Session, account_id: int) -> int:
    return session.scalar(select(func.count()).where(Passkey.account_id == account_id)) or 0


def find(session: Session, credential_id: str) -> tuple[Passkey, Account] | None:
    """The passkey of this id, with whose it is."""
    return session.execute(with_owner(Passkey).where(Passkey.credential_id == credential_id)).one_or_none()


def lock(session: Session, passkey_id: int) -> Passkey | None:
    if not 0 < passkey_id <= LARGEST:
        return None
    return session.get(Passkey, passkey_id, with_for_update=True, populate_existing=True)


def delete_one(session: Session, account_id: int, passkey_id: int) -> str | None:
    """Delete a passkey of this account; its name, or None if there is none."""
    if not 0 < passkey_id <= LARGEST:
        return None
    gone = delete(Passkey).where(Passkey.account_id == account_id, Passkey.id == passkey_id).returning(Passkey.name)
    return session.scalars(gone).one_or_none()


def delete_of_account(session: Session, account_id: int) -> None:
    session.execute(delete(Passkey).where(Passkey.account_id == account_id))


def use_challenge(session: Session, challenge_hash: str, bound_to: str, purpose: str, since: datetime) -> bool:
    """Use a challenge up; False if there is none of this browser and purpose, made after ``since``."""
    gone = delete(PasskeyChallenge).where(
        PasskeyChallenge.challenge_hash == challenge_hash,
        PasskeyChallenge.bound_to == bound_to,
        PasskeyChallenge.purpose == purpose,
        PasskeyChallenge.made_at > since,
    )
    return session.execute(gone.returning(PasskeyChallenge.challenge_hash)).first() is not None


def delete_challenges_before(session: Session, moment: datetime) -> None:
    session.execute(delete(PasskeyChallenge).where(PasskeyChallenge.made_at <= moment))
