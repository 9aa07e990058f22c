"""The HTML of a mail as an answer of its own, for a sandboxed frame: shut off from everything."""

from typing import Final

from flask import Response, make_response

# The mail's own styles, and nothing that loads or runs. What images may come from stands behind data:.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:{}; sandbox; frame-ancestors 'self'"


def shut_off(html: str, status: int = 200, *, image: str = "") -> Response:
    """The answer. ``image`` is the one URL that a picture may come from, as it was checked to be a URL."""
    response = make_response(html, status)
    response.headers["Content-Security-Policy"] = _POLICY.format(f" {image.partition('?')[0]}" if image else "")
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
