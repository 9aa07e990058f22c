"""Sign-ins that are half done: a password was right, and a second factor is still asked for. None is a session."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, delete
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.session_db import LONGEST_PROOF
from database.types import UtcDateTime
from database.user_db import Account, with_owner


class SignInStep(Base):
    """One of them, known to its browser alone by a random handle."""

    __tablename__ = "sign_in_step"

    handle_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    session_epoch: Mapped[int]
    proven_by: Mapped[str] = mapped_column(String(LONGEST_PROOF))
    is_remembered: Mapped[bool]
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def find(session: Session, handle_hash: str, since: datetime) -> tuple[SignInStep, Account] | None:
    query = with_owner(SignInStep).where(SignInStep.handle_hash == handle_hash, SignInStep.began_at > since)
    return session.execute(query).one_or_none()


def end(session: Session, handle_hash: str) -> bool:
    """Delete it; False if another has done so before."""
    gone = delete(SignInStep).where(SignInStep.handle_hash == handle_hash).returning(SignInStep.account_id)
    return session.execute(gone).first() is not None


def delete_before(session: Session, moment: datetime) -> None:
    session.execute(delete(SignInStep).where(SignInStep.began_at <= moment))
