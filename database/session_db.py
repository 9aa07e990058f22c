"""Sessions of people, of whose ids only a keyed hash is stored; and for a while, whose those were that have ended."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, ForeignKey, String, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base
from database.types import UtcDateTime
from database.user_db import Account, with_owner

LONGEST_ADDRESS = 64
LONGEST_BROWSER = 64
LONGEST_PROOF = 64


class BrowserSession(Base):
    """A browser in which somebody is signed in. Without the row, its cookie is worth nothing.

    ``proven_by`` are the words of ``services.accounts.proofs`` for how, with spaces between; ``proven_at`` when last.
    ``vouched_at`` is when the provider of single sign-on last said who it is, if it did.
    """

    __tablename__ = "session"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    proven_at: Mapped[datetime] = mapped_column(UtcDateTime)
    proven_by: Mapped[str] = mapped_column(String(LONGEST_PROOF), default="password", server_default="password")
    vouched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    address: Mapped[str] = mapped_column(String(LONGEST_ADDRESS))
    browser: Mapped[str] = mapped_column(String(LONGEST_BROWSER))
    is_remembered: Mapped[bool]


class ProofNoted(NamedTuple):
    """What a session's row says from now on of how and when it was proven."""

    proven_at: datetime
    proven_by: str
    vouched_at: datetime | None


class EndedSession(Base):
    """Whose a session was that was ended: what was typed into its pages is kept for that account alone."""

    __tablename__ = "ended_session"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def find(session: Session, id_hash: str) -> tuple[BrowserSession, Account] | None:
    """The session of this hash, with whose it is."""
    return session.execute(with_owner(BrowserSession).where(BrowserSession.id_hash == id_hash)).one_or_none()


def of_account(session: Session, account_id: int) -> list[tuple[BrowserSession, Account]]:
    """An account's sessions, the one that was seen last first."""
    query = with_owner(BrowserSession).where(BrowserSession.account_id == account_id)
    return list(session.execute(query.order_by(BrowserSession.last_seen_at.desc(), BrowserSession.id_hash)))


def note_seen(session: Session, id_hash: str, moment: datetime, address: str) -> None:
    session.execute(
        update(BrowserSession).where(BrowserSession.id_hash == id_hash).values(last_seen_at=moment, address=address)
    )


def rename(session: Session, id_hash: str, new_hash: str, proof: ProofNoted) -> bool:
    """Let a session that was just proven anew go on under another id; False if there is none."""
    renamed = update(BrowserSession).where(BrowserSession.id_hash == id_hash).returning(BrowserSession.id_hash)
    return session.execute(renamed.values(id_hash=new_hash, **proof._asdict())).first() is not None


def end(session: Session, id_hashes: Iterable[str], moment: datetime) -> int:
    """Delete these sessions, and remember whose they were; how many there were."""
    return _end(session, BrowserSession.id_hash.in_(list(id_hashes)), moment)


def end_of_account(session: Session, account_id: int, moment: datetime, *, but: str | None = None) -> int:
    """Delete an account's sessions, but for the one of the hash ``but``; how many there were."""
    return _end(session, (BrowserSession.account_id == account_id) & (BrowserSession.id_hash != (but or "")), moment)


def _end(session: Session, which: ColumnElement[bool], moment: datetime) -> int:
    gone = delete(BrowserSession).where(which).returning(BrowserSession.id_hash, BrowserSession.account_id)
    ended = [
        EndedSession(id_hash=row.id_hash, account_id=row.account_id, ended_at=moment)
        for row in session.execute(gone, execution_options={"synchronize_session": False})
    ]
    session.add_all(ended)
    session.flush()
    return len(ended)


def account_of_ended(session: Session, id_hash: str, since: datetime) -> int | None:
    """Whose session this was, if it was ended after ``since``."""
    query = select(EndedSession.account_id).where(EndedSession.id_hash == id_hash, EndedSession.ended_at > since)
    return session.scalars(query).one_or_none()


def delete_begun_before(session: Session, moment: datetime, *, remembered: bool) -> None:
    session.execute(
        delete(BrowserSession).where(BrowserSession.created_at < moment, BrowserSession.is_remembered.is_(remembered))
    )


def forget_ended_before(session: Session, moment: datetime) -> None:
    session.execute(delete(EndedSession).where(EndedSession.ended_at < moment))
