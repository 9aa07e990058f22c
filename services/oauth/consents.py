"""Registering an application for a server, and keeping what somebody has agreed to; and ending that again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from database import oauth_db, smtp_db
from database.engine import transaction
from database.oauth_db import OAuthSignIn
from database.smtp_db import SmtpConfig
from services.oauth import grants, keeping, sealed
from services.oauth.answers import TokenSet
from services.oauth.client import TokenPolicy
from services.oauth.failures import TokenFailure
from services.oauth.providers import UnusableProvider
from services.oauth.registration import NONE, Registration
from services.oauth.sealed import StoredSignIn, unsealed
from utils import clock
from utils.errors import NotFound

# What makes it another application, or another way: tokens that came of the one are of no use to the other.
_ORIGIN: Final = (
    "provider", "way", "tenant", "cloud", "authority", "token_url", "revoke_url", "scope", "client_id",
    "service_account",
)  # fmt: skip


NO_SUCH: Final = "No such configuration."


class RegistrationChanged(Exception):
    """What is registered is not what it was when the sign-in began."""


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Tokens that were just given: for which mailbox, as far as that is known, and by whom here they were asked for."""

    given: TokenSet
    mailbox: str = ""
    by: str = ""


def register(session: Session, config: SmtpConfig, registration: Registration) -> OAuthSignIn:
    """Write a registration, in the caller's transaction. Tokens that came of another are forgotten; a new client secret
    or key of the same application is used for the next renewal, and what was wrong before is forgiven. Raises NotFound
    if the server was deleted meanwhile.
    """
    row = oauth_db.held(session, config.id)
    if row is None:
        if not smtp_db.hold(session, config.id):
            raise NotFound(NO_SUCH)
        row = OAuthSignIn(
            config_id=config.id, binding_mac="", consent=max(config.oauth_consent, 0), needs_sign_in=False
        )
        session.add(row)
    before = unsealed(row, config) if row.binding_mac else None
    sealed.write_registration(row, config, registration)
    is_same = before is not None and before.is_usable and _origin(before.registration) == _origin(registration)
    if not is_same:
        sealed.write_tokens(row, config, access=NONE, refresh=NONE)
        row.mailbox = row.granted_scopes = row.granted_by = ""
        row.granted_at = row.obtained_at = row.access_ends_at = None
        if row.consent:  # what was tested with the tokens before says nothing of the next ones
            row.consent = config.oauth_consent = row.consent + 1
    row.needs_sign_in = row.consent > 0 and not registration.is_app_only and not is_same
    row.trouble, row.trouble_at, row.failures, row.retry_at, row.refused_at = "", None, 0, None, None
    session.flush()
    return row


def keep(
    config_id: int,
    consent: Consent,
    registration_mac: str,
    *,
    beside: Callable[[Session, SmtpConfig], object] | None = None,
) -> StoredSignIn:
    """Keep tokens in the place of whatever was there; connections that are open go on, and the next ones use these.

    ``beside`` is done in the same transaction. Raises RegistrationChanged if they came of another registration, or the
    server is gone.
    """
    with transaction() as session:
        config = smtp_db.find(session, config_id)
        row = oauth_db.held(session, config_id)
        if config is None or row is None or not unsealed(row, config).is_usable:
            raise RegistrationChanged
        if unsealed(row, config).registration_mac != registration_mac:
            raise RegistrationChanged
        given, now = consent.given, clock.now()
        refresh = given.refresh_token or NONE
        sealed.write_tokens(row, config, access=given.access_token, refresh=refresh)
        row.obtained_at, row.access_ends_at = now, given.expires_at
        row.mailbox, row.granted_scopes = consent.mailbox, " ".join(given.scopes)
        row.granted_by, row.granted_at = consent.by[:64], now
        row.needs_sign_in, row.trouble, row.trouble_at = False, "", None
        row.failures, row.retry_at, row.refused_at = 0, None, None
        config.last_error = None  # which was of the tokens before
        row.consent = config.oauth_consent = max(row.consent, abs(config.oauth_consent)) + 1
        if beside:
            beside(session, config)
        session.flush()
        return unsealed(row, config, is_personal=keeping.is_personal(session, config))


def forget(session: Session, config: SmtpConfig) -> StoredSignIn | None:
    """Take the sign-in of a server out, in the caller's transaction; what it was, to be revoked after that.

    The consents go on being counted, below zero, so that no later one is taken for one of these.
    """
    row = oauth_db.held(session, config.id)
    if row is None:
        return None
    known = unsealed(row, config, is_personal=keeping.is_personal(session, config))
    config.oauth_consent = -abs(config.oauth_consent)
    session.delete(row)
    session.flush()
    return known


def revoke(known: StoredSignIn, policy: TokenPolicy | None = None) -> bool:
    """Tell the provider that what was granted is of no more use. False where it cannot be told, or did not hear: then
    who signed in takes it back there. Never raises.
    """
    if not known.refresh_token:
        return False
    by = policy or keeping.policy(for_account=known.is_personal)
    try:
        provider = known.registration.token_provider(known.smtp_host, may_be_plain=by.may_be_plain)
        return grants.revoke(provider, known.registration.client, known.refresh_token, by)
    except (TokenFailure, UnusableProvider):
        return False


def _origin(registration: Registration) -> list[object]:
    return [getattr(registration, name) for name in _ORIGIN]
