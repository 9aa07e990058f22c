"""Asks a domain's own web server for one small file, over HTTPS, in bounded time and memory.

Nothing is sent but the name of the file, and only to a host whose certificate holds. The address that is connected to
is the one that was judged. A redirect is followed within the domain, and never into a network of ours.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from services import web_request
from services.smtp.wire import Deadline
from services.web_request import WebFailure, WebHost, WebReach
from utils.allowed_places import AllowedPlaces

PORT: Final = web_request.HTTPS
LONGEST: Final = 64 * 1024  # octets of a file
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
    except WebFailure as failure:
        raise NoFile(f"{failure.fault} at {place.host}") from None
    except ValueError:  # of a URL that is none
        raise NoFile("It redirects to what is no path.") from None
    raise NoFile("It redirects again and again.")


def _asked(place: WebPlace, allowed: AllowedPlaces, policy: WebPolicy, deadline: Deadline) -> bytes | str:
    """The file, or the URL that the server sends us to."""
    reach = WebReach(ca_file=policy.ca_file, dns_resolver=policy.dns_resolver, allowed=allowed)
    accepted = {"Accept": "text/xml, application/xml"}
    answer = web_request.ask(
        WebHost(place.host, PORT), "GET", place.path, accepted, b"", reach=reach, deadline=deadline, longest=LONGEST
    )
    if answer.status in _ELSEWHERE:
        return answer.headers.get("location", "")
    if answer.status != _OK:
        raise NoFile(f"{place.host} answers {answer.status}.")
    return answer.body


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
