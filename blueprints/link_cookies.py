"""Tokens that come in the link of a mail: each is swapped for a cookie, and the page is shown at its bare path.

So neither the Referer of that page nor its address in the history holds the token.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from flask import Response, make_response, redirect, render_template, request, url_for

from blueprints import sessions
from utils import clock
from utils.env_utils import get_settings

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_BROKEN: Final = "-"  # stands for whatever cannot be a token; nobody's link is this
_REFUSED_SECONDS: Final = 600  # for which a link that is not good is told so


class _Good(Protocol):
    @property
    def expires_at(self) -> datetime: ...


@dataclass(frozen=True)
class LinkCookie:
    """The cookie of one kind of link, and its page; ``find`` tells what a good token is for, and how long it is."""

    name: str
    endpoint: str
    template: str
    find: Callable[[str], _Good | None]

    def shown(self) -> Response:
        """The answer to a link: its token is swapped for a cookie, and the page is shown. Uses nothing up."""
        return self.swapped() or self.page(came=self.token() is not None)

    def page(self, errors: dict[str, list[str]] | None = None, *, came: bool = True) -> Response:
        """What the link is for, as ``found``; or that it is no longer good (410), or that none ``came`` (400)."""
        found = self.find(self.token() or "")
        page = render_template(self.template, found=found, errors=errors or {}, came=came)
        if found is None:
            return private(self.forget(make_response(page, 410 if came else 400)))
        return private(make_response(page, 422 if errors else 200))

    def swapped(self) -> Response | None:
        """The answer to a link with a token: the cookie, and the way to the bare path. None without a token."""
        if "token" not in request.args:
            return None
        tokens = request.args.getlist("token")
        token = tokens[0] if len(tokens) == 1 and _TOKEN.fullmatch(tokens[0]) else _BROKEN
        response = make_response(redirect(url_for(self.endpoint), 303))
        response.set_cookie(self._full_name(), token, max_age=self._seconds(token), **self._attributes())
        return private(response)

    def token(self) -> str | None:
        """What came with the cookie; None without one, which says nothing against the link."""
        return request.cookies.get(self._full_name())

    def forget(self, response: Response) -> Response:
        response.set_cookie(self._full_name(), "", max_age=0, **self._attributes())
        return response

    def _seconds(self, token: str) -> int:
        found = self.find(token)
        return max(1, int((found.expires_at - clock.now()).total_seconds())) if found else _REFUSED_SECONDS

    def _full_name(self) -> str:
        return sessions.cookie_name(self.name, get_settings())

    def _attributes(self) -> dict[str, Any]:
        """A ``__Host-`` cookie must have the path ``/``; the other goes to its own page alone."""
        settings = get_settings()
        path = "/" if settings.is_https and not settings.base_path else url_for(self.endpoint)
        return {"path": path, "secure": settings.is_https, "httponly": True, "samesite": "Lax"}


def private(response: Response) -> Response:
    """A page that a token led to: it is not kept, and tells nobody where its visitor came from."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
