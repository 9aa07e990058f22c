"""Settings, policies and clients for the tests' servers."""

from typing import Any, Final, Protocol

from services.delivery.retry_policy import is_crowded
from services.smtp.client import Envelope, Observer, Parcel, Policy, Receipt, Result, SmtpClient
from services.smtp.settings import Security, SmtpSettings
from tests import certificates
from tests.patience import stretched, stretched_if_short
from tests.scripted_server import Answer
from utils.errors import DeliveryError
from utils.secret import Secret

SENDER: Final = "shop@sender.example"
RECIPIENT: Final = "anna@recipient.example"
CONTENT: Final = b"Subject: Hello\r\nMessage-ID: <1@sender.example>\r\n\r\nGood morning.\r\n"
Script = dict[str, Answer | list[Answer]]
ENVELOPE: Final = Envelope(sender=SENDER, recipients=(RECIPIENT,))
PARCEL: Final = Parcel(envelope=ENVELOPE, content=CONTENT)


class Listening(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


def settings_for(server: Listening, **changes: Any) -> SmtpSettings:
    """Plain, without login, to ``server``; ``changes`` replace fields, the password may be a text.

    A short time-out is stretched: it is for a server that says nothing, and must not hit one that this machine delays.
    """
    if isinstance(changes.get("password"), str):
        changes["password"] = Secret(changes["password"])
    if "timeout_seconds" in changes:
        changes["timeout_seconds"] = stretched_if_short(changes["timeout_seconds"])
    values = {"host": server.host, "port": server.port, "security": Security.NONE, "from_email": SENDER}
    return SmtpSettings(**{**values, **changes})


def policy(**changes: Any) -> Policy:
    """The tests' authority is trusted, and half a minute is the most that anything takes; short times are stretched."""
    for name in ("total_seconds", "connect_seconds"):
        if name in changes:
            changes[name] = stretched_if_short(changes[name])
    values = {
        "ehlo_name": "app.example",
        "ca_file": certificates.ca_file(),
        "total_seconds": stretched(30.0),
        "is_crowded": is_crowded,
    }
    return Policy(**{**values, **changes})


def client_for(
    server: Listening, observer: Observer | None = None, *, rules: Policy | None = None, **changes: Any
) -> SmtpClient:
    """A client that is not open yet."""
    return SmtpClient(settings_for(server, **changes), rules or policy(), observer)


def parcels(count: int, recipients: int = 1, content: bytes = CONTENT) -> list[Parcel]:
    """Mails that can be told apart by their recipients and by their tags."""
    return [
        Parcel(
            envelope=Envelope(
                sender=SENDER, recipients=tuple(f"m{mail}r{number}@recipient.example" for number in range(recipients))
            ),
            content=b"X-Number: %d\r\n" % mail + content,
            tag=mail,
        )
        for mail in range(count)
    ]


def word(outcome: Result) -> str:
    """What became of a mail, in short."""
    if isinstance(outcome, DeliveryError):
        return f"{outcome.outcome} {outcome.code or outcome.fault}"
    return "accepted" if isinstance(outcome, Receipt) else "not tried"


def shop_settings(**changes: Any) -> SmtpSettings:
    """A usual server of nobody's in particular, with a login; ``changes`` replace fields."""
    values: dict[str, Any] = {
        "host": "smtp.shop.example",
        "port": 587,
        "security": Security.STARTTLS,
        "username": "mailer@shop.example",
        "password": Secret("geheim-8472"),
        "from_email": "hello@shop.example",
    }
    return SmtpSettings(**{**values, **changes})
