"""The audit trail: who did what, when and from where. Rows are added and, after their time, deleted.

They are never changed, but that a pseudonym takes the place of an address that is to be forgotten.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Index, String, delete, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime

LONGEST_ACTOR: Final = 160  # a user name and the name of a token, 64 characters each
LONGEST_SOURCE: Final = 64
LONGEST_SUBJECT: Final = 160
LONGEST_DETAILS: Final = 500


class AuditEvent(Base):
    """One thing that happened. ``details`` names changed fields and never holds a value of a secret."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(LONGEST_ACTOR))
    source: Mapped[str] = mapped_column(String(LONGEST_SOURCE))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(LONGEST_SUBJECT))
    details: Mapped[str] = mapped_column(String(LONGEST_DETAILS), default="")

    __table_args__ = (
        Index("ix_audit_event_at", "at"),
        Index("ix_audit_event_action", "action", "id"),
        Index("ix_audit_event_subject", "subject", "id"),
    )


def find(session: Session, *, action: str = "", text: str = "", before_id: int | None, limit: int) -> list[AuditEvent]:
    """The newest events first: of one action, with a text in actor, source or subject, older than ``before_id``."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if action:
        query = query.where(AuditEvent.action == action)
    if text:
        columns = (AuditEvent.actor, AuditEvent.source, AuditEvent.subject)
        query = query.where(or_(*(column.icontains(text, autoescape=True) for column in columns)))
    if before_id is not None:
        # By number and not by page: what comes in meanwhile shifts nothing.
        query = query.where(AuditEvent.id < before_id)
    return list(session.scalars(query))


def of_subject(session: Session, subject: str) -> list[AuditEvent]:
    """What happened to exactly this, the first event first."""
    return list(session.scalars(select(AuditEvent).where(AuditEvent.subject == subject).order_by(AuditEvent.id)))


def delete_before(session: Session, moment: datetime) -> None:
    session.execute(delete(AuditEvent).where(AuditEvent.at < moment))
