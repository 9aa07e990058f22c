"""Asks a domain's own web server for one small file, over HTTPS, in bounded time and memory.

Nothing is sent but the name of the file, and only to a host whose certificate holds. The address that is connected to
is the one that was judged. A redirect is followed within the domain, and never into a network of ours.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from services.smtp import dial
from services.smtp import tls as smtp_tls
from services.smtp.wire import Deadline, WireError
from utils.allowed_places import AllowedPlaces

PORT: Final = 443
LONGEST: Final = 64 * 1024  # octets of a file
_MOST_READ: Final = LONGEST + 32 * 1024  # with all that comes before it and between
_MOST_REDIRECTS: Final = 2
_LONGEST_PATH: Final = 2048
_OK: Final = 200
_ELSEWHERE: Final = (301, 302, 303, 307, 308)


class NoFile(Exception):
    """There is no such file to be had, for whatever reason; the text says which."""


class WebPlace(NamedTuple):
    """A file of a web server."""

    host: str
    path: str


@dataclass(frozen=True, kw_only=True)
class WebPolicy:
    """What the deployment allows. A redirect leads to what is ``allowed_further`` alone."""

    ca_file: Path | None
    dns_resolver: str
    allowed: AllowedPlaces
    allowed_further: AllowedPlaces


def fetch(place: WebPlace, domain: str, policy: WebPolicy, deadline: Deadline) -> bytes:
    """The file at a place of this domain, at most ``LONGEST`` octets of it. Raises NoFile, by the deadline."""
    allowed = policy.allowed
    try:
        for _ in range(_MOST_REDIRECTS + 1):
            answer = _asked(place, allowed, policy, deadline)
            if isinstance(answer, bytes):
                return answer
            place, allowed = _within(domain, place, answer), policy.allowed_further
    except (WireError, HTTPException, OSError, ValueError) as error:
        raise NoFile(f"{type(error).__name__} at {place.host}") from None
    raise NoFile("It redirects again and again.")


def _asked(place: WebPlace, allowed: AllowedPlaces, policy: WebPolicy, deadline: Deadline) -> bytes | str:
    """The file, or the URL that the server sends us to."""
    context = smtp_tls.tls_context(policy.ca_file)
    addresses, _ = dial.look_up(place.host, deadline, policy.dns_resolver, allowed)
    sock, _ = dial.dial(addresses, PORT, deadline.seconds(), deadline, lambda *_: None)
    with smtp_tls.wrapped(sock, context, place.host) as tls:
        smtp_tls.shake_hands(tls, place.host, deadline, spoke_plain=False)
        tls.settimeout(deadline.seconds())
        tls.sendall(_request(place))

        def receive(room: memoryview) -> int:
            tls.settimeout(deadline.seconds())
            return tls.recv_into(room)

        answer = HTTPResponse(cast(Any, _Incoming(receive)))
        answer.begin()
        if answer.status in _ELSEWHERE:
            return answer.getheader("Location", "")
        if answer.status != _OK:
            raise NoFile(f"{place.host} answers {answer.status}.")
        body = answer.read(LONGEST + 1)
    if len(body) > LONGEST:
        raise NoFile("The file is too long.")
    return body


def _request(place: WebPlace) -> bytes:
    return (
        f"GET {place.path} HTTP/1.1\r\nHost: {place.host}\r\nUser-Agent: Sealpost\r\n"
        "Accept: text/xml, application/xml\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _within(domain: str, place: WebPlace, url: str) -> WebPlace:
    """The place that a redirect from this one names, if it is the domain's or below it. Raises NoFile or ValueError."""
    parts = urlsplit(urljoin(f"https://{place.host}{place.path}", url))
    host, path = parts.hostname or "", parts.path or "/"
    path += f"?{parts.query}" if parts.query else ""
    is_ours = host == domain or host.endswith(f".{domain}")
    if parts.scheme != "https" or parts.username is not None or parts.port not in (None, PORT) or not is_ours:
        raise NoFile("It redirects to another site.")
    if len(path) > _LONGEST_PATH or not path.startswith("/") or not all("!" <= letter <= "~" for letter in path):
        raise NoFile("It redirects to what is no path.")
    return WebPlace(host, path)


class _Incoming(io.RawIOBase):
    """What comes on a connection, and no more of it than is ever needed."""

    def __init__(self, receive: Callable[[memoryview], int]) -> None:
        self._receive = receive
        self._left = _MOST_READ

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As ``HTTPResponse`` asks a socket for it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever memory the reader has
        if not self._left:
            raise NoFile("The answer is too long.")
        count = self._receive(memoryview(buffer)[: self._left])
        self._left -= count
        return count
