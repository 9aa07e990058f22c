"""How the connection of a server is, as its page shows it, and as the API and the commands tell it: nothing secret."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from database import oauth_db
from database.engine import reading
from services.connecting import advice, connected
from services.connecting.calendar import Ending
from services.connecting.guide import ConnectedState
from services.oauth import keeping
from services.oauth.registration import Registration
from services.oauth.sealed import StoredSignIn
from services.settings import endings
from services.settings.fields import MASK
from services.settings.sealing import StoredConfig
from utils.json_shapes import Moment


class ConnectionStatus(StrEnum):
    """How a connection is, in a word."""

    NONE = "none"
    REGISTERED = "registered"
    CONNECTED = "connected"
    NEEDS_SIGN_IN = "needs_sign_in"
    UNREADABLE = "unreadable"


def _of(description: str) -> Any:  # noqa: ANN401 - pydantic's
    return Field(description=description)


@dataclass(frozen=True, kw_only=True)
class ConnectionData:
    """What is registered at a provider for a server, and how its connection is. No secret is in it."""

    status: Annotated[
        ConnectionStatus,
        _of(
            "none: nothing is registered. registered: not connected yet. connected: Sealpost gets tokens. "
            "needs_sign_in: someone must connect again; see trouble. unreadable: sealed with a missing APP_KEY, or "
            "changed outside Sealpost."
        ),
    ]
    in_use: Annotated[bool, _of("Whether the server is signed in to by token. Until then its password serves.")]
    provider: Annotated[str, _of("Who gives the tokens.")] = ""
    way: Annotated[str, _of("The way to a token.")] = ""
    tenant: Annotated[str, _of("Microsoft’s tenant.")] = ""
    cloud: Annotated[str, _of("Microsoft’s cloud.")] = ""
    authority: Annotated[str, _of("Where people sign in, if not at the cloud’s own address.")] = ""
    authorize_url: Annotated[str, _of("Custom: where people sign in.")] = ""
    token_url: Annotated[str, _of("Custom: where tokens are given.")] = ""
    device_url: Annotated[str, _of("Custom: where codes are given.")] = ""
    revoke_url: Annotated[str, _of("Custom: where the provider is told of the end.")] = ""
    issuer: Annotated[str, _of("Custom: what the provider calls itself.")] = ""
    scope: Annotated[str, _of("The scope, if not the provider’s own.")] = ""
    client_id: Annotated[str, _of("The application’s ID.")] = ""
    client_certificate: Annotated[str, _of("The application’s certificate, PEM.")] = ""
    client_secret: Annotated[str, _of("Eight bullets if one is stored.")] = ""
    client_key: Annotated[str, _of("Eight bullets if one is stored.")] = ""
    service_account: Annotated[str, _of("Eight bullets if one is stored.")] = ""
    has_client_secret: Annotated[bool, _of("Whether one is stored.")] = False
    has_client_key: Annotated[bool, _of("Whether one is stored.")] = False
    has_service_account: Annotated[bool, _of("Whether one is stored.")] = False
    secret_ends_on: Annotated[date | None, _of("The client secret’s last day, as it was entered.")] = None
    is_testing: Annotated[bool, _of("Google: whether each sign-in ends after seven days.")] = False
    mailbox: Annotated[str, _of("Who signed in, as far as the provider says it.")] = ""
    granted_by: Annotated[str, _of("Who connected it.")] = ""
    granted_at: Annotated[Moment | None, _of("When.")] = None
    renewed_at: Annotated[Moment | None, _of("When the token was last renewed.")] = None
    token_ends_at: Annotated[Moment | None, _of("Until when the token is good. It is renewed before.")] = None
    trouble: Annotated[str, _of("Why the last renewal failed; empty if it did not.")] = ""
    trouble_at: Annotated[Moment | None, _of("When that was.")] = None
    remedy: Annotated[str, _of("What to do about it.")] = ""


_PLAIN: Final = (
    "tenant", "cloud", "authority", "authorize_url", "token_url", "device_url", "revoke_url", "issuer", "scope",
    "client_id", "client_certificate", "secret_ends_on", "is_testing",
)  # fmt: skip
_SECRETS: Final = ("client_secret", "client_key", "service_account")


def status_of(known: StoredSignIn | None) -> ConnectionStatus:
    """How a connection is, in a word."""
    if known is None:
        return ConnectionStatus.NONE
    if not known.is_usable:
        return ConnectionStatus.UNREADABLE
    if not known.consent:
        return ConnectionStatus.REGISTERED
    return ConnectionStatus.NEEDS_SIGN_IN if known.needs_sign_in else ConnectionStatus.CONNECTED


def connection_of(stored: StoredConfig) -> ConnectionData:
    """All that may be told of a server's connection."""
    known = keeping.find(stored.row.id)
    in_use = stored.settings.is_by_token
    if known is None:
        return ConnectionData(status=status_of(known), in_use=in_use)
    registration = known.registration
    there = stored_secrets(registration)
    secrets: dict[str, Any] = {name: MASK if name in there else "" for name in _SECRETS}
    secrets |= {f"has_{name}": name in there for name in _SECRETS}
    told = trouble_of(stored, known)
    return ConnectionData(
        status=status_of(known),
        in_use=in_use,
        provider=registration.provider.value,
        way=registration.way.value,
        **{name: getattr(registration, name) for name in _PLAIN},
        **secrets,
        mailbox=known.mailbox,
        granted_by=known.granted_by,
        granted_at=known.granted_at,
        renewed_at=known.obtained_at,
        token_ends_at=known.access_ends_at,
        trouble=told.title if told else "",
        trouble_at=known.trouble_at if told else None,
        remedy=told.remedy if told else "",
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
