"""From addresses of accounts, each good once its owner has opened the link that was mailed there."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from database.engine import Base
from database.types import UtcDateTime
from database.user_db import LONGEST_EMAIL_KEY


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
