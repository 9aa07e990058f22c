"""Requests for a password reset, written down as they came; a worker answers them later."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, delete, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime

WAITING = "waiting"
DONE = "done"


class ResetRequest(Base):
    """Somebody asked for a reset of this address; whether it is anybody's is not known here.

    ``state`` is ``waiting`` or ``done``. ``account_id`` is filled in when the request is answered.
    """

    __tablename__ = "reset_request"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(String(254))
    state: Mapped[str] = mapped_column(String(16), default=WAITING)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))

    __table_args__ = (
        Index(
            "ix_reset_request_waiting",
            "next_attempt_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_reset_request_account", "account_id", "created_at"),
    )


def add(session: Session, address: str, moment: datetime) -> None:
    session.add(ResetRequest(address=address, created_at=moment, next_attempt_at=moment))


def find_due(session: Session, moment: datetime) -> ResetRequest | None:
    """The request that has waited longest for an answer, or for another try."""
    query = (
        select(ResetRequest)
        .where(ResetRequest.state == WAITING, ResetRequest.next_attempt_at <= moment)
        .order_by(ResetRequest.next_attempt_at, ResetRequest.id)
        .limit(1)
    )
    return session.scalars(query).one_or_none()


def waiting(session: Session) -> tuple[int, datetime | None]:
    """How many requests wait, and when the first of them is or was due."""
    query = select(func.count(), func.min(ResetRequest.next_attempt_at)).where(ResetRequest.state == WAITING)
    count, due = session.execute(query).one()
    return count, due


def claim(session: Session, request_id: int, attempts: int, lease_until: datetime) -> bool:
    """Compare-and-set: True if this caller has the request until the lease ends, as one more attempt."""
    result = session.execute(
        update(ResetRequest)
        .where(
            ResetRequest.id == request_id,
            ResetRequest.state == WAITING,
            ResetRequest.attempts == attempts,
        )
        .values(attempts=attempts + 1, next_attempt_at=lease_until)
    )
    return result.rowcount == 1  # type: ignore[attr-defined, no-any-return]


def note_account(session: Session, request_id: int, account_id: int) -> None:
    session.execute(update(ResetRequest).where(ResetRequest.id == request_id).values(account_id=account_id))


def answered_since(session: Session, account_id: int, moment: datetime, but_not: int) -> int:
    """How many other requests since ``moment`` led to a mail for this account."""
    query = select(func.count()).where(
        ResetRequest.account_id == account_id,
        ResetRequest.created_at > moment,
        ResetRequest.id != but_not,
    )
    return session.scalar(query) or 0


def finish(session: Session, request_id: int, attempts: int) -> None:
    """Settle a request and forget whom it named, unless another process has taken it over."""
    session.execute(
        update(ResetRequest)
        .where(ResetRequest.id == request_id, ResetRequest.attempts == attempts)
        .values(state=DONE, address="")
    )


def finish_older(session: Session, account_id: int, request_id: int) -> None:
    """Drop earlier requests that wait for another try: their mail would void the newer link."""
    session.execute(
        update(ResetRequest)
        .where(
            ResetRequest.account_id == account_id,
            ResetRequest.state == WAITING,
            ResetRequest.id < request_id,
        )
        .values(state=DONE, address="")
    )


def put_off(session: Session, request_id: int, attempts: int, next_attempt_at: datetime) -> None:
    """Try again then, unless another process has taken the request over."""
    session.execute(
        update(ResetRequest)
        .where(ResetRequest.id == request_id, ResetRequest.attempts == attempts)
        .values(next_attempt_at=next_attempt_at)
    )


def delete_done(session: Session, before: datetime) -> None:
    session.execute(delete(ResetRequest).where(ResetRequest.state == DONE, ResetRequest.created_at < before))
