"""The rules between the fields of a mail server's settings, which everybody shares."""

from dataclasses import replace
from typing import Final

from services.settings.fields import SmtpChange
from services.settings.table import VALUES
from services.smtp import client_certificate, dial
from services.smtp import tls as smtp_tls
from services.smtp.settings import NO_PASSWORD, Identity, OwnInbox, Security, SmtpSettings
from services.smtp.wire import Deadline, WireError
from utils.addresses import ascii_domain, is_loopback, public_name
from utils.allowed_places import EVERYWHERE, AllowedPlaces
from utils.env_utils import Settings, get_settings
from utils.errors import Fault, InvalidInput

CHANGED_SERVER: Final = "You changed the server. Enter the password again."
CLEARED_USER_NAME: Final = (
    "You cleared the user name, and a password is stored. Remove the password as well, or enter the user name again."
)
CHANGED_SERVER_FOR_KEY: Final = "You changed the server. Enter the client key again."
CONNECTED: Final = "This server is connected by OAuth. Disconnect it first, or add another server."
NEEDS_NOTHING_ELSE: Final = "Signing in by token needs no password. Leave it empty, or choose another sign-in method."
NOTHING_TO_REMOVE: Final = "Signing in by token needs no password. Choose another sign-in method to remove the sign-in."
NEEDS_ENCRYPTION: Final = (
    "A client certificate works only with STARTTLS or TLS. Choose one of them, or remove the certificate."
)
SMTPS_PORT: Final = 465
LOOK_UP_SECONDS: Final = 3.0  # for the name of a server that is saved, where its address matters


def merged(stored: SmtpSettings | None, change: SmtpChange) -> SmtpSettings:
    """The settings after a change, with every rule between fields held.

    A stored password is kept only for the destination it was entered for. Raises InvalidInput.
    """
    required = {
        "smtp_server": "Enter the server’s host name.",
        "from_email": "Enter the From address.",
    }
    missing = {field: [text] for field, text in required.items() if not stored and not change.given(field)}
    if missing:
        raise InvalidInput(missing)
    security = _security(stored, change)
    base = stored or SmtpSettings(
        host=change.smtp_server,
        port=465 if security is Security.TLS else 587,
        security=security,
        from_email=change.from_email,
    )
    taken = {setting: getattr(change, name) for name, setting in VALUES.items() if change.given(name)}
    result, errors = replace(base, **taken, security=security), dict[str, list[str]]()
    for decide in (_with_login, _with_identity):
        try:
            result = decide(stored, result, change)
        except InvalidInput as refused:
            errors |= refused.errors
    if errors:
        raise InvalidInput(errors)
    if result.password and security is Security.NONE and not _may_go_in_clear(result.host):
        raise InvalidInput({"use_tls": ["A password is never sent unencrypted. Choose STARTTLS or TLS."]})
    return result


def allowed_for(settings: SmtpSettings, ours: Settings) -> AllowedPlaces:
    """Where this server may be. The local inbox is our own, and nobody has entered where it is."""
    if isinstance(settings, OwnInbox):
        return EVERYWHERE
    return ours.smtp_allowed_accounts if settings.is_personal else ours.smtp_allowed


def check_place(settings: SmtpSettings) -> None:
    """What the deployment allows binds whoever enters a server. Raises InvalidInput."""
    allowed = allowed_for(settings, get_settings())
    told = {"smtp_server": allowed.refusal_of_host(settings.host), "smtp_port": allowed.refusal_of_port(settings.port)}
    if errors := {field: [text] for field, text in told.items() if text}:
        raise InvalidInput(errors)


def look_at_place(host: str, *, is_personal: bool = False) -> None:
    """Refuse a server whose name leads nowhere that is allowed. Raises InvalidInput.

    Asked before there is a transaction. A name that cannot be looked up now is judged each time it is connected to, and
    so is a public one that nobody knows yet.
    """
    ours = get_settings()
    allowed = ours.smtp_allowed_accounts if is_personal else ours.smtp_allowed
    if not (allowed.networks or allowed.is_discreet):
        return
    try:
        dial.look_up(host, Deadline(LOOK_UP_SECONDS), ours.dns_resolver, allowed)
    except WireError as error:
        if error.fault is Fault.ADDRESS_REFUSED and not (public_name(host) and _is_unknown(host, ours.dns_resolver)):
            raise InvalidInput({"smtp_server": [error.text]}) from None


def _is_unknown(host: str, resolver: str) -> bool:
    """Whether the name has no address at all."""
    try:
        dial.look_up(host, Deadline(LOOK_UP_SECONDS), resolver)
    except WireError as error:
        return error.fault is Fault.DNS_NOT_FOUND
    return False


def _security(stored: SmtpSettings | None, change: SmtpChange) -> Security:
    """One flag true alone clears the other, one false alone leaves it; neither: as stored, or by the port."""
    starttls, tls = change.given("use_tls"), change.given("use_ssl")
    if change.use_tls and change.use_ssl:
        raise InvalidInput({"use_ssl": ["Choose either use_tls (STARTTLS) or use_ssl (TLS), not both."]})
    if starttls and change.use_tls:
        return Security.STARTTLS
    if tls and change.use_ssl:
        return Security.TLS
    if stored:
        before = stored.security
    else:
        before = Security.TLS if change.smtp_port == SMTPS_PORT else Security.STARTTLS
    cleared = (starttls and before is Security.STARTTLS) or (tls and before is Security.TLS)
    return Security.NONE if cleared else before


