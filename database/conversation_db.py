"""The ``email_conversation`` table: what was said in an attempt, sealed, since whole addresses are in it.

An attempt names its row. Both are written in one transaction, and a row that no attempt names any more is deleted.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypedDict, cast

from sqlalchemy import LargeBinary, String, Table, delete, exists, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.attempt_db import EmailAttempt
from database.driver import Driver
from database.engine import Base, changed
from database.prepared import added_to
from database.types import UtcDateTime


class EmailConversation(Base):
    """One conversation. Its ``id`` is random, and what was sealed opens for it alone."""

    __tablename__ = "email_conversation"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    key_id: Mapped[str] = mapped_column(String(8), index=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class ConversationRow(TypedDict):
    """What is written of a conversation."""

    id: str
    at: datetime
    key_id: str
    sealed: bytes


_ADD = added_to(cast(Table, EmailConversation.__table__), with_key=True)


def add_all(driver: Driver, conversations: Sequence[ConversationRow]) -> None:
    _ADD.run(driver, conversations)


def of_ids(session: Session, ids: Collection[str]) -> dict[str, EmailConversation]:
    """These conversations by their ids; one that was deleted is left out."""
    if not ids:
        return {}
    return {row.id: row for row in session.scalars(select(EmailConversation).where(EmailConversation.id.in_(ids)))}


def delete_of(session: Session, ids: Collection[str]) -> None:
    session.execute(delete(EmailConversation).where(EmailConversation.id.in_(ids)))


def delete_unnamed(session: Session, before: datetime, limit: int) -> int:
    """Delete at most ``limit`` from before this moment whose attempt was deleted; how many."""
    is_named = exists().where(EmailAttempt.conversation == EmailConversation.id)
    old = select(EmailConversation.id).where(EmailConversation.at < before, ~is_named)
    chosen = old.order_by(EmailConversation.at).limit(limit)
    return changed(session, delete(EmailConversation).where(EmailConversation.id.in_(chosen)))


def keys_in_use(session: Session) -> dict[str, int]:
    """The keys that conversations are sealed under, and how many each seals."""
    query = select(EmailConversation.key_id, func.count()).group_by(EmailConversation.key_id)
    return dict(session.execute(query).all())


def sealed_with(session: Session, key_ids: Collection[str], limit: int) -> list[EmailConversation]:
    """At most ``limit`` that are sealed under one of these keys."""
    return list(session.scalars(select(EmailConversation).where(EmailConversation.key_id.in_(key_ids)).limit(limit)))


def reseal(session: Session, row: EmailConversation, key_id: str, sealed: bytes) -> None:
    """Put another seal on it, unless it has gone or been sealed anew meanwhile."""
    session.execute(
        update(EmailConversation)
        .where(EmailConversation.id == row.id, EmailConversation.key_id == row.key_id)
        .values(key_id=key_id, sealed=sealed)
    )
