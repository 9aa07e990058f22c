"""Links that somebody with a shell of the machine gives to whoever is locked out, each good once."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, changed
from database.types import UtcDateTime
from database.user_db import IS_ENABLED, Account, with_owner


class SignInLink(Base):
    """A link, of which only the SHA-256 is stored."""

    __tablename__ = "sign_in_link"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


def find_good(session: Session, token_hash: str, moment: datetime) -> tuple[SignInLink, Account] | None:
    """The link of this token, and whom it lets in."""
    is_good = SignInLink.token_hash == token_hash, SignInLink.expires_at > moment, IS_ENABLED
    return session.execute(with_owner(SignInLink).where(*is_good)).one_or_none()


def use(session: Session, link_id: int) -> bool:
    """Take a link out; True for the one caller who does."""
    return changed(session, delete(SignInLink).where(SignInLink.id == link_id)) == 1


def forget(session: Session, account_id: int, before: datetime) -> None:
    """Forget the links of an account, and whatever ended before."""
    gone = select(SignInLink.id).where((SignInLink.account_id == account_id) | (SignInLink.expires_at < before))
    session.execute(delete(SignInLink).where(SignInLink.id.in_(gone)))
