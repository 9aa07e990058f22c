"""Everything that is needed to send through one server, as a value."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from utils.secret import Secret

NO_PASSWORD: Final = Secret("")
NOT_CONFIGURED: Final = "SMTP not configured"  # the specification's words
TOKEN_METHOD: Final = "XOAUTH2"  # noqa: S105 - a sign-in method: by token, also where a server says OAUTHBEARER  # noqa: S105
DEFAULT_TIMEOUT: Final = 10  # seconds
LONGEST_TIMEOUT: Final = 60


class Security(StrEnum):
    """How the connection is protected; each is a requirement, never a wish."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


MODE_NAMES: Final = {Security.STARTTLS: "STARTTLS", Security.TLS: "TLS", Security.NONE: "no encryption"}


@dataclass(frozen=True, kw_only=True)
class OpenWay:
    """A port and its encryption at which a mail server answered; ``greeting`` is the first line that it said.

    ``signs_in`` tells whether it offers a sign-in that we can use there; None if that was not noted.
    """

    port: int
    security: Security
    greeting: str = ""
    signs_in: bool | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Identity:
    """A client certificate (PEM, one's own first, then those above it) and its key (PEM)."""

    certificate: str
    key: Secret


@dataclass(frozen=True)
class Bearer:
    """A sign-in by token (OAuth 2). ``token`` is one, or gives the one that is good now: it is called once for each
    connection, before that is made, and may raise a DeliveryError. ``renew`` gives another in the place of one that the
    server has refused, or None; then the refusal stands.

    ``grant`` names what the tokens come from, like "config:3/7", and is another once somebody else consents, or to
    something else. It alone makes two of them different: a connection that is open outlives a token that is renewed.
    """

    grant: str
    token: Secret | Callable[[], Secret] = field(repr=False, compare=False)
    renew: Callable[[Secret], Secret | None] | None = field(default=None, repr=False, compare=False)

    def current(self) -> Secret:
        """The token that is good now."""
        return self.token if isinstance(self.token, Secret) else self.token()

    def named_only(self) -> "Bearer":
        """The same without a token, for whoever only compares."""
        return Bearer(self.grant, NO_PASSWORD)


@dataclass(frozen=True, kw_only=True)
class SmtpSettings:
    """Everything needed to send through one server. Host and addresses are validated and normalised.

    With a ``bearer`` the sign-in is by token, for the mailbox that is the user name, and the password is not used, not
    even where the token is refused. ``is_personal``: entered by somebody who is no administrator, so it may not be
    everywhere, and nothing that it says is shown.
    """

    host: str
    port: int
    security: Security
    username: str = ""
    password: Secret = NO_PASSWORD
    bearer: Bearer | None = field(default=None, repr=False)
    from_email: str
    from_name: str = ""
    reply_to: str = ""
    helo_hostname: str = ""
    timeout_seconds: int = DEFAULT_TIMEOUT
    auth_method: str = ""  # "" picks the best that the server offers
    client_certificate: str = ""  # PEM, one's own first; together with its key or not at all
    client_key: Secret = NO_PASSWORD
    is_personal: bool = False

    @property
    def destination(self) -> tuple[str, int, str, str]:
        """Where a password would go, and how; a stored one never goes to another destination."""
        return self.host, self.port, self.security, self.username

    @property
    def identity(self) -> Identity | None:
        """What is shown to a server that asks who we are when encryption begins."""
        return Identity(self.client_certificate, self.client_key) if self.client_certificate else None

    @property
    def has_login(self) -> bool:
        return bool(self.username or self.password or self.bearer)

    @property
    def is_by_token(self) -> bool:
        """Whether the sign-in is by token, be it that none can be had yet."""
        return self.auth_method == TOKEN_METHOD

    @property
    def mode_name(self) -> str:
        return MODE_NAMES[self.security]


@dataclass(frozen=True, kw_only=True)
class OwnInbox(SmtpSettings):
    """The local inbox. It greets with this mark, and whoever else listens in its place hears of no mail."""

    mark: str
