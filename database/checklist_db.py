"""The ``setup_step`` table: what of setting Sealpost up somebody has confirmed, or was seen to be done."""

from datetime import datetime

from sqlalchemy import String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime

LONGEST_STEP = 32
LONGEST_DONE_BY = 255


class SetupStep(Base):
    """A step that is done since a moment, and by whom."""

    __tablename__ = "setup_step"

    step: Mapped[str] = mapped_column(String(LONGEST_STEP), primary_key=True)
    done_at: Mapped[datetime] = mapped_column(UtcDateTime)
    done_by: Mapped[str] = mapped_column(String(LONGEST_DONE_BY))


def every(session: Session) -> dict[str, SetupStep]:
    """All that are done, by their names."""
    return {row.step: row for row in session.scalars(select(SetupStep))}


def put(session: Session, step: str, now: datetime, done_by: str) -> None:
    """Note that it is done; who was first stays."""
    if session.get(SetupStep, step) is None:
        session.add(SetupStep(step=step, done_at=now, done_by=done_by[:LONGEST_DONE_BY]))


def remove(session: Session, step: str) -> None:
    """Note that it is not done after all."""
    session.execute(delete(SetupStep).where(SetupStep.step == step))
