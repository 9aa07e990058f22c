"""What the API, the commands and the pages may show of a stored configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import Field

from services.connecting.calendar import Certainty, EndAction, Ending, EndOf
from services.oauth.providers import Grant, OAuthProvider
from services.settings import health
from services.settings.connections import Connection
from services.settings.fields import MASK
from services.settings.health import Health, HealthData
from services.settings.reach import Reach
from services.settings.row import ShownColumns
from services.settings.sealing import StoredConfig
from services.settings.table import SECRETS, SHOWN
from services.smtp import client_certificate
from utils.json_shapes import Moment, json_of
from utils.same_names import shared


@dataclass(frozen=True, kw_only=True)
class ClientCertificateData:
    """What stands in the first certificate of a chain."""

    subject: str
    issuer: str
    sha256: str
    not_before: Moment
    not_after: Moment


@dataclass(frozen=True, kw_only=True)
class EndingData:
    """Something about a server that will end, or has."""

    what: EndOf
    ends_on: Annotated[date, Field(description="The day in UTC on which it ends, the last on which it is good.")]
    ends_at: Annotated[Moment | None, Field(description="The moment, where it is known.")]
    days_left: Annotated[int, Field(description="From day to day in UTC: 0 on the day itself, negative after it.")]
    is_over: Annotated[bool, Field(description="Whether it has ended.")]
    certainty: Annotated[
        Certainty,
        Field(
            description="certain: it ends then. unless_renewed: each renewal of a token moves it. seen: the server "
            "showed it last so. announced: the provider says so, and what it means for you is in the words."
        ),
    ]
    words: Annotated[str, Field(description="What ends and when, in a sentence.")]
    remedy: Annotated[str, Field(description="What to do.")]
    action: Annotated[
        EndAction,
        Field(
            description="Where to do it. connect: sign in at the provider again, or change what is registered there. "
            "edit: in the server’s settings. Empty: not at Sealpost."
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class OAuthData:
    """How a server is connected: no token, and nothing else that is secret."""

    provider: OAuthProvider
    way: Annotated[
        Grant,
        Field(
            description="code: someone signed in, in a browser. device: someone signed in with a code. "
            "client_credentials, service_account: the application signs in by itself."
        ),
    ]
    mailbox: Annotated[str, Field(description="Who signed in, as far as the provider says it.")]
    serves: Annotated[bool, Field(description="Whether the server is signed in to by token. false: the password is.")]
    connected: bool
    needs_sign_in: Annotated[bool, Field(description="Whether it must be connected again.")]
    since: Annotated[Moment | None, Field(description="Since when it needs sign-in.")]
    granted_by: Annotated[str, Field(description="Who connected it here.")]
    granted_at: Moment | None
    renewed_at: Annotated[Moment | None, Field(description="When the last token was given.")]
    secret_ends_on: Annotated[date | None, Field(description="The last day of the client secret, as it was entered.")]
    problem: Annotated[str, Field(description="Why nothing of it can be used, and what to do.")]


@dataclass(frozen=True, kw_only=True)
class ConfigData(ShownColumns):
    """A configuration as it may be shown: the password and the client key are eight bullets or nothing."""

    has_password: bool
    needs_reentry: bool
    has_client_key: bool
    client_certificate_facts: ClientCertificateData | None
    verified: bool
    health: HealthData
    endings: Annotated[list[EndingData], Field(description="What about it will end or has, the first to end first.")]
    oauth: Annotated[OAuthData | None, Field(description="Its connection by OAuth, in use or prepared.")]
    verified_for_own_domain: bool  # as far as a test without a sign-in could see; not by others then


def config_data(stored: StoredConfig, known: Health | None = None) -> ConfigData:
    """All that may be shown of it; ``known`` is how it is, if that was asked."""
    row = stored.row
    columns = {name: getattr(row, name) for name in SHOWN}
    known = known or health.of_changed(stored)
    masked = {name: MASK if columns[name] else "" for name in SECRETS}
    verified_at = row.verified_at if stored.is_verified else None  # only while the test still holds
    return ConfigData(
        **columns | masked | {"verified_at": verified_at},
        has_password=bool(row.smtp_password),
        has_client_key=bool(row.client_key),
        needs_reentry=stored.needs_reentry or _is_lost(known),
        client_certificate_facts=_certificate_data(row.client_certificate),
        verified=stored.is_verified,
        health=health.data(known),
        endings=[ending_data(each) for each in known.endings],
        oauth=_oauth_data(known.connection),
        verified_for_own_domain=stored.verified_reach is Reach.OWN_DOMAIN,
    )


def public_dict(stored: StoredConfig) -> dict[str, Any]:
    """The same as the API answers it."""
    return json_of(ConfigData, config_data(stored))


def public_dicts(found: Sequence[StoredConfig]) -> list[dict[str, Any]]:
    """The same of several."""
    known = health.of_configs(found)
    return [json_of(ConfigData, config_data(stored, known[stored.row.id])) for stored in found]


def ending_data(ending: Ending) -> EndingData:
    """Something that will end, as the API answers it."""
    return EndingData(**shared(EndingData, ending))


def _is_lost(known: Health) -> bool:
    """Whether the tokens that it is signed in to with cannot be opened."""
    return known.connection is not None and known.connection.serves and bool(known.connection.problem)


def _oauth_data(connection: Connection | None) -> OAuthData | None:
    if connection is None:
        return None
    return OAuthData(connected=connection.is_connected, **shared(OAuthData, connection))


def _certificate_data(certificate: str) -> ClientCertificateData | None:
    facts = client_certificate.facts_of(certificate)
    if facts is None:
        return None
    return ClientCertificateData(
        subject=facts.subject, issuer=facts.issuer, sha256=facts.sha256, not_before=facts.starts, not_after=facts.ends
    )
