"""The ``kept_form`` table: what was typed into a form whose session had ended, sealed, for half an hour."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime


class KeptForm(Base):
    """One form that was sent too late. Its browser alone has the handle; ``account_id`` is whose session had ended."""

    __tablename__ = "kept_form"

    handle_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    content: Mapped[str] = mapped_column(Text)
    kept_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def find(session: Session, handle_hash: str, account_id: int, since: datetime) -> KeptForm | None:
    query = select(KeptForm).where(
        KeptForm.handle_hash == handle_hash, KeptForm.account_id == account_id, KeptForm.kept_at > since
    )
    return session.scalars(query).one_or_none()


def delete_one(session: Session, handle_hash: str) -> None:
    session.execute(delete(KeptForm).where(KeptForm.handle_hash == handle_hash))


def delete_all_but_newest(session: Session, account_id: int, most: int) -> None:
    """Of an account."""
    newest = select(KeptForm.handle_hash).where(KeptForm.account_id == account_id)
    newest = newest.order_by(KeptForm.kept_at.desc()).limit(most)
    session.execute(
        delete(KeptForm).where(KeptForm.account_id == account_id, KeptForm.handle_hash.not_in(newest.scalar_subquery()))
    )


def delete_before(session: Session, moment: datetime) -> None:
    session.execute(delete(KeptForm).where(KeptForm.kept_at <= moment))
