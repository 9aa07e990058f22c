"""What an application is to a provider: its id, and what shows that it is that application."""

import json
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.smtp.settings import Identity
from services.web_request import WebReach
from utils.secret import Secret

LONGEST_SERVICE_ACCOUNT: Final = 16_384  # characters of the JSON file
_SHORTEST_RSA: Final = 2048  # bits


class UnusableKey(ValueError):
    """A key that cannot be used; the text says what to do and never echoes it."""


@dataclass(frozen=True, kw_only=True)
class OAuthClient:
    """An application as it is registered. With neither secret nor certificate it is a public client, which PKCE alone
    protects (RFC 8252 8.4).

    The secret goes into the body: Google and Microsoft take both, and RFC 6749 2.3.1 leaves it to each side how a
    secret that is not ASCII gets into a header. ``by_header``: the provider says that it takes it there alone.
    """

    client_id: str
    secret: Secret | None = None
    certificate: Identity | None = None
    by_header: bool = False


@dataclass(frozen=True, kw_only=True)
class ServiceAccount:
    """Google's for an application that sends as mailboxes of a Workspace, by domain-wide delegation."""

    email: str
    client_id: str  # what an administrator of the Workspace enters for the delegation
    key_id: str
    key: Secret


def service_account(text: str) -> ServiceAccount:
    """Read the JSON file that Google gave. Raises UnusableKey.

    What the file says of URLs is not read: a token is asked for where the provider's own entry says.
    """
    try:
        found: Any = json.loads(text) if len(text) <= LONGEST_SERVICE_ACCOUNT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in ("client_email", "type")):
        raise UnusableKey("Paste the whole JSON file of the service account’s key.")
    if found["type"] != "service_account":
        raise UnusableKey(
            "This is the file of an OAuth client, not of a service account. Create a key of the service account."
        )
    key = Secret(found["private_key"] if isinstance(found.get("private_key"), str) else "")
    check_rsa(key)
    client_id, key_id = found.get("client_id"), found.get("private_key_id")
    return ServiceAccount(
        email=found["client_email"],
        client_id=client_id if isinstance(client_id, str) else "",
        key_id=key_id if isinstance(key_id, str) else "",
        key=key,
    )


@dataclass(frozen=True, kw_only=True)
class TokenPolicy:
    """What bounds a request for a token."""

    reach: WebReach
    seconds: float = 15.0
    may_be_plain: bool = False  # HTTP on this machine: for development and tests


def check_rsa(key: Secret) -> None:
    """Refuse what is no RSA key, the only kind that Google and Microsoft take. Raises UnusableKey."""
    try:
        found = load_pem_private_key(key.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey("This private key cannot be read. Paste it whole, without a passphrase.") from None
    if not isinstance(found, RSAPrivateKey) or found.key_size < _SHORTEST_RSA:
        raise UnusableKey("This is not an RSA key of 2,048 bits or more, which providers ask for.")
