"""What a domain says of its server for outgoing mail in the file that mail programs look for (Mozilla's autoconfig).

The document comes from outside: whatever is in it, reading it ends, and gives servers that can be used, or none.
"""

import re
from typing import Final, NamedTuple
from xml.parsers import expat

from services.providers.web_file import WebPlace
from services.smtp.settings import Security
from utils.addresses import HIGHEST_PORT, LONGEST_ADDRESS, InvalidAddress, ip_literal, parse_host
from utils.numbers import whole_number

_SERVER: Final = ["clientConfig", "emailProvider", "outgoingServer"]
_MOST_SERVERS: Final = 20
_MODES: Final = {"ssl": Security.TLS, "tls": Security.TLS, "starttls": Security.STARTTLS, "plain": Security.NONE}
# The names of version 1.1 and, "plain" and "secure", of 1.0.
_PASSWORDS: Final = {"password-cleartext", "password-encrypted", "plain", "secure"}
_NOBODY_SIGNS_IN: Final = {"none", "client-ip-address", "smtp-after-pop"}
_PLACEHOLDER: Final = re.compile(r"%[A-Z]+%", re.IGNORECASE)


class OutgoingServer(NamedTuple):
    """One of the servers that a document names. ``username`` is "" where the address does not tell it."""

    host: str
    port: int
    security: Security
    takes_password: bool
    signs_in: bool
    username: str


class Unreadable(Exception):
    """This is no such document."""


def places(domain: str) -> list[WebPlace]:
    """Where the document of a domain is looked for. The address whose server is looked for is not sent."""
    path = "/mail/config-v1.1.xml"
    return [WebPlace(f"autoconfig.{domain}", path), WebPlace(domain, f"/.well-known/autoconfig{path}")]


def best_server(document: bytes, address: str, domain: str) -> OutgoingServer | None:
    """The server to send through: an encrypted one before others, then one that takes a password, then the first.

    ``address`` may be empty. Raises Unreadable.
    """
    texts = {"%EMAILADDRESS%": address, "%EMAILLOCALPART%": address.rpartition("@")[0], "%EMAILDOMAIN%": domain}
    found = [server for said in _Reading(document).servers if (server := _server(said, texts))]
    return min(found, key=lambda server: (server.security is Security.NONE, not server.takes_password), default=None)


def _server(said: dict[str, list[str]], texts: dict[str, str]) -> OutgoingServer | None:
    """What an entry says, if it can be used."""
    host = _host(_filled(_first(said, "hostname"), texts))
    port = whole_number(_first(said, "port"), 1, HIGHEST_PORT)
    security = _MODES.get(_first(said, "socketType").lower())
    if not host or port is None or security is None:
        return None
    ways = {way.lower() for way in said.get("authentication", [])} or _PASSWORDS
    takes_password = not ways.isdisjoint(_PASSWORDS)
    signs_in = takes_password or not ways <= _NOBODY_SIGNS_IN
    username = _username(_first(said, "username"), texts) if takes_password else ""
    return OutgoingServer(host, port, security, takes_password, signs_in, username)


def _first(said: dict[str, list[str]], name: str) -> str:
    return next(iter(said.get(name, [])), "")


def _host(text: str) -> str:
    """A name of the DNS, or nothing: no certificate is for an address, nor is a bare name anybody's outside."""
    try:
        host = parse_host(text)
    except InvalidAddress:
        return ""
    return host if "." in host and not ip_literal(host) else ""


def _username(form: str, texts: dict[str, str]) -> str:
    """The user name that a form with placeholders stands for. One without is made up for nobody in particular."""
    name = _filled(form, texts) if texts["%EMAILADDRESS%"] and _PLACEHOLDER.search(form) else ""
    is_whole = name.isprintable() and not _PLACEHOLDER.search(name)
    return name if is_whole and len(name) <= LONGEST_ADDRESS else ""


def _filled(form: str, texts: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: texts.get(found[0].upper(), found[0]), form)


class _Reading:
    """The entries for SMTP in a document, each with the texts of its elements. Raises Unreadable.

    There is no place for a document type in it, so that there are no entities that could grow or lead outside.
    """

    def __init__(self, document: bytes) -> None:
        self.servers: list[dict[str, list[str]]] = []
        self._path: list[str] = []
        self._is_open = False  # within an entry that is kept
        self._text: list[str] = []
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text_of
        try:
            parser.Parse(document, True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: an encoding that is not known
            raise Unreadable(str(error)) from None

    def _refuse(self, *_: object) -> None:
        raise Unreadable("It has a document type.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._text = []
        if self._path == _SERVER and len(self.servers) < _MOST_SERVERS:
            self._is_open = attributes.get("type", "").lower() == "smtp"
            self.servers += [{}] if self._is_open else []

    def _text_of(self, text: str) -> None:
        if self._is_open:
            self._text.append(text)

    def _end(self, name: str) -> None:
        if self._is_open and len(self._path) == len(_SERVER) + 1:
            self.servers[-1].setdefault(name, []).append("".join(self._text).strip())
        if self._path == _SERVER:
            self._is_open = False
        self._path.pop()
