"""API tokens of accounts, of which only the SHA-256 and the first characters are stored."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, compared_and_set
from database.types import UtcDateTime
from database.user_db import IS_ENABLED, Account, with_owner


class ApiToken(Base):
    """A token of an account. ``prefix`` tells it apart in lists and in leaked files, ``scopes`` what it is good for.

    ``told_days`` is of how many days before its end its owner was last told.
    """

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    prefix: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told_days: Mapped[int | None]
    scopes: Mapped[str] = mapped_column(String(64), default="admin", server_default="admin")


_WITH_OWNER = with_owner(ApiToken)


def find_by_hash(session: Session, token_hash: str) -> tuple[ApiToken, Account] | None:
    """The token of this digest with whom it belongs to."""
    return session.execute(_WITH_OWNER.where(ApiToken.token_hash == token_hash)).one_or_none()


def every(
    session: Session, account_id: int | None = None, *, before: int | None = None, limit: int | None = None
) -> list[tuple[ApiToken, Account]]:
    """All tokens, or one account's, the newest first, each with its owner; or so many of them that are older."""
    query = _WITH_OWNER.order_by(ApiToken.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ApiToken.id < before)
    if account_id is not None:
        query = query.where(ApiToken.account_id == account_id)
    return list(session.execute(query))


def find(session: Session, token_id: int) -> tuple[ApiToken, Account] | None:
    """The token with this id with whom it belongs to."""
    return session.execute(_WITH_OWNER.where(ApiToken.id == token_id)).one_or_none()


def unrevoked(session: Session, account_id: int) -> list[ApiToken]:
    """The account's tokens that nobody has revoked, expired ones included."""
    query = select(ApiToken).where(ApiToken.account_id == account_id, ApiToken.revoked_at.is_(None))
    return list(session.scalars(query.order_by(ApiToken.id)))


def revoke(session: Session, token_id: int, moment: datetime) -> bool:
    """True if the token was not revoked before."""
    # Of two who revoke it at once, the second is told that it was done already.
    unrevoked = update(ApiToken).where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
    return compared_and_set(session, unrevoked.values(revoked_at=moment))


def expiring(session: Session, moment: datetime, until: datetime) -> list[tuple[ApiToken, Account]]:
    """Tokens that end between these moments, the first to end first, each with its owner, who is not disabled."""
    query = (
        _WITH_OWNER.where(ApiToken.revoked_at.is_(None), ApiToken.expires_at > moment, ApiToken.expires_at <= until)
        .where(IS_ENABLED)
        .order_by(ApiToken.expires_at, ApiToken.id)
    )
    return list(session.execute(query))


def claim_notice(session: Session, token_id: int, days: int) -> bool:
    """Compare-and-set: True for the one caller who tells the owner that the token ends in so many days."""
    is_news = ApiToken.told_days.is_(None) | (ApiToken.told_days > days)
    claimed = update(ApiToken).where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None), is_news)
    return compared_and_set(session, claimed.values(told_days=days))


def note_used(session: Session, token_id: int, moment: datetime) -> None:
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=moment))
