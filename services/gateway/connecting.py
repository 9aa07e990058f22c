"""Connecting an application: a token of its own and the very lines that make it send through the gateway."""

import base64
from dataclasses import dataclass, field
from typing import Final

from database.engine import reading
from services.accounts import accounts, api_tokens
from services.accounts.accounts import Person
from services.accounts.api_tokens import PREFIX, Scope, TokenInfo
from services.gateway import addresses, from_rules, recipes
from services.gateway.addresses import ReachableAt
from services.gateway.recipes import Application, RecipePart, SendingValues
from services.settings import route
from services.smtp.settings import Security
from utils.addresses import InvalidAddress, parse_address
from utils.encryption_utils import digest, mac
from utils.env_utils import get_settings
from utils.errors import InvalidInput
from utils.secret import Secret

HTTP: Final = "http"
SEND_PATH: Final = "/api/messages/send-email"
_PURPOSE: Final = "gateway-token-v1"
_LEAST_MARK: Final = 16  # characters of what tells one form from another
NOT_YOURS: Final = (
    "{} may not send from this address. Leave it empty, or have it confirmed under the account’s senders."
)
_OFF: Final = "The gateway is off. Turn it on first, or choose the way over HTTP."


@dataclass(frozen=True, kw_only=True)
class ConnectionRequest:
    """What is asked for. ``login`` is the user name or address of the account that it sends as.

    Empty: ``name`` is the application's, ``sender`` the account's usual From, ``address`` the first of the gateway's.
    ``mark`` is the same where a form was sent twice, and else always another; "" where that cannot happen.
    """

    application: str
    login: str
    name: str = ""
    sender: str = ""
    address: str = ""
    mark: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class ConnectedApp:
    """An application that was connected; the token stands in ``parts`` and ``over_http``, and nowhere else any more."""

    token: TokenInfo
    application: Application
    parts: list[RecipePart]
    over_http: RecipePart | None
    address: ReachableAt | None
    sender: str
    caution: str


def connect(asked: ConnectionRequest) -> ConnectedApp:
    """Make a token for an application, which has no end, and write out the lines for it.

    The same form again within a minute gives the same token and lines. Raises InvalidInput with the fields application,
    account, name, sender and address; Conflict where the form was sent before.
    """
    errors: dict[str, list[str]] = {}
    wanted = recipes.applications().get(asked.application)
    if wanted is None:
        known = ", ".join(recipes.applications())
        errors["application"] = [f"Choose one of: {known}." if asked.application else "Choose an application."]
    person = accounts.find_by_login(asked.login)
    if person is None:
        errors["account"] = ["No such account. Enter a user name or an address."]
    elif person.disabled_at:
        errors["account"] = ["This account is disabled. Choose another."]
    place = None if wanted is None or wanted.is_http else _place(asked.address, errors)
    sender = _sender(asked.sender, person, errors) if person else ""
    if errors or wanted is None or person is None:
        raise InvalidInput(errors)
    name = asked.name.strip() or wanted.name
    text, token = api_tokens.create(person.id, name, None, [Scope.SEND], text=_token(asked, wanted, person))
    values = SendingValues(
        host=place.host if place else "",
        port=place.port if place else 0,
        security=place.security if place else Security.TLS,
        username=person.username,
        token=Secret(text),
        sender=sender,
        send_url=get_settings().base_url + SEND_PATH,
    )
    over_http = None if wanted.is_http else recipes.recipe(recipes.application(HTTP), values)[0]
    return ConnectedApp(
        token=token,
        application=wanted,
        parts=recipes.recipe(wanted, values),
        over_http=over_http,
        address=place,
        sender=sender,
        caution=_caution(wanted, place),
    )


def usual_sender(person: Person) -> str:
    """The From of an account that chose none: of administrators the global server's, of others their own address."""
    server = route.first_usable(None) if person.is_admin else None
    if server and server.settings and _may_use(person, server.settings.from_email):
        return server.settings.from_email
    return person.email


def _sender(typed: str, person: Person, errors: dict[str, list[str]]) -> str:
    if not typed.strip():
        return usual_sender(person)
    try:
        address = parse_address(typed.strip())
    except InvalidAddress as refused:
        errors["sender"] = [str(refused)]
        return ""
    if not _may_use(person, address):
        errors["sender"] = [NOT_YOURS.format(person.username)]
    return address


def _may_use(person: Person, address: str) -> bool:
    with reading() as session:
        return from_rules.may_use(session, person.id, address)


def _place(wanted: str, errors: dict[str, list[str]]) -> ReachableAt | None:
    found = addresses.status().addresses
    if not found:
        errors["application"] = [_OFF]
        return None
    place = next((each for each in found if each.id == wanted), None if wanted else found[0])
    if place is None:
        errors["address"] = ["The gateway no longer listens there. Choose another address."]
    return place


def _token(asked: ConnectionRequest, wanted: Application, person: Person) -> str | None:
    """The token of this form, so that a form that is sent twice makes one. Nobody without the key can tell it."""
    if len(asked.mark) < _LEAST_MARK:
        return None
    parts = [asked.mark, wanted.id, str(person.id), asked.name, asked.sender, asked.address]
    told = mac(_PURPOSE, [digest(part) for part in parts])
    return PREFIX + base64.urlsafe_b64encode(bytes.fromhex(told)).decode().rstrip("=")


def _caution(wanted: Application, place: ReachableAt | None) -> str:
    if place is None or place.security is not Security.TLS or wanted.tls_port in (None, place.port):
        return ""
    return (
        f"{wanted.name} uses TLS from the start at port {wanted.tls_port} only, and this is port {place.port}. Have "
        f"the gateway listen at smtps://0.0.0.0:{wanted.tls_port}, or at an address for STARTTLS."
    )
