"""The arguments of MAIL, RCPT and AUTH, by one strict grammar (RFC 5321 4.1.2, 1870, 3461, 4954, 6152, 6531)."""

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from services.gateway.replies import LARGEST, Rejection
from utils.addresses import InvalidAddress, ascii_recipient

_PATH: Final = re.compile(r"<(?P<address>[^<>\s]*)>(?P<rest>(?: .*)?)")
_QUOTED_PATH: Final = re.compile(r'<(?P<address>"[^"\\<>\x00-\x1f]*"@[^<>\s]*)>(?P<rest>(?: .*)?)')
_PARAMETER: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[!-<>-~]+))?")
_SIZE: Final = re.compile(r"\d{1,20}")
_BODIES: Final = ("7BIT", "8BITMIME")
_OF_NOTICES: Final = {"MAIL": {"RET", "ENVID"}, "RCPT": {"NOTIFY", "ORCPT"}}
LONGEST_HELLO: Final = 255


class BadCommand(Exception):
    """An argument that is refused."""

    def __init__(self, refusal: Rejection) -> None:
        super().__init__(refusal.name)
        self.refusal = refusal


@dataclass(frozen=True)
class MailFrom:
    """The begin of a mail. Who sends says nothing yet: it is the message's From that counts."""

    is_utf8: bool
    asks_for_notices: bool


@dataclass
class Mail:
    """A mail that is begun. ``named``: how many recipients, accepted or not."""

    begun: MailFrom
    recipients: dict[str, None] = field(default_factory=dict)
    named: int = 0


@dataclass(frozen=True)
class RcptTo:
    """One recipient, its domain as A-labels."""

    address: str
    asks_for_notices: bool


def hello(argument: str) -> str:
    """What a client calls itself. Raises BadCommand."""
    name = argument.strip()
    if not name or len(name) > LONGEST_HELLO or not name.isprintable() or " " in name:
        raise BadCommand(Rejection.SYNTAX)
    return name


def mail_from(argument: str, *, is_extended: bool) -> MailFrom:
    """The argument of MAIL. Raises BadCommand."""
    address, parameters = _path("FROM:", argument, "MAIL", is_extended=is_extended)
    if _size(parameters.get("SIZE")) > LARGEST:
        raise BadCommand(Rejection.TOO_LARGE)
    if parameters.get("BODY", "7BIT").upper() not in _BODIES:
        raise BadCommand(Rejection.UNKNOWN_PARAMETER)
    if parameters.get("SMTPUTF8"):
        raise BadCommand(Rejection.SYNTAX)
    is_utf8 = "SMTPUTF8" in parameters
    if not address.isascii() and not is_utf8:
        raise BadCommand(Rejection.NEEDS_SMTPUTF8)
    if address and ("@" not in address or len(address) > 320):  # noqa: PLR2004 - RFC 5321 4.5.3.1: 64, @, 255
        raise BadCommand(Rejection.BAD_SENDER)
    return MailFrom(is_utf8, bool(parameters.keys() & _OF_NOTICES["MAIL"]))


def rcpt_to(argument: str, *, is_extended: bool, is_utf8: bool) -> RcptTo:
    """The argument of RCPT. Raises BadCommand, also for what other servers would read as a way to elsewhere."""
    address, parameters = _path("TO:", argument, "RCPT", is_extended=is_extended)
    if not address.isascii() and not is_utf8:
        raise BadCommand(Rejection.NEEDS_SMTPUTF8)
    try:
        recipient = ascii_recipient(address)
    except InvalidAddress:
        raise BadCommand(Rejection.BAD_RECIPIENT) from None
    return RcptTo(recipient, bool(parameters.keys() & _OF_NOTICES["RCPT"]))


def decoded(answer: str) -> str:
    """What a client has answered in base64 (RFC 4954 4). Raises BadCommand."""
    try:
        return base64.b64decode(answer.encode("ascii"), validate=True).decode()
    except (ValueError, binascii.Error):
        raise BadCommand(Rejection.NOT_BASE64) from None


def plain(answer: str) -> tuple[str, str]:
    """Login and password of an answer to AUTH PLAIN (RFC 4616). Raises BadCommand."""
    parts = decoded(answer).split("\0")
    if len(parts) != 3 or parts[0] not in ("", parts[1]):  # noqa: PLR2004 - nobody acts for somebody else
        raise BadCommand(Rejection.NOT_BASE64)
    return parts[1], parts[2]


def _path(keyword: str, argument: str, command: str, *, is_extended: bool) -> tuple[str, dict[str, str]]:
    """The address between the brackets, and the parameters behind them by their names."""
    if argument[: len(keyword)].upper() != keyword:
        raise BadCommand(Rejection.SYNTAX)
    text = argument[len(keyword) :].strip(" ")  # RFC 5321 3.3 forbids the space that some clients send
    found = _PATH.fullmatch(text) or _QUOTED_PATH.fullmatch(text)
    if not found:
        raise BadCommand(Rejection.BAD_SENDER if command == "MAIL" else Rejection.BAD_RECIPIENT)
    parameters = _parameters(found["rest"].split(), command)
    if parameters and not is_extended:
        raise BadCommand(Rejection.UNKNOWN_PARAMETER)
    return found["address"], parameters


def _parameters(texts: list[str], command: str) -> dict[str, str]:
    known = _OF_NOTICES[command] | ({"SIZE", "BODY", "SMTPUTF8", "AUTH"} if command == "MAIL" else set())
    parameters: dict[str, str] = {}
    for text in texts:
        found = _PARAMETER.fullmatch(text)
        name = found["name"].upper() if found else ""
        if not found or name in parameters:
            raise BadCommand(Rejection.SYNTAX)
        if name not in known:
            raise BadCommand(Rejection.UNKNOWN_PARAMETER)
        parameters[name] = found["value"] or ""
    return parameters


def _size(text: str | None) -> int:
    if text is None:
        return 0
    if not _SIZE.fullmatch(text):
        raise BadCommand(Rejection.SYNTAX)
    return int(text)
