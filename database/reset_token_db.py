"""Password reset tokens, of which only the SHA-256 is stored."""

from datetime import datetime

from sqlalchemy import ColumnElement, ForeignKey, String, delete, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, compared_and_set
from database.types import UtcDateTime
from database.user_db import IS_ENABLED, Account, with_owner


class ResetToken(Base):
    """A link that was mailed, with ``mail_id``. It is good once, until it expires, or until another one is used."""

    __tablename__ = "reset_token"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    mail_id: Mapped[str | None] = mapped_column(String(32))


def _is_good(token_hash: str, moment: datetime) -> tuple[ColumnElement[bool], ...]:
    return ResetToken.token_hash == token_hash, ResetToken.used_at.is_(None), ResetToken.expires_at > moment


def find_good(session: Session, token_hash: str, moment: datetime) -> tuple[ResetToken, Account] | None:
    """The row of this token, and whose it is, if it is good for anybody."""
    return session.execute(with_owner(ResetToken).where(*_is_good(token_hash, moment), IS_ENABLED)).one_or_none()


def use(session: Session, token_hash: str, account_id: int, moment: datetime) -> bool:
    """Compare-and-set: True for the one caller who uses the token, if it is still good."""
    # Looked at and used in one statement: between two of them, somebody else could use it.
    used = update(ResetToken).where(*_is_good(token_hash, moment), ResetToken.account_id == account_id)
    return compared_and_set(session, used.values(used_at=moment))


def void_unused(session: Session, account_id: int) -> list[str]:
    """Make every link that was mailed to this account worthless; the ids of the mails that hold them."""
    unused = delete(ResetToken).where(ResetToken.account_id == account_id, ResetToken.used_at.is_(None))
    return [mail_id for mail_id in session.scalars(unused.returning(ResetToken.mail_id)) if mail_id]


def delete_expired(session: Session, before: datetime) -> None:
    session.execute(delete(ResetToken).where(ResetToken.expires_at < before))
