"""The ``oauth_sign_in`` and ``oauth_pending`` tables: how servers are signed in to by token, and sign-ins under way."""

from datetime import date, datetime

from sqlalchemy import Date, ForeignKey, String, Text, delete, or_, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, changed, compared_and_set
from database.types import UtcDateTime

LONGEST_URL = 500
LONGEST_SCOPE = 1024
_EMPTY = text("''")


class OAuthSignIn(Base):
    """What a configuration signs in with where that is by token: the registration, and the tokens that came of it.

    It may stand beside a password that still serves. What is sealed is "" or a Fernet token under the key that
    ``key_id`` names, and ``binding_mac`` ties all of it to the configuration, its host and its user name.
    ``consent`` counts how often somebody agreed, or the application was let in; 0: not yet. ``mailbox`` is who signed
    in, as far as the provider says it. ``secret_ends_on`` is the client secret's last day, as it was entered.

    ``access_ends_at`` and ``obtained_at`` are of the access token. ``needs_sign_in``: somebody has to act; ``trouble``
    is why, as a code, or why the last renewal failed. Nothing is asked of the provider before ``retry_at``.
    ``refused_at``: when a mail server refused a token, which was then renewed before its time. Who renews holds the
    lease, by its id, until ``lease_until``.
    """

    __tablename__ = "oauth_sign_in"

    config_id: Mapped[int] = mapped_column(ForeignKey("smtp_config.id", ondelete="CASCADE"), primary_key=True)
    provider: Mapped[str] = mapped_column(String(16))
    way: Mapped[str] = mapped_column(String(24))
    tenant: Mapped[str] = mapped_column(String(255), default="")
    cloud: Mapped[str] = mapped_column(String(16), default="")
    authority: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    authorize_url: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    token_url: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    device_url: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    revoke_url: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    issuer: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    scope: Mapped[str] = mapped_column(String(LONGEST_SCOPE), default="")
    client_id: Mapped[str] = mapped_column(String(255), default="")
    client_certificate: Mapped[str] = mapped_column(Text, default="")
    client_secret: Mapped[str] = mapped_column(Text, default="")
    client_key: Mapped[str] = mapped_column(Text, default="")
    service_account: Mapped[str] = mapped_column(Text, default="")
    refresh_token: Mapped[str] = mapped_column(Text, default="")
    access_token: Mapped[str] = mapped_column(Text, default="")
    key_id: Mapped[str] = mapped_column(String(8))
    binding_mac: Mapped[str] = mapped_column(String(64))
    secret_ends_on: Mapped[date | None] = mapped_column(Date)
    is_testing: Mapped[bool] = mapped_column(default=False)
    consent: Mapped[int] = mapped_column(default=0)
    mailbox: Mapped[str] = mapped_column(String(320), default="")
    granted_scopes: Mapped[str] = mapped_column(Text, default="")
    granted_by: Mapped[str] = mapped_column(String(64), default="")
    granted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    obtained_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    access_ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    needs_sign_in: Mapped[bool] = mapped_column(default=False)
    trouble: Mapped[str] = mapped_column(String(160), default="", server_default=_EMPTY)
    trouble_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_id: Mapped[str] = mapped_column(String(32), default="", server_default=_EMPTY)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class PendingOAuth(Base):
    """A sign-in under way in a browser, for minutes. It is taken out when it is used, so that an answer counts once.

    ``session_digest`` is of the session that began it and alone may end it. ``state_digest`` finds it ("" for a code
    that is typed, which has none). ``verifier`` and ``device_code`` are sealed. ``registration_mac`` tells what was
    registered when it began, and ``redirect_uri`` is said again when the code is exchanged. A device code is asked for
    again at ``next_at`` at the earliest, every ``interval`` seconds.
    """

    __tablename__ = "oauth_pending"

    id: Mapped[int] = mapped_column(primary_key=True)
    config_id: Mapped[int] = mapped_column(ForeignKey("smtp_config.id", ondelete="CASCADE"), index=True)
    way: Mapped[str] = mapped_column(String(24))
    session_digest: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(64), default="")
    state_digest: Mapped[str] = mapped_column(String(64), default="", index=True)
    verifier: Mapped[str] = mapped_column(Text, default="")
    nonce: Mapped[str] = mapped_column(String(64), default="")
    redirect_uri: Mapped[str] = mapped_column(String(LONGEST_URL), default="")
    device_code: Mapped[str] = mapped_column(Text, default="")
    user_code: Mapped[str] = mapped_column(String(32), default="")
    verification_url: Mapped[str] = mapped_column(Text, default="")
    interval: Mapped[int] = mapped_column(default=5)
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    registration_mac: Mapped[str] = mapped_column(String(64))
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)


