"""How a server is connected, and whether somebody has to sign in again: of what is stored, without any secret."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from database import oauth_db
from database.engine import reading
from database.oauth_db import OAuthSignIn
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.sealed import StoredSignIn, unsealed
from services.settings import sign_ins
from services.settings.sealing import UNCONNECTED, StoredConfig
from utils import clock
from utils.errors import TokenTrouble


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A sign-in by token. ``serves``: the server is signed in to so; otherwise its password still serves.

    ``mailbox`` is who signed in, ``granted_by`` who had that begun here. ``needs_sign_in``: somebody has to act, since
    ``since``, because of ``trouble``; until ``good_until`` the last token may serve. ``problem`` says why nothing of it
    can be used, and what to do; "" for a good one.
    """

    provider: OAuthProvider
    way: Grant
    mailbox: str
    serves: bool
    is_connected: bool
    needs_sign_in: bool
    since: datetime | None
    trouble: TokenTrouble | None
    good_until: datetime | None
    granted_by: str
    granted_at: datetime | None
    renewed_at: datetime | None
    secret_ends_on: date | None
    is_testing: bool
    is_app_only: bool
    problem: str

    @property
    def told(self) -> str:
        """What there is to say of one that needs somebody, in sentences."""
        todo = "Check what is registered at the provider." if self.is_app_only else "Connect it again."
        if self.good_until:
            return f"Needs sign-in again. Email goes out until {clock.readable(self.good_until)}, then it waits. {todo}"
        since = f" since {clock.readable(self.since)}" if self.since else ""
        return f"Needs sign-in again{since}: email waits. {todo}"


def of(stored: StoredConfig, row: OAuthSignIn | None) -> Connection | None:
    """The connection of a server, in use or prepared; None if it has none."""
    return _of(stored, unsealed(row, stored.row)) if row is not None else None  # type: ignore[arg-type]


def missing(stored: StoredConfig, connection: Connection | None) -> str:
    """Why a server that is signed in to by token cannot be, whatever its own row says; "" if it can."""
    if not stored.settings.is_by_token or not stored.is_usable:
        return ""
    return connection.problem if connection else UNCONNECTED


def problem(stored: StoredConfig) -> str:
    """The same, looked up."""
    if not stored.settings.is_by_token:
        return ""
    with reading() as session:
        return missing(stored, of(stored, oauth_db.find(session, stored.id)))


def refused(connection: Connection, since: datetime | None) -> Connection:
    """The same of one whose tokens the mail server has refused since then."""
    return replace(connection, is_connected=False, needs_sign_in=True, since=since or connection.since, good_until=None)


def _of(stored: StoredConfig, known: StoredSignIn) -> Connection:
    lives = known.access_token and known.access_ends_at and clock.now() < known.access_ends_at
    return Connection(
        provider=known.registration.provider,
        way=known.registration.way,
        mailbox=known.mailbox,
        serves=stored.settings.is_by_token,
        is_connected=known.is_connected,
        needs_sign_in=known.needs_sign_in,
        since=known.trouble_at if known.needs_sign_in else None,
        trouble=known.trouble,
        good_until=known.access_ends_at if known.needs_sign_in and lives else None,
        granted_by=known.granted_by,
        granted_at=known.granted_at,
        renewed_at=known.obtained_at,
        secret_ends_on=known.registration.secret_ends_on,
        is_testing=known.registration.is_testing,
        is_app_only=known.registration.is_app_only,
        problem=sign_ins.problem_of(known),
    )
