"""The fields of a registration at a provider, each checked on its own; the API document is made from the same types."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from database.oauth_db import LONGEST_SCOPE, LONGEST_URL
from services.oauth import providers
from services.oauth.client import LONGEST_SERVICE_ACCOUNT, UnusableKey, service_account
from services.oauth.providers import CLOUDS, Grant, OAuthProvider, UnusableProvider
from services.settings.fields import (
    MASK,
    Checked,
    ClientCertificate,
    ClientKey,
    Ignored,
    RemoveClientCertificate,
    Strict,
    flag,
    refused,
    texts,
)
from utils import clock
from utils.secret import Secret

LONGEST_ID: Final = 255
LONGEST_SECRET: Final = 1024
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_LAST_YEAR: Final = 2100
_ANY_HOST: Final = "smtp.example.com"


def one_line(text: str) -> str:
    """One line without control characters; outer spaces are typing slips and go."""
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp", "Cf") for char in text.strip()):
        raise refused("Remove line breaks and hidden characters.")
    return text.strip()


def _provider_of(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    known = ", ".join(kind)

    def check(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in list(kind):
            raise refused(f"Choose one of these: {known}.")
        return kind(value)

    return check


def _cloud(value: object) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or value not in CLOUDS:
        raise refused(f"Leave it empty, or choose one of these: {', '.join(CLOUDS)}.")
    return value


def _tenant(text: str) -> str:
    """As the provider's entry reads it, so that it is stored as it is asked with."""
    found = one_line(text).lower()
    if found:
        _by_provider(lambda: providers.microsoft(found))
    return found


def _scope(text: str) -> str:
    found = " ".join(one_line(text).split())
    if found:
        _by_provider(lambda: providers.custom(token_url="https://localhost", scope=found, smtp_host=_ANY_HOST))  # noqa: S106
    return found


def _by_provider(made: Callable[[], object]) -> None:
    try:
        made()
    except UnusableProvider as fault:
        raise refused(str(fault)) from None


def _client_id(text: str) -> str:
    found = one_line(text)
    if " " in found:
        raise refused("A client ID contains no spaces. Copy it again.")
    if found.startswith("GOCSPX-"):
        raise refused("This is the client secret. Enter the client ID here, and the secret in its own field.")
    return found


def _secret(text: str) -> Secret:
    found = text.strip()
    if found == MASK:
        return Secret("")
    one_line(found)
    return Secret(found)


def _service_account(text: str) -> Secret:
    found = text.strip().removeprefix("\ufeff")
    if found in ("", MASK):
        return Secret("")
    try:
        service_account(found)
    except UnusableKey as fault:
        raise refused(str(fault)) from None
    return Secret(found)


def _ends_on(value: object) -> date | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _DATE.fullmatch(value.strip()):
        raise refused("Enter a date like 2027-05-31.")
    try:
        found = date.fromisoformat(value.strip())
    except ValueError:
        raise refused("Enter a date that exists, like 2027-05-31.") from None
    if found.year > _LAST_YEAR:
        raise refused("Enter a date like 2027-05-31.")
    if found < clock.now().date():
        raise refused("The client secret has already ended. Create a new one at the provider, and enter that.")
    return found


def _flags(description: str) -> Checked:
    return Checked(flag, "boolean", description)


def _url(description: str) -> Checked:
    return texts(one_line, LONGEST_URL, description)


TokenGiver = Annotated[
    OAuthProvider,
    Checked(_provider_of(OAuthProvider), "string", "Who gives the tokens.", enum=list(OAuthProvider)),
]
WayToToken = Annotated[
    Grant,
    Checked(
        _provider_of(Grant),
        "string",
        "The way to a token. code: someone signs in, in a browser. device: someone signs in with a code, on any device "
        "(Microsoft). client_credentials: the application itself (Microsoft). service_account: a service account with "
        "domain-wide delegation (Google).",
        enum=list(Grant),
    ),
]
ClientSecret = Annotated[
    Secret,
    texts(
        _secret,
        LONGEST_SECRET,
        "Write-only: the secret’s value, not its ID. Absent, empty or the mask keeps the stored one.",
        writeOnly=True,
    ),
]
ServiceAccountKey = Annotated[
    Secret,
    texts(
        _service_account,
        LONGEST_SERVICE_ACCOUNT,
        "Write-only: the whole JSON file of the service account’s key. Absent, empty or the mask keeps the stored one.",
        writeOnly=True,
    ),
]
SecretEnds = Annotated[
    date | None,
    Checked(
        _ends_on,
        "string",
        "The last day of the client secret, like 2027-05-31. Empty: unknown, or none.",
        format="date",
    ),
]


class RegistrationChange(Strict):
    """A change to what is registered at a provider. What is absent stays as it is stored."""

    provider: TokenGiver = Field(default=OAuthProvider.CUSTOM)
    way: WayToToken = Field(default=Grant.CODE)
    tenant: Annotated[
        str,
        texts(
            _tenant, LONGEST_ID, "Microsoft: the tenant’s ID or one of its domains. Empty: organizations, which is any."
        ),
    ] = Field(default="")
    cloud: Annotated[
        str,
        Checked(_cloud, "string", "Microsoft’s cloud. Empty: the one that the server is in.", enum=["", *CLOUDS]),
    ] = Field(default="")
    authority: Annotated[str, _url("Microsoft: another address for signing in than the cloud’s own.")] = Field(
        default=""
    )
    authorize_url: Annotated[str, _url("Custom: where people sign in. Needed for code.")] = Field(default="")
    token_url: Annotated[str, _url("Custom: where tokens are given. The only address that secrets are sent to.")] = (
        Field(default="")
    )
    device_url: Annotated[str, _url("Custom: where codes are given. Needed for device.")] = Field(default="")
    revoke_url: Annotated[str, _url("Custom: where the provider is told that the connection has ended.")] = Field(
        default=""
    )
    issuer: Annotated[str, _url("Custom: what the provider calls itself in its answers, if it does.")] = Field(
        default=""
    )
    scope: Annotated[
        str, texts(_scope, LONGEST_SCOPE, "Needed for custom. Microsoft: another scope than the cloud’s own.")
    ] = Field(default="")
    client_id: Annotated[str, texts(_client_id, LONGEST_ID, "The application’s ID at the provider.")] = Field(
        default=""
    )
    client_secret: ClientSecret = Field(default_factory=lambda: Secret(""))
    client_certificate: ClientCertificate = Field(default="")
    client_key: ClientKey = Field(default_factory=lambda: Secret(""))
    service_account: ServiceAccountKey = Field(default_factory=lambda: Secret(""))
    remove_client_secret: Annotated[bool, _flags("Delete the stored client secret.")] = Field(default=False)
    remove_client_certificate: RemoveClientCertificate = Field(default=False)
    secret_ends_on: SecretEnds = Field(default=None)
    is_testing: Annotated[
        bool, _flags("Google: the app’s publishing status is Testing, so each sign-in ends after seven days.")
    ] = Field(default=False)

    has_client_secret: Ignored = None
    has_client_key: Ignored = None
    has_service_account: Ignored = None
    status: Ignored = None
    in_use: Ignored = None
    mailbox: Ignored = None
    granted_by: Ignored = None
    granted_at: Ignored = None
    renewed_at: Ignored = None
    token_ends_at: Ignored = None
    trouble: Ignored = None
    trouble_at: Ignored = None
    remedy: Ignored = None

    def given(self, field: str) -> bool:
        """Whether the caller named this field; the defaults above only stand in for absent ones."""
        return field in self.model_fields_set
