"""What a step of the guide is, and what is known while it is told."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.connecting.copying import CopyLine
from services.connecting.redirect_rules import RedirectVerdict
from services.oauth.providers import ANY_TENANT, CLOUDS, Cloud


class ConnectCheck(StrEnum):
    """What can be checked, in the order in which it can be."""

    REDIRECT = "redirect"
    TOKEN = "token"  # noqa: S105 - no password
    SCOPE = "scope"
    MAILBOX = "mailbox"
    SIGN_IN = "sign_in"
    FROM = "from"


CHECK_LABELS: Final = {
    ConnectCheck.REDIRECT: "The browser comes back to Sealpost",
    ConnectCheck.TOKEN: "The provider gives a token",
    ConnectCheck.SCOPE: "The token is good for sending",
    ConnectCheck.MAILBOX: "The mailbox is the server’s user name",
    ConnectCheck.SIGN_IN: "The mail server accepts the token",
    ConnectCheck.FROM: "The mail server accepts the From address",
}


class StepKey(StrEnum):
    """Which step it is, for whoever says that it was left out."""

    PROJECT = "project"
    AUDIENCE = "audience"
    SCOPE = "scope"
    REGISTER = "register"
    SECRET = "secret"  # noqa: S105 - no password
    CODE = "code"
    PERMISSION = "permission"
    CONSENT = "consent"
    TRUST = "trust"
    SERVICE_ACCOUNT = "service_account"
    DELEGATE = "delegate"
    MAILBOX = "mailbox"
    SMTP = "smtp"
    FROM = "from"
    CONNECT = "connect"


@dataclass(frozen=True, kw_only=True)
class GuideStep:
    """Something to do at the provider: where, what in order, what to copy there, what to enter here of it.

    ``fields`` are names of the registration's fields (and ``object_id``, which fills in lines and is stored nowhere),
    ``further_fields`` those of another way to the same, with ``further`` as its heading. ``caution`` is what often goes
    wrong. ``checks`` are what shows that the step is done.
    """

    key: StepKey
    place: str
    url: str = ""
    title: str
    words: tuple[str, ...]
    lines: tuple[CopyLine, ...] = ()
    fields: tuple[str, ...] = ()
    further: str = ""
    further_fields: tuple[str, ...] = ()
    why: str
    caution: str = ""
    checks: tuple[ConnectCheck, ...] = ()

    @property
    def fills_in(self) -> bool:
        """Whether its lines need what is entered in it, which therefore comes before them."""
        return "object_id" in self.fields


@dataclass(frozen=True, kw_only=True)
class Entered:
    """What is known so far, stored or just entered; nothing of it is secret.

    ``mailbox`` is the user name of the server. ``object_id`` is that of Microsoft's enterprise application.
    ``delegate_id`` is the client id of Google's service account. ``is_personal``: the mailbox is one of the provider's
    own domain, with no organisation around it.
    """

    tenant: str = ""
    cloud: str = ""
    client_id: str = ""
    object_id: str = ""
    delegate_id: str = ""
    scope: str = ""
    mailbox: str = ""
    from_email: str = ""
    is_personal: bool = False
    is_testing: bool = False

    @property
    def sends_as_another(self) -> bool:
        """Whether From is not the mailbox, which then needs a permission of its own."""
        return bool(self.from_email and self.mailbox) and self.from_email.casefold() != self.mailbox.casefold()

    @property
    def cloud_name(self) -> str:
        """Which of Microsoft's; the worldwide one where none is named."""
        return self.cloud if self.cloud in CLOUDS else "worldwide"

    @property
    def cloud_entry(self) -> Cloud:
        """Its hosts and scopes."""
        return CLOUDS[self.cloud_name]

    @property
    def own_tenant(self) -> str:
        """The one tenant; "" where it is not known, or is any."""
        return "" if self.tenant in ANY_TENANT else self.tenant


@dataclass(frozen=True, kw_only=True)
class GuideFacts:
    """What steps are made of."""

    entered: Entered
    verdict: RedirectVerdict

    @property
    def who(self) -> str:
        """The mailbox, as a sentence names it."""
        return self.entered.mailbox or "the mailbox"
