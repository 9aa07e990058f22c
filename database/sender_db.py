"""From addresses of accounts, each good once its owner has opened the link that was mailed there."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, changed
from database.types import UtcDateTime
from database.user_db import IS_ENABLED, LONGEST_EMAIL_KEY, Account, with_owner


class AccountSender(Base):
    """An address that an account wants to send from; of the link in the mail ``mail_id`` only the SHA-256 is stored.

    ``email_key`` is what two spellings of an address are compared by.
    """

    __tablename__ = "account_sender"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(LONGEST_EMAIL_KEY))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    mail_id: Mapped[str | None] = mapped_column(String(32))

    __table_args__ = (UniqueConstraint("account_id", "email_key"),)


def of_account(session: Session, account_id: int) -> list[AccountSender]:
    """Its senders, in the order of their addresses."""
    query = select(AccountSender).where(AccountSender.account_id == account_id).order_by(AccountSender.email_key)
    return list(session.scalars(query))


def find(session: Session, account_id: int, sender_id: int) -> AccountSender | None:
    """A sender of exactly this account."""
    query = select(AccountSender).where(AccountSender.id == sender_id, AccountSender.account_id == account_id)
    return session.scalars(query).one_or_none()


def find_by_key(session: Session, account_id: int, email_key: str) -> AccountSender | None:
    query = select(AccountSender).where(AccountSender.account_id == account_id, AccountSender.email_key == email_key)
    return session.scalars(query).one_or_none()


def count_of(session: Session, account_id: int) -> int:
    """How many senders an account has, confirmed or not."""
    query = select(func.count()).select_from(AccountSender).where(AccountSender.account_id == account_id)
    return session.scalar(query) or 0


def is_confirmed(session: Session, account_id: int, email_key: str) -> bool:
    found = find_by_key(session, account_id, email_key)
    return found is not None and found.confirmed_at is not None


def find_good(session: Session, token_hash: str, moment: datetime) -> tuple[AccountSender, Account] | None:
    """The sender that this token confirms, and whose it is, if it is good for any."""
    is_good = AccountSender.token_hash == token_hash, AccountSender.expires_at > moment, IS_ENABLED
    return session.execute(with_owner(AccountSender).where(*is_good)).one_or_none()


def remove(session: Session, sender_id: int) -> bool:
    """Forget a sender; whether it was there."""
    return changed(session, delete(AccountSender).where(AccountSender.id == sender_id)) == 1


def void_links(session: Session, account_id: int) -> list[str]:
    """Let none of its links confirm anything any more; the ids of the mails that hold them."""
    waits = AccountSender.account_id == account_id, AccountSender.token_hash.is_not(None)
    voided = update(AccountSender).where(*waits).values(token_hash=None).returning(AccountSender.mail_id)
    return [mail_id for mail_id in session.scalars(voided) if mail_id]


def delete_stale(session: Session, account_id: int, before: datetime) -> None:
    """Forget what this account asked for and nobody confirmed, where the link ended before."""
    stale = AccountSender.confirmed_at.is_(None), AccountSender.expires_at < before
    session.execute(delete(AccountSender).where(AccountSender.account_id == account_id, *stale))
