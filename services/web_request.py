"""One request to a web server, in bounded time and memory; nobody else of ours speaks HTTP to the outside.

The address that is connected to is the one that was judged, so that a name cannot lead elsewhere in between. A
certificate has to hold. A redirect is an answer like any other: whether it is followed is its reader's decision.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from services.smtp import dial
from services.smtp import tls as smtp_tls
from services.smtp.wire import Deadline, WireError
from utils import net_guard
from utils.addresses import HIGHEST_PORT, InvalidAddress, is_loopback, parse_host
from utils.allowed_places import AllowedPlaces, words
from utils.errors import Fault
from utils.net_guard import IPAddress

HTTPS: Final = 443
_HTTP: Final = 80
_SCHEMES: Final = ("https", "http")
_MOST_BESIDE: Final = 32 * 1024  # octets of an answer before its body, and between its chunks
_LONGEST_URL: Final = 2048
_LONGEST_TARGET: Final = 4096


class WebFailure(Exception):
    """There is no answer to be had; ``fault`` says why, as finely as of a mail server; nothing of it is told."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(f"{fault}: {text}")
        self.fault = fault
        self.text = text


class WebHost(NamedTuple):
    """A web server as a URL names it; one without encryption is this machine."""

    host: str
    port: int
    is_encrypted: bool = True

    def __str__(self) -> str:
        """As the Host header has it (RFC 9110 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (HTTPS if self.is_encrypted else _HTTP) else f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class WebReach:
    """What the deployment allows."""

    ca_file: Path | None
    dns_resolver: str
    allowed: AllowedPlaces
    plain_in_private: bool = False  # without encryption not this machine alone, but none with a public address


@dataclass(frozen=True, kw_only=True)
class WebAnswer:
    """What came, whole; neither body nor headers are ever printed."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # by their names in lower case
    body: bytes = field(repr=False)


class _Talk(Protocol):
    """What is used of a connection."""

    def settimeout(self, seconds: float, /) -> None: ...

    def sendall(self, octets: bytes, /) -> None: ...

    def recv_into(self, room: memoryview, /) -> int: ...


def host_of(url: str, *, may_be_plain: bool, may_be_private: bool = False) -> WebHost:
    """The server of a URL: of HTTPS, or of HTTP on this machine where that is allowed. Raises ValueError for others.

    Where HTTP ``may_be_private``, its address is judged when it is connected to (``WebReach.plain_in_private``).
    """
    parts = urlsplit(url)
    is_encrypted = parts.scheme == "https"
    is_well_formed = len(url) <= _LONGEST_URL and all("!" <= letter <= "~" for letter in url) and not parts.fragment
    if not is_well_formed or parts.username is not None or parts.password is not None or parts.scheme not in _SCHEMES:
        raise ValueError("not the URL of a web server")
    try:
        host = parse_host(parts.hostname or "")
    except InvalidAddress:
        raise ValueError("not the URL of a web server") from None
    if not is_encrypted and not (may_be_private or (may_be_plain and is_loopback(host))):
        raise ValueError("not an https URL")
    port = (HTTPS if is_encrypted else _HTTP) if parts.port is None else parts.port
    if not 1 <= port <= HIGHEST_PORT:
        raise ValueError("no such port")
    return WebHost(host, port, is_encrypted)


def ask(
    web_host: WebHost,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    reach: WebReach,
    deadline: Deadline,
    longest: int,
) -> WebAnswer:
    """The answer to one request, with a body of at most ``longest`` octets. Raises WebFailure, by the deadline."""
    request = _request(web_host, method, target, headers, body)
    try:
        with _connected(web_host, reach, deadline) as sock:
            sock.settimeout(deadline.seconds())
            sock.sendall(request)

            def receive(room: memoryview) -> int:
                sock.settimeout(deadline.seconds())
                return sock.recv_into(room)

            answer = HTTPResponse(cast(Any, _Incoming(receive, longest + _MOST_BESIDE)), method=method)
            answer.begin()
            found = answer.read(longest + 1)
            if len(found) <= longest and (answer.length or 0) > 0:  # with a length given, read() does not tell
                raise WebFailure(Fault.CLOSED, "The answer broke off.")
    except WireError as error:
        raise WebFailure(error.fault, error.text) from None
    except TimeoutError:
        raise WebFailure(Fault.TIMEOUT, "The server took too long.") from None
    except (OSError, IncompleteRead) as error:  # RemoteDisconnected, of no answer at all, is an OSError, too
        raise WebFailure(Fault.CLOSED, type(error).__name__) from None
    except (HTTPException, ValueError) as error:
        raise WebFailure(Fault.BROKEN_REPLY, type(error).__name__) from None
    if len(found) > longest:
        raise WebFailure(Fault.TOO_LARGE, "The answer is too long.")
    return WebAnswer(
        status=answer.status, headers={name.lower(): value for name, value in answer.getheaders()}, body=found
    )


def _request(web_host: WebHost, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The request as it is sent. Raises WebFailure for what would not be one request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {web_host}", "User-Agent: Sealpost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    is_path = target.startswith("/") and all("!" <= letter <= "~" for letter in target)
    if not is_path or len(target) > _LONGEST_TARGET or not all(line.isprintable() and line.isascii() for line in lines):
        raise WebFailure(Fault.OURS, "This cannot be asked for.")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + body


@contextmanager
def _connected(web_host: WebHost, reach: WebReach, deadline: Deadline) -> Iterator[_Talk]:
    """A connection to a judged address, encrypted unless it is to this machine and in HTTP. Raises WireError."""
    addresses, _ = dial.look_up(web_host.host, deadline, reach.dns_resolver, reach.allowed)
    if not web_host.is_encrypted:
        _refuse_in_clear(addresses, in_private=reach.plain_in_private)
    context = smtp_tls.tls_context(reach.ca_file) if web_host.is_encrypted else None
    sock, _ = dial.dial(addresses, web_host.port, deadline.seconds(), deadline, lambda *_: None)
    if context is None:
        with sock:
            yield sock
        return
    with smtp_tls.wrapped(sock, context, web_host.host) as tls:
        smtp_tls.shake_hands(tls, web_host.host, deadline, spoke_plain=False)
        yield tls


def _refuse_in_clear(addresses: Iterable[IPAddress], *, in_private: bool) -> None:
    """Nothing goes unencrypted beyond this machine, or beyond a private network."""
    for address in addresses:
        if not (address.is_loopback or (in_private and not net_guard.is_public(address))):
            raise WireError(Fault.ADDRESS_REFUSED, words(address, "not this machine"))


class _Incoming(io.RawIOBase):
    """What comes on a connection, and no more of it than is ever needed."""

    def __init__(self, receive: Callable[[memoryview], int], most: int) -> None:
        self._receive = receive
        self._left = most

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As ``HTTPResponse`` asks a socket for it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever memory the reader has
        if not self._left:
            raise WebFailure(Fault.TOO_LARGE, "The answer is too long.")
        count = self._receive(memoryview(buffer)[: self._left])
        self._left -= count
        return count
