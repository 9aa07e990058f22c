"""How the connection of a server is, as its page shows it, and as the API and the commands tell it: nothing secret."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from database import oauth_db
from database.engine import reading
from services.connecting import advice, connected
from services.connecting.calendar import Ending
from services.connecting.guide import ConnectedState
from services.oauth.registration import Registration
from services.oauth.sealed import StoredSignIn
from services.settings import endings
from services.settings.fields import MASK
from services.settings.sealing import StoredConfig
from services.settings.shown import EndingData, ending_data
from utils.json_shapes import Moment


@dataclass(frozen=True, kw_only=True)
class ConnectionData:
    """What is registered for a server, and how its connection is. Secrets are eight bullets or nothing.

    ``status``: none, registered, connected, needs_sign_in or unreadable. ``in_use``: the server is signed in to by
    token; until then its password serves. ``mailbox`` is who signed in, as far as the provider says it.
    """

    status: str
    in_use: bool
    provider: str = ""
    way: str = ""
    tenant: str = ""
    cloud: str = ""
    authority: str = ""
    authorize_url: str = ""
    token_url: str = ""
    device_url: str = ""
    revoke_url: str = ""
    issuer: str = ""
    scope: str = ""
    client_id: str = ""
    client_certificate: str = ""
    client_secret: str = ""
    client_key: str = ""
    service_account: str = ""
    has_client_secret: bool = False
    has_client_key: bool = False
    has_service_account: bool = False
    secret_ends_on: date | None = None
    is_testing: bool = False
    mailbox: str = ""
    granted_by: str = ""
    granted_at: Moment | None = None
    renewed_at: Moment | None = None
    token_ends_at: Moment | None = None
    trouble: str = ""
    trouble_at: Moment | None = None
    remedy: str = ""
    endings: tuple[EndingData, ...] = ()


_PLAIN: Final = (
    "tenant", "cloud", "authority", "authorize_url", "token_url", "device_url", "revoke_url", "issuer", "scope",
    "client_id", "client_certificate", "secret_ends_on", "is_testing",
)  # fmt: skip
_SECRETS: Final = ("client_secret", "client_key", "service_account")


def status_of(known: StoredSignIn | None) -> str:
    """In one word: none, unreadable, registered, needs_sign_in or connected."""
    if known is None:
        return "none"
    if not known.is_usable:
        return "unreadable"
    if not known.consent:
        return "registered"
    return "needs_sign_in" if known.needs_sign_in else "connected"


def connection_data(stored: StoredConfig, known: StoredSignIn | None) -> ConnectionData:
    """All that may be told of it."""
    in_use = stored.settings.is_by_token
    if known is None:
        return ConnectionData(status=status_of(known), in_use=in_use)
    registration = known.registration
    told = trouble_of(stored, known)
    return ConnectionData(
        status=status_of(known),
        in_use=in_use,
        provider=registration.provider.value,
        way=registration.way.value,
        **{name: getattr(registration, name) for name in _PLAIN},
        **{name: MASK if name in stored_secrets(registration) else "" for name in _SECRETS},
        **{f"has_{name}": name in stored_secrets(registration) for name in _SECRETS},
        mailbox=known.mailbox,
        granted_by=known.granted_by,
        granted_at=known.granted_at,
        renewed_at=known.obtained_at,
        token_ends_at=known.access_ends_at,
        trouble=told.title if told else "",
        trouble_at=known.trouble_at if told else None,
        remedy=told.remedy if told else "",
        endings=tuple(ending_data(each) for each in _endings(stored)),
    )


def stored_secrets(registration: Registration) -> set[str]:
    """Which secrets are stored, by the names of their fields."""
    return {name for name in _SECRETS if getattr(registration, name)}


def trouble_of(stored: StoredConfig, known: StoredSignIn) -> advice.ConnectAdvice | None:
    """Why the token was not renewed the last time, if it was not."""
    return advice.of_failure(advice.failure_of(known.trouble), stored.settings) if known.trouble else None


def state_of(stored: StoredConfig, known: StoredSignIn | None) -> ConnectedState | None:
    """The state on the page; None before anything was registered."""
    if known is None:
        return None
    told = trouble_of(stored, known)
    return connected.state_of(
        known,
        trouble=told.sentences if told else "",
        endings=_endings(stored) if known.consent else (),
        has_password=bool(stored.row.smtp_password) and not stored.settings.is_by_token,
    )


def _endings(stored: StoredConfig) -> tuple[Ending, ...]:
    with reading() as session:
        return endings.of_stored(stored, oauth_db.find(session, stored.row.id))
