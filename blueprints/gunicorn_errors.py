"""What gunicorn itself refuses, before the application hears of it: told with the headers of every other answer, and
under /api/ as JSON, as all else there.

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
_HEADERS: Final = {
    "Connection": "close",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_JSON, _HTML = "application/json", "text/html; charset=utf-8"


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


def tell_as_ours(hsts: str) -> None:
    """Let this process, and those that it forks, tell gunicorn's own errors as ours, with what is told of HTTPS."""
    if RequestParser.mesg_class is not _KnownRequest:
        RequestParser.mesg_class = _KnownRequest
        util.write_error = _telling(hsts)


def _telling(hsts: str) -> Callable[[Any, int, str, str], None]:
    told = {"Strict-Transport-Security": hsts} if hsts else {}

    def tell(sock: Any, status: int, reason: str, _message: str) -> None:  # noqa: ANN401 - a socket, or TLS over one
        # gunicorn's own message repeats what was sent.
        text = f"{reason}. The request could not be read."
        if getattr(sys.exception(), "is_for_api", False):
            content_type, body = _JSON, json.dumps({"status": "error", "message": text})
        else:
            content_type, body = _HTML, f"<!doctype html><title>{reason}</title><p>{text}</p>"
        headers = {**_HEADERS, **told, "Content-Type": content_type, "Content-Length": str(len(body.encode()))}
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items()), "", body]
        util.write_nonblock(sock, "\r\n".join(lines).encode())

    return tell
