"""How often a password was tried, by whatever is counted: an account from an address, a browser, an address."""

from datetime import datetime

from sqlalchemy import String, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime


class TryCount(Base):
    """One count. Both names are hashes, since people type passwords where their name belongs."""

    __tablename__ = "try_count"

    name_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject_hash: Mapped[str] = mapped_column(String(64), index=True)
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    taken: Mapped[int]
    in_a_row: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    is_told: Mapped[bool]


def find(session: Session, name_hash: str) -> TryCount | None:
    return session.get(TryCount, name_hash)


def hold(session: Session, name_hash: str, subject_hash: str, moment: datetime) -> TryCount:
    """The count, made if there is none, and held until the transaction ends (SQLite's writer holds everything)."""
    held = select(TryCount).where(TryCount.name_hash == name_hash).with_for_update()
    if found := session.scalars(held).one_or_none():
        return found
    row = TryCount(
        name_hash=name_hash,
        subject_hash=subject_hash,
        began_at=moment,
        taken=0,
        in_a_row=0,
        last_at=moment,
        is_told=False,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was quicker (PostgreSQL)
        return session.scalars(held).one()
    return row


def forget(session: Session, subject_hash: str) -> None:
    """Forget every count of this subject."""
    session.execute(delete(TryCount).where(TryCount.subject_hash == subject_hash))


def give_back(session: Session, name_hash: str, began_at: datetime, *, ends_row: bool) -> None:
    """Give back a place of the window that began then. ``ends_row``: what failed before counts no longer."""
    session.execute(
        update(TryCount)
        .where(TryCount.name_hash == name_hash, TryCount.began_at == began_at, TryCount.taken > 0)
        .values(taken=TryCount.taken - 1)
    )
    fewer = 0 if ends_row else TryCount.in_a_row - 1
    session.execute(
        update(TryCount).where(TryCount.name_hash == name_hash, TryCount.in_a_row > 0).values(in_a_row=fewer)
    )


def delete_unused(session: Session, before: datetime, *, most_in_a_row: int) -> None:
    """Delete counts that were last used before, of which fewer than so many failed in a row."""
    session.execute(delete(TryCount).where(TryCount.last_at < before, TryCount.in_a_row < most_in_a_row))
