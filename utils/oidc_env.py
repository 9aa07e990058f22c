"""The OpenID Connect provider that people may sign in with, as the environment names it."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from utils import env_urls
from utils.addresses import is_loopback
from utils.env_reader import ConfigurationError, Reader
from utils.secret import Secret

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
_LONGEST: Final = 255
_DEFAULT_SCOPES: Final = "openid profile email"
_DEPENDENT: Final = (
    "OIDC_CLIENT_ID", "OIDC_SCOPES", "OIDC_NAME", "OIDC_ADMIN_CLAIM", "OIDC_ADMIN_VALUE",
    "OIDC_CREATE_ACCOUNTS", "OIDC_ONLY", "OIDC_RECHECK_MINUTES",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OidcSettings:
    """What is registered there, and what its word counts for here."""

    issuer: str  # as it was written
    client_id: str
    client_secret: Secret | None  # a public client has none, and PKCE alone protects it
    scopes: tuple[str, ...]
    name: str  # what its button says
    admin_claim: str = field(default="", repr=False)  # "": administrators are named here
    admin_value: str = field(default="", repr=False)
    creates_accounts: bool = False
    is_only: bool = False  # nobody signs in otherwise, but for the link of the command line
    recheck: timedelta | None = timedelta(hours=1)  # how long its word counts at a session; None: until that ends


def named_by(env: Reader, *, is_production: bool) -> OidcSettings | None:
    """The provider, or None where there is none. Raises ConfigurationError."""
    issuer = env.text("OIDC_ISSUER")
    if not issuer:
        lonely = next((name for name in _DEPENDENT if env.text(name)), "")
        if lonely:
            raise ConfigurationError(
                f"{lonely} is set and OIDC_ISSUER is not. Set OIDC_ISSUER to the provider’s address."
            )
        return None
    _check_issuer(issuer, is_production=is_production)
    client_id, secret = env.text("OIDC_CLIENT_ID"), env.text("OIDC_CLIENT_SECRET")
    if not client_id:
        raise ConfigurationError("OIDC_CLIENT_ID is not set. Set it to the client id that the provider shows.")
    for name, text in (("OIDC_CLIENT_ID", client_id), ("OIDC_CLIENT_SECRET", secret)):
        if len(text) > _LONGEST * 4 or not text.isprintable() or not text.isascii():
            raise ConfigurationError(f"{name} must be printable ASCII characters, as the provider shows them.")
    claim, value = env.text("OIDC_ADMIN_CLAIM"), env.text("OIDC_ADMIN_VALUE")
    if bool(claim) != bool(value):
        missing = "OIDC_ADMIN_VALUE" if claim else "OIDC_ADMIN_CLAIM"
        raise ConfigurationError(f"{missing} is not set. OIDC_ADMIN_CLAIM and OIDC_ADMIN_VALUE need each other.")
    return OidcSettings(
        issuer=issuer,
        client_id=client_id,
        client_secret=Secret(secret) if secret else None,
        scopes=_scopes(env),
        name=_name(env, issuer),
        admin_claim=claim,
        admin_value=value,
        creates_accounts=env.boolean("OIDC_CREATE_ACCOUNTS", default=False),
        is_only=env.boolean("OIDC_ONLY", default=False),
        recheck=timedelta(minutes=env.integer("OIDC_RECHECK_MINUTES", 60, 0, 525_600)) or None,
    )


def _check_issuer(issuer: str, *, is_production: bool) -> None:
    parts = env_urls.parsed(issuer)
    is_plain = parts is not None and parts.username is None and not (parts.query or parts.fragment)
    is_safe = parts is not None and (
        parts.scheme == "https" or (parts.scheme == "http" and not is_production and is_loopback(parts.hostname or ""))
    )
    if not is_plain or not is_safe or not all("!" <= letter <= "~" for letter in issuer) or len(issuer) > _LONGEST:
        raise ConfigurationError(
            "OIDC_ISSUER must be the provider’s https:// address as its discovery document names it, like "
            "https://id.example.com/realms/staff, without query or fragment."
        )


def _scopes(env: Reader) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(env.text("OIDC_SCOPES", _DEFAULT_SCOPES).split()))
    if "openid" not in scopes or not all(map(_SCOPE.fullmatch, scopes)):
        raise ConfigurationError("OIDC_SCOPES must be names with spaces between, and openid among them.")
    return scopes


def _name(env: Reader, issuer: str) -> str:
    name = env.text("OIDC_NAME", urlsplit(issuer).hostname or "")
    if len(name) > 40 or not name.isprintable():  # noqa: PLR2004 - the width of a button
        raise ConfigurationError("OIDC_NAME must be at most 40 printable characters.")
    return name
