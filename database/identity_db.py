"""Who an account is at the provider that people sign in with."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime
from database.user_db import Account, with_owner

LONGEST_ISSUER = 255
LONGEST_SUBJECT = 255
LONGEST_LABEL = 320


class AccountIdentity(Base):
    """One of them. ``issuer`` and ``subject`` say who it is; ``label`` is what the provider called it last, for people
    alone.
    """

    __tablename__ = "account_identity"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    issuer: Mapped[str] = mapped_column(String(LONGEST_ISSUER))
    subject: Mapped[str] = mapped_column(String(LONGEST_SUBJECT))
    label: Mapped[str] = mapped_column(String(LONGEST_LABEL))
    linked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (UniqueConstraint("issuer", "subject"),)


def find(session: Session, issuer: str, subject: str) -> tuple[AccountIdentity, Account] | None:
    """Whose this identity is."""
    is_it = AccountIdentity.issuer == issuer, AccountIdentity.subject == subject
    return session.execute(with_owner(AccountIdentity).where(*is_it)).one_or_none()


def of_account(session: Session, account_id: int) -> list[AccountIdentity]:
    """What an account is linked with, the first one first."""
    query = select(AccountIdentity).where(AccountIdentity.account_id == account_id)
    return list(session.scalars(query.order_by(AccountIdentity.id)))
