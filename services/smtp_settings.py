"""The value object of a mail server's settings, and the rules between its fields that everybody shares."""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from services import client_certificate, smtp_tls
from services.smtp_fields import DEFAULT_TIMEOUT, SmtpChange
from services.smtp_identity import Identity
from services.smtp_wire import WireError
from utils.addresses import ascii_address, ip_literal, is_loopback
from utils.env_utils import get_settings
from utils.errors import InvalidInput
from utils.secret import Secret

CHANGED_SERVER: Final = "You changed the server. Enter the password again."
CHANGED_SERVER_FOR_KEY: Final = "You changed the server. Enter the client key again."
NEEDS_ENCRYPTION: Final = "A client certificate is shown under STARTTLS or TLS only. Choose one of them, or remove it."
SMTPS_PORT: Final = 465
NO_PASSWORD: Final = Secret("")


class Security(StrEnum):
    """How the connection is protected; each is a requirement, never a wish."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


MODE_NAMES: Final = {Security.STARTTLS: "STARTTLS", Security.TLS: "TLS", Security.NONE: "no encryption"}


@dataclass(frozen=True, kw_only=True)
class SmtpSettings:
    """Everything needed to send through one server. Host and addresses are validated and normalised."""

    host: str
    port: int
    security: Security
    username: str = ""
    password: Secret = NO_PASSWORD
    from_email: str
    from_name: str = ""
    reply_to: str = ""
    helo_hostname: str = ""
    timeout_seconds: int = DEFAULT_TIMEOUT
    auth_method: str = ""  # "" picks the best that the server offers
    client_certificate: str = ""  # PEM, one's own first; together with its key or not at all
    client_key: Secret = NO_PASSWORD

    @property
    def destination(self) -> tuple[str, int, str, str]:
        """Where a password would go, and how; a stored one never goes to another destination."""
        return self.host, self.port, self.security, self.username

    @property
    def identity(self) -> Identity | None:
        """What is shown to a server that asks who we are when encryption begins."""
        return Identity(self.client_certificate, self.client_key) if self.client_certificate else None

    @property
    def mode_name(self) -> str:
        return MODE_NAMES[self.security]


def merged(stored: SmtpSettings | None, change: SmtpChange) -> SmtpSettings:
    """The settings after a change, with every rule between fields held.

    A stored password is kept only for the destination it was entered for. Raises InvalidInput.
    """
    required = {
        "smtp_server": "Give the server's host name.",
        "from_email": "Give the address mails come from.",
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
    taken = {ours: getattr(change, theirs) for ours, theirs in FIELDS.items() if change.given(theirs)}
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


# Of SmtpSettings, by their names in a change and in the table; beside them the mode, the password and the certificate.
FIELDS: Final = {
    "host": "smtp_server",
    "port": "smtp_port",
    "username": "smtp_username",
    "from_email": "from_email",
    "from_name": "from_name",
    "reply_to": "reply_to",
    "helo_hostname": "helo_hostname",
    "timeout_seconds": "timeout_seconds",
    "auth_method": "auth_method",
}


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
            raise InvalidInput({"smtp_password": ["Either remove the password or give a new one."]})
        renamed = change.smtp_username and (not stored or change.smtp_username != stored.username)
        if renamed:
            raise InvalidInput({"smtp_username": ["Leave the user name empty when the password is removed."]})
        return replace(result, username="", password=NO_PASSWORD)
    if change.smtp_password:
        result = replace(result, password=change.smtp_password)
    elif stored and stored.password and result.destination != stored.destination:
        raise InvalidInput({"smtp_password": [CHANGED_SERVER]})
    if result.username and not result.password:
        raise InvalidInput({"smtp_password": ["Give the password that belongs to the user name."]})
    if result.password and not result.username:
        raise InvalidInput({"smtp_username": ["Give the user name that belongs to the password."]})
    return result


def _with_identity(stored: SmtpSettings | None, result: SmtpSettings, change: SmtpChange) -> SmtpSettings:
    """Decide which client certificate and key go with the settings: new ones, the stored ones, or none."""
    before = stored.client_certificate if stored else ""
    certificate, key = change.client_certificate or before, change.client_key
    if change.remove_client_certificate:
        if key or certificate != before:
            raise InvalidInput({"client_certificate": ["Either remove the client certificate or give a new one."]})
        return replace(result, client_certificate="", client_key=NO_PASSWORD)
    if not (certificate or key):
        return result
    if not certificate:
        raise InvalidInput({"client_certificate": ["Give the certificate that belongs to the key."]})
    if result.security is Security.NONE:
        raise InvalidInput({"client_certificate": [NEEDS_ENCRYPTION]})
    if not key and stored and stored.client_key:
        if result.destination != stored.destination:
            raise InvalidInput({"client_key": [CHANGED_SERVER_FOR_KEY]})
        key = stored.client_key
    if not key:
        raise InvalidInput({"client_key": ["Give the key that belongs to the certificate."]})
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


def public_host() -> str | None:
    """The host of BASE_URL, if it is a name that others can know."""
    return _public(get_settings().base_host)


@lru_cache(maxsize=16)
def _public(host: str) -> str | None:
    return None if is_loopback(host) or ip_literal(host) else host


def mail_host(from_email: str) -> str:
    """The name that EHLO and Message-ID carry: BASE_URL's host, or the From's domain where that is local.

    Never this machine's own name, which would give the inner network away.
    """
    return public_host() or ascii_address(from_email).rpartition("@")[2]


def message_id_domain(first: SmtpSettings | None) -> str:
    """The right side of a Message-ID for a mail whose first server is this one."""
    return mail_host(first.from_email) if first else get_settings().base_host


def _may_go_in_clear(host: str) -> bool:
    return is_loopback(host) or get_settings().smtp_allow_plaintext_login
