"""A stored sign-in by token: what is sealed in it, and what binds it to one server."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from database.oauth_db import OAuthSignIn
from database.smtp_db import SmtpConfig
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import NONE, Registration
from utils.encryption_utils import CannotDecrypt, current_key_id, encrypt_smtp_password, known_keys, mac, opened
from utils.errors import TokenTrouble
from utils.secret import Secret

_BINDING: Final = "oauth-binding-v1"
_REGISTRATION: Final = "oauth-registration-v1"
_SEPARATOR: Final = "/"
_PLAIN: Final = (
    "tenant", "cloud", "authority", "authorize_url", "token_url", "device_url", "revoke_url", "issuer", "scope",
    "client_id", "client_certificate",
)  # fmt: skip
_REGISTERED_SECRETS: Final = ("client_secret", "client_key", "service_account")
TOKENS: Final = ("refresh_token", "access_token")
SEALED: Final = (*_REGISTERED_SECRETS, *TOKENS)

_Kind = TypeVar("_Kind", bound=StrEnum)


class SignInCondition(StrEnum):
    """Whether a stored sign-in may be used."""

    GOOD = "good"
    KEY_MISSING = "key_missing"  # sealed under a key that is not at hand
    ALTERED = "altered"  # the binding does not match: somebody edited the row, or it is another server's


@dataclass(frozen=True, kw_only=True)
class StoredSignIn:
    """A row with what is sealed in it, if that could be opened: otherwise there are no secrets in it."""

    config_id: int
    condition: SignInCondition
    registration: Registration
    smtp_host: str
    username: str
    key_id: str
    refresh_token: Secret = NONE
    access_token: Secret = NONE
    consent: int
    mailbox: str
    granted_scopes: tuple[str, ...]
    granted_by: str
    granted_at: datetime | None
    obtained_at: datetime | None
    access_ends_at: datetime | None
    needs_sign_in: bool
    trouble: TokenTrouble | None
    trouble_at: datetime | None
    failures: int
    retry_at: datetime | None
    refused_at: datetime | None
    is_personal: bool = False
    registration_mac: str = field(default="", repr=False)

    @property
    def is_usable(self) -> bool:
        return self.condition is SignInCondition.GOOD

    @property
    def is_connected(self) -> bool:
        """Whether somebody agreed, or the application was let in, and nothing has ended that since."""
        return self.is_usable and self.consent > 0 and not self.needs_sign_in


def unsealed(
    row: OAuthSignIn, config: SmtpConfig, *, is_personal: bool = False, keys: Mapping[str, bytes] | None = None
) -> StoredSignIn:
    """Check the binding and open what is sealed. Never raises: the condition says what is wrong.

    ``keys`` by their ids are the only ones used; without them those of the environment.
    """
    keys = known_keys() if keys is None else keys
    key = keys.get(row.key_id)
    condition, secrets = SignInCondition.GOOD, dict[str, Secret]()
    if key is None:
        condition = SignInCondition.KEY_MISSING
    elif not hmac.compare_digest(str(row.binding_mac).encode(), _binding(row, config, key).encode()):
        condition = SignInCondition.ALTERED
    else:
        try:
            secrets = {name: _opened(getattr(row, name), keys) for name in SEALED}
        except CannotDecrypt:
            condition = SignInCondition.ALTERED
    registration = _registration_of(row, secrets)
    return StoredSignIn(
        config_id=row.config_id,
        condition=condition,
        registration=registration,
        smtp_host=config.smtp_server,
        username=config.smtp_username,
        key_id=row.key_id,
        **{name: secrets.get(name, NONE) for name in TOKENS},
        consent=row.consent,
        mailbox=row.mailbox,
        granted_scopes=tuple(row.granted_scopes.split()),
        granted_by=row.granted_by,
        granted_at=row.granted_at,
        obtained_at=row.obtained_at,
        access_ends_at=row.access_ends_at,
        needs_sign_in=row.needs_sign_in,
        trouble=trouble_of(row.trouble),
        trouble_at=row.trouble_at,
        failures=row.failures,
        retry_at=row.retry_at,
        refused_at=row.refused_at,
        is_personal=is_personal,
        registration_mac=registration_mac(registration, config),
    )


def write_registration(row: OAuthSignIn, config: SmtpConfig, registration: Registration) -> None:
    """Put a registration into the row and bind it. Tokens that are there stay; whoever changes what they came from
    takes them out with ``write_tokens``.
    """
    kept = _tokens_in(row, config)
    row.provider, row.way = registration.provider.value, registration.way.value
    for name in _PLAIN:
        setattr(row, name, getattr(registration, name))
    row.secret_ends_on, row.is_testing = registration.secret_ends_on, registration.is_testing
    _seal(row, config, {name: getattr(registration, name) for name in _REGISTERED_SECRETS} | kept)


def write_tokens(row: OAuthSignIn, config: SmtpConfig, *, access: Secret, refresh: Secret) -> None:
    """Put these tokens, or none, into a row that is good, in the place of those in it."""
    secrets = {name: _opened(getattr(row, name)) for name in _REGISTERED_SECRETS}
    _seal(row, config, secrets | {"access_token": access, "refresh_token": refresh})


def seal_anew(row: OAuthSignIn, config: SmtpConfig) -> bool:
    """Seal a good row of a previous key with the current one; whether there was anything to do."""
    if row.key_id == current_key_id() or not unsealed(row, config).is_usable:
        return False
    _seal(row, config, {name: _opened(getattr(row, name)) for name in SEALED})
    return True


def registration_mac(registration: Registration, config: SmtpConfig) -> str:
    """Tells this registration for this server from any others, so that a sign-in under way is not ended by another."""
    return mac(_REGISTRATION, [*_server(config), *_values(registration)])


def code_of(trouble: TokenTrouble) -> str:
    """A trouble as a column keeps it."""
    return _SEPARATOR.join((trouble.fault, trouble.error, trouble.code, trouble.kind, trouble.link))


def trouble_of(code: str) -> TokenTrouble | None:
    """What a column keeps of a trouble, if anything."""
    parts = code.split(_SEPARATOR)
    return TokenTrouble(*parts) if code and len(parts) <= len(TokenTrouble.__dataclass_fields__) else None


def _registration_of(row: OAuthSignIn, secrets: Mapping[str, Secret]) -> Registration:
    columns: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    columns |= {name: secrets.get(name, NONE) for name in _REGISTERED_SECRETS}
    return Registration(
        provider=_member(OAuthProvider, row.provider, OAuthProvider.CUSTOM),
        way=_member(Grant, row.way, Grant.CODE),
        **columns,
        secret_ends_on=_day(row.secret_ends_on),
        is_testing=row.is_testing,
    )


def _member(kind: type[_Kind], text: str, otherwise: _Kind) -> _Kind:
    """A member of an enumeration, whatever somebody has written into a row that is then not good anyway."""
    try:
        return kind(text)
    except ValueError:
        return otherwise


def _day(value: object) -> date | None:
    return value if isinstance(value, date) else None


def _tokens_in(row: OAuthSignIn, config: SmtpConfig) -> dict[str, Secret]:
    """The tokens of a row that is good; of any other, none."""
    if not row.binding_mac:
        return dict.fromkeys(TOKENS, NONE)
    found = unsealed(row, config)
    return {"refresh_token": found.refresh_token, "access_token": found.access_token}


def _seal(row: OAuthSignIn, config: SmtpConfig, secrets: Mapping[str, Secret]) -> None:
    """All of a row is under the current key."""
    for name in SEALED:
        secret = secrets[name]
        setattr(row, name, encrypt_smtp_password(secret.reveal()) if secret else "")
    row.key_id = current_key_id()
    row.binding_mac = _binding(row, config, known_keys()[row.key_id])


def _opened(token: str, keys: Mapping[str, bytes] | None = None) -> Secret:
    return Secret(opened(token, (known_keys() if keys is None else keys).values())) if token else NONE


def _server(config: SmtpConfig) -> list[str]:
    """What a sign-in is bound to of its server; its port and encryption are bound by the server's own binding."""
    scope = "global" if config.account_id is None else f"account:{config.account_id}"
    return [scope, str(config.id), config.smtp_server, config.smtp_username]


def _binding(row: OAuthSignIn, config: SmtpConfig, key: bytes) -> str:
    names = ("provider", "way", *_PLAIN, *SEALED)
    return mac(_BINDING, [*_server(config), *_pairs((name, str(getattr(row, name))) for name in names)], key)


def _values(registration: Registration) -> list[str]:
    plain = [registration.provider.value, registration.way.value, *(getattr(registration, name) for name in _PLAIN)]
    return [*plain, *(getattr(registration, name).reveal() for name in _REGISTERED_SECRETS)]


def _pairs(values: Iterable[tuple[str, str]]) -> list[str]:
    return [part for pair in values for part in pair]
