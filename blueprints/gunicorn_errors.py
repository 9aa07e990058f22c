"""What gunicorn itself refuses, before the application hears of it: under /api/ it is told as JSON, as all else there.

gunicorn has no setting for this. So its class for requests, which its parser names, notes what a request that it could
not read was for; and the one function with which it tells an error looks for that note.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, Final

from gunicorn import util
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

_LOOKED_AT: Final = 2048  # octets of a request, which may be a line without end
_UNDER_API: Final = re.compile(rb"(?:\r?\n)*[^ \r\n]+[ \t]+[^ ?#\r\n]*/api/")
_HEADERS: Final = (
    "Connection: close\r\n"
    "Content-Type: application/json\r\n"
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
)

_Tell = Callable[[Any, int, str, str], None]


class _KnownRequest(Request):  # type: ignore[misc]
    """A request of which the beginning is still known when the rest of it cannot be read."""

    beginning = b""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - untyped
        """Reads the request, all but its body."""
        try:
            super().__init__(*arguments, **named)
        except Exception as error:
            error.is_for_api = bool(_UNDER_API.match(self.beginning))  # type: ignore[attr-defined]
            raise

    def read_into(self, unreader: Any, buf: bytearray, stop: bool = False) -> None:  # noqa: ANN401 - untyped
        known = len(buf)
        super().read_into(unreader, buf, stop)
        if len(self.beginning) < _LOOKED_AT:
            self.beginning += bytes(buf[known : known + _LOOKED_AT])


def tell_as_json() -> None:
    """Let gunicorn tell its own errors under /api/ as JSON in this process, and in those that it forks."""
    if RequestParser.mesg_class is not _KnownRequest:
        RequestParser.mesg_class = _KnownRequest
        util.write_error = _telling(util.write_error)


def _telling(as_html: _Tell) -> _Tell:
    def tell(sock: Any, status: int, reason: str, message: str) -> None:  # noqa: ANN401 - a socket, or TLS over one
        if not getattr(sys.exception(), "is_for_api", False):
            as_html(sock, status, reason, message)
            return
        # gunicorn's own message repeats what was sent.
        body = json.dumps({"status": "error", "message": f"{reason}. The request could not be read."}).encode()
        head = f"HTTP/1.1 {status} {reason}\r\n{_HEADERS}Content-Length: {len(body)}\r\n\r\n"
        util.write_nonblock(sock, head.encode() + body)

    return tell
