"""What mail servers have shown of themselves, so that each process need not find it out anew."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import JSON, String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime


class ServerHabit(Base):
    """One fact about one server, an observation: losing it costs no more than finding it out again."""

    __tablename__ = "server_habit"

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    port: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    habit: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[bool | int | str] = mapped_column(JSON)
    face: Mapped[str] = mapped_column(String(16))
    learnt_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def of_server(session: Session, host: str, port: int) -> list[ServerHabit]:
    return list(session.scalars(select(ServerHabit).where(ServerHabit.host == host, ServerHabit.port == port)))


def put(session: Session, facts: Iterable[ServerHabit]) -> None:
    """Write facts over what was known."""
    # On PostgreSQL, of two processes that put the same fact at once one fails: its caller lets it be.
    for fact in facts:
        session.merge(fact)


def forget(session: Session, host: str, port: int) -> None:
    session.execute(delete(ServerHabit).where(ServerHabit.host == host, ServerHabit.port == port))


def forget_before(session: Session, moment: datetime) -> None:
    session.execute(delete(ServerHabit).where(ServerHabit.learnt_at < moment))
