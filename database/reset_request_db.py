"""Requests for a password reset, written down as they came; a worker answers them later."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, delete, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime, partial_index

WAITING = "waiting"
DONE = "done"
_IS_WAITING = text("state = 'waiting'")


class ResetRequest(Base):
    """Somebody asked for a reset of this address; whether it is anybody's is not known here.

    ``state`` is ``waiting`` or ``done``. ``account_id`` is filled in when the request is answered with a mail.
    """

    __tablename__ = "reset_request"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(String(254))
    state: Mapped[str] = mapped_column(String(16), default=WAITING)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))

    __table_args__ = (
        partial_index("ix_reset_request_waiting", "created_at", where=_IS_WAITING),
        Index("ix_reset_request_account", "account_id", "created_at"),
    )


def add(session: Session, address: str, moment: datetime) -> None:
    session.add(ResetRequest(address=address, created_at=moment))


def take_waiting(session: Session) -> ResetRequest | None:
    """The request that has waited the longest, nobody else's until the transaction ends."""
    query = (
        select(ResetRequest)
        .where(ResetRequest.state == WAITING)
        .order_by(ResetRequest.created_at, ResetRequest.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has one writer anyway
    )
    return session.scalars(query).one_or_none()


def waiting(session: Session) -> tuple[int, datetime | None]:
    """How many requests wait, and since when the first of them."""
    query = select(func.count(), func.min(ResetRequest.created_at)).where(ResetRequest.state == WAITING)
    count, since = session.execute(query).one()
    return count, since


def answered_since(session: Session, account_id: int, moment: datetime) -> int:
    """How many requests since ``moment`` led to a mail for this account."""
    query = select(func.count()).where(ResetRequest.account_id == account_id, ResetRequest.created_at > moment)
    return session.scalar(query) or 0


def delete_done(session: Session, before: datetime) -> None:
    session.execute(delete(ResetRequest).where(ResetRequest.state == DONE, ResetRequest.created_at < before))
