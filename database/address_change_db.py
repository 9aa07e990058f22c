"""New addresses of accounts, which wait to be confirmed by a link that was mailed there."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime
from database.user_db import IS_ENABLED, Account, with_owner


class AddressChange(Base):
    """What an account's address is to be; of the link in the mail ``mail_id`` only the SHA-256 is stored."""

    __tablename__ = "address_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), unique=True)
    email: Mapped[str] = mapped_column(String(254))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    mail_id: Mapped[str | None] = mapped_column(String(32))


def find(session: Session, account_id: int, moment: datetime) -> AddressChange | None:
    """The change that waits for this account, if its link is still good."""
    query = select(AddressChange).where(AddressChange.account_id == account_id, AddressChange.expires_at > moment)
    return session.scalars(query).one_or_none()


def find_good(session: Session, token_hash: str, moment: datetime) -> tuple[AddressChange, Account] | None:
    """The change that this token confirms, and whose it is, if it is good for any."""
    is_good = AddressChange.token_hash == token_hash, AddressChange.expires_at > moment, IS_ENABLED
    return session.execute(with_owner(AddressChange).where(*is_good)).one_or_none()


def delete_of(session: Session, account_id: int) -> list[str]:
    """Forget what waits for this account; the ids of the mails that hold the links."""
    gone = delete(AddressChange).where(AddressChange.account_id == account_id)
    return [mail_id for mail_id in session.scalars(gone.returning(AddressChange.mail_id)) if mail_id]


def delete_expired(session: Session, before: datetime) -> None:
    session.execute(delete(AddressChange).where(AddressChange.expires_at < before))