def _with_login(stored: SmtpSettings | None, result: SmtpSettings, change: SmtpChange) -> SmtpSettings:
    """Decide which password goes with the settings: a new one, the stored one, or none."""
    if change.remove_password:
        if change.smtp_password:
            raise InvalidInput({"smtp_password": ["Remove the password or enter a new one, not both."]})
        if result.is_by_token:  # which needs the user name that would go with the password
            raise InvalidInput({"smtp_password": [NOTHING_TO_REMOVE]})
        renamed = change.smtp_username and (not stored or change.smtp_username != stored.username)
        if renamed:
            raise InvalidInput({"smtp_username": ["Leave the user name empty when the password is removed."]})
        return replace(result, username="", password=NO_PASSWORD)
    if change.smtp_password:
        result = replace(result, password=change.smtp_password)
        if not change.given("auth_method") and result.is_by_token:
            result = replace(result, auth_method="")
    if result.is_by_token:
        return _by_token(stored, result, change)
    if not change.smtp_password and stored and stored.password:
        _check_kept(stored, result)
    if result.username and not result.password:
        raise InvalidInput({"smtp_password": ["Enter the password for this user name."]})
    if result.password and not result.username:
        raise InvalidInput({"smtp_username": ["Enter the user name for this password."]})
    return result


def _check_kept(stored: SmtpSettings, result: SmtpSettings) -> None:
    """A stored password is for the user name and the place that it was entered for. Raises InvalidInput."""
    if not result.username:
        raise InvalidInput({"smtp_username": [CLEARED_USER_NAME]})
    if result.destination != stored.destination:
        raise InvalidInput({"smtp_password": [CHANGED_SERVER]})


def _by_token(stored: SmtpSettings | None, result: SmtpSettings, change: SmtpChange) -> SmtpSettings:
    """Settings without a password. What was granted stays with the host and the mailbox that it was granted for."""
    if change.smtp_password:
        raise InvalidInput({"smtp_password": [NEEDS_NOTHING_ELSE]})
    if not result.username:
        raise InvalidInput({"smtp_username": ["Enter the mailbox to sign in to as the user name."]})
    if result.security is Security.NONE:
        raise InvalidInput({"use_tls": ["A token is never sent unencrypted. Choose STARTTLS or TLS."]})
    if stored and stored.bearer:
        moved = {"smtp_server": result.host != stored.host, "smtp_username": result.username != stored.username}
        if told := {field: [CONNECTED] for field, is_other in moved.items() if is_other}:
            raise InvalidInput(told)
    return replace(result, password=NO_PASSWORD)


def _with_identity(stored: SmtpSettings | None, result: SmtpSettings, change: SmtpChange) -> SmtpSettings:
    """Decide which client certificate and key go with the settings: new ones, the stored ones, or none."""
    before = stored.client_certificate if stored else ""
    certificate, key = change.client_certificate or before, change.client_key
    if change.remove_client_certificate:
        if key or certificate != before:
            raise InvalidInput({"client_certificate": ["Remove the client certificate or enter a new one, not both."]})
        return replace(result, client_certificate="", client_key=NO_PASSWORD)
    if not (certificate or key):
        return result
    if not certificate:
        raise InvalidInput({"client_certificate": ["Enter the certificate for this key."]})
    if result.security is Security.NONE:
        raise InvalidInput({"client_certificate": [NEEDS_ENCRYPTION]})
    if not key and stored and stored.client_key:
        if result.destination != stored.destination:
            raise InvalidInput({"client_key": [CHANGED_SERVER_FOR_KEY]})
        key = stored.client_key
    if not key:
        raise InvalidInput({"client_key": ["Enter the key for this certificate."]})
    if change.client_key or certificate != before:
        _check_pair(Identity(certificate, key))
    return replace(result, client_certificate=certificate, client_key=key)


def _check_pair(identity: Identity) -> None:
    if not client_certificate.belong_together(identity.certificate, identity.key):
        raise InvalidInput({"client_key": [client_certificate.OTHER_KEY]})
    try:
        smtp_tls.tls_context(None, identity)
    except WireError as refused:
        raise InvalidInput({"client_certificate": [refused.text]}) from None


def mail_host(from_email: str, ours: Settings) -> str:
    """The name that EHLO and Message-ID carry: BASE_URL's host, or the From's domain where that is not public.

    Never this machine's own name, which would give the inner network away. As A-labels, as both are said in ASCII.
    """
    return ours.public_host or ascii_domain(from_email)


def hello_name(settings: SmtpSettings, ours: Settings) -> str:
    """What EHLO says to this server."""
    return settings.helo_hostname or mail_host(settings.from_email, ours)


def message_id_domain(first: SmtpSettings | None) -> str:
    """The right side of a Message-ID for a mail whose first server is this one; without one there is no From either."""
    public = get_settings().public_host
    return public or (ascii_domain(first.from_email) if first else "localhost")


def _may_go_in_clear(host: str) -> bool:
    return is_loopback(host) or get_settings().smtp_allow_plaintext_login
