"""Delivery attempts: what became of a mail at one server. Append only, never content."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime


class EmailAttempt(Base):
    """One server tried for one mail. Addresses are masked; the reply is the server's, redacted.

    ``outcome`` is accepted, temporary, permanent, misconfigured, unknown or not_configured.
    """

    __tablename__ = "email_attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    mail_id: Mapped[str | None] = mapped_column(String(32), index=True)
    account_id: Mapped[int | None]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ms: Mapped[int]
    kind: Mapped[str] = mapped_column(String(32))
    recipients: Mapped[str] = mapped_column(Text)
    refused: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    message_id: Mapped[str] = mapped_column(String(255))
    config_id: Mapped[int | None]
    server: Mapped[str] = mapped_column(String(320))
    outcome: Mapped[str] = mapped_column(String(16))
    phase: Mapped[str | None] = mapped_column(String(16))
    fault: Mapped[str | None] = mapped_column(String(32))
    code: Mapped[int | None]
    enhanced: Mapped[str | None] = mapped_column(String(16))

    __table_args__ = (Index("ix_email_attempt_started_at", "started_at"),)


def latest(session: Session, limit: int) -> list[EmailAttempt]:
    """The newest attempts first."""
    return list(session.scalars(select(EmailAttempt).order_by(EmailAttempt.id.desc()).limit(limit)))
