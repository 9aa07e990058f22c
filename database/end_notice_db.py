"""The ``end_notice`` table: of which end people have been told, and how long before, whichever process did."""

from datetime import date

from sqlalchemy import ForeignKey, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base


class EndNotice(Base):
    """One notice: that ``what`` of a server ends on a day, so many ``days`` before; 0: that it has ended.

    ``server`` is what its route calls its owner, so that of `.env` has notices too; what is told of a stored one goes
    with its row. Another day is another end, of which people are told from the beginning.
    """

    __tablename__ = "end_notice"

    server: Mapped[str] = mapped_column(String(32), primary_key=True)
    what: Mapped[str] = mapped_column(String(32), primary_key=True)
    ends_on: Mapped[date] = mapped_column(primary_key=True)
    days: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    config_id: Mapped[int | None] = mapped_column(ForeignKey("smtp_config.id", ondelete="CASCADE"), index=True)


def was_told(session: Session, server: str, what: str, ends_on: date, days: int) -> bool:
    """Whether somebody has claimed that notice."""
    return session.get(EndNotice, (server, what, ends_on, days)) is not None


def claim(session: Session, notice: EndNotice) -> bool:
    """True for the one caller, in whichever process, that is to tell so; another waits for the first one's commit."""
    try:
        with session.begin_nested():
            session.add(notice)
    except IntegrityError:  # it was told before, or the server is gone
        return False
    return True