def find(session: Session, config_id: int) -> OAuthSignIn | None:
    return session.get(OAuthSignIn, config_id)


def held(session: Session, config_id: int) -> OAuthSignIn | None:
    """The row for a change of it: whoever else changes it waits."""
    return session.get(OAuthSignIn, config_id, with_for_update=True)


def every(session: Session) -> list[OAuthSignIn]:
    """All rows of all scopes, by id."""
    return list(session.scalars(select(OAuthSignIn).order_by(OAuthSignIn.config_id)))


def of(session: Session, config_ids: list[int]) -> dict[int, OAuthSignIn]:
    """The rows of these configurations, where they have one."""
    query = select(OAuthSignIn).where(OAuthSignIn.config_id.in_(config_ids))
    return {row.config_id: row for row in session.scalars(query)} if config_ids else {}


def to_renew(session: Session, before: datetime, now: datetime) -> list[int]:
    """The configurations whose refresh token was last used before then, and may be asked about now."""
    query = select(OAuthSignIn.config_id).where(
        OAuthSignIn.consent > 0,
        OAuthSignIn.refresh_token != "",
        OAuthSignIn.needs_sign_in.is_(False),
        or_(OAuthSignIn.obtained_at.is_(None), OAuthSignIn.obtained_at < before),
        or_(OAuthSignIn.retry_at.is_(None), OAuthSignIn.retry_at <= now),
    )
    return list(session.scalars(query.order_by(OAuthSignIn.config_id)))


def take_lease(session: Session, config_id: int, lease_id: str, now: datetime, until: datetime) -> bool:
    """Whether the right to renew is this one's until then. One that a clock set back has left far ahead is void; one
    that ends a little later is of who took it while this one waited for the database.
    """
    far = until + (until - now)
    free = or_(OAuthSignIn.lease_until.is_(None), OAuthSignIn.lease_until <= now, OAuthSignIn.lease_until > far)
    taken = update(OAuthSignIn).where(OAuthSignIn.config_id == config_id, free)
    return compared_and_set(session, taken.values(lease_id=lease_id, lease_until=until))


def give_lease_back(session: Session, config_id: int, lease_id: str) -> None:
    """Let another renew, if the lease is still this one's."""
    mine = OAuthSignIn.config_id == config_id, OAuthSignIn.lease_id == lease_id
    compared_and_set(session, update(OAuthSignIn).where(*mine).values(lease_id="", lease_until=None))


def find_pending(session: Session, state_digest: str) -> PendingOAuth | None:
    """The sign-in under way with this state, for a change of it."""
    query = select(PendingOAuth).where(PendingOAuth.state_digest == state_digest, PendingOAuth.state_digest != "")
    return session.scalars(query.with_for_update()).one_or_none()


def pending_of(session: Session, config_id: int, session_digest: str, way: str) -> PendingOAuth | None:
    """The newest sign-in under way that a session has begun for a configuration, for a change of it."""
    query = select(PendingOAuth).where(
        PendingOAuth.config_id == config_id, PendingOAuth.session_digest == session_digest, PendingOAuth.way == way
    )
    return session.scalars(query.order_by(PendingOAuth.id.desc()).limit(1).with_for_update()).one_or_none()


def forget_pending(session: Session, now: datetime) -> int:
    """Delete the sign-ins whose time is over; how many."""
    return changed(session, delete(PendingOAuth).where(PendingOAuth.ends_at <= now))


def forget_pending_of(session: Session, config_id: int, session_digest: str) -> int:
    """Delete the sign-ins under way that a session has begun for a configuration; how many."""
    mine = PendingOAuth.config_id == config_id, PendingOAuth.session_digest == session_digest
    return changed(session, delete(PendingOAuth).where(*mine))
