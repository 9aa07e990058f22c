"""The session of who is signed in: its cookies, its beginning and its end."""

import re
import time
from datetime import timedelta
from typing import Final

from flask import Flask, Response, current_app, g, request, session
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, current_user, login_user, logout_user
from flask_login.utils import encode_cookie

from services.accounts import accounts
from services.accounts.accounts import Person
from utils.encryption_utils import subkey
from utils.env_utils import EXTENSION, Settings, fernet_key_from, get_settings

SESSION_LIFE: Final = timedelta(hours=12)
REMEMBER_LIFE: Final = timedelta(days=30)
_REMEMBER: Final = "sealpost_remember"  # in ``g``: what becomes of the cookie
_SIGNED_OUT: Final = "sealpost.signed_out"  # in the request's environment
_USER_ID: Final = re.compile(r"([0-9]{1,15}):([0-9]{1,15}):([0-9]{1,15})")


class SignedIn(UserMixin):  # type: ignore[misc]
    """Who is signed in, as templates see it. ``since`` is when, in seconds since 1970."""

    def __init__(self, person: Person, since: int) -> None:
        self.id = person.id
        self.username = person.username
        self.email = person.email
        self.is_admin = person.is_admin
        self._epoch = person.session_epoch
        self._since = since

    def get_id(self) -> str:
        """What the session and the remember cookie hold: a raised epoch or old age makes both worthless."""
        return f"{self.id}:{self._epoch}:{self._since}"


login_manager = LoginManager()
# Flask-Login's own protection compares User-Agent and X-Forwarded-For, which a thief of the cookie can send
# as well, and it signs out whoever's address changes.
login_manager.session_protection = None


def init_app(app: Flask) -> None:
    settings: Settings = app.extensions[EXTENSION]
    app.config.update(
        SECRET_KEY=subkey("session-v1", fernet_key_from(settings.app_key)).hex(),
        PERMANENT_SESSION_LIFETIME=SESSION_LIFE,
        SESSION_COOKIE_NAME=cookie_name("session", settings),
        SESSION_COOKIE_PATH=cookie_path(settings),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.is_https,
        REMEMBER_COOKIE_NAME=cookie_name("remember", settings),
    )
    app.after_request(_write_remember_cookie)  # of these the last comes first: after Flask-Login's
    login_manager.init_app(app, add_context_processor=False)
    app.context_processor(_user_for_pages)


def cookie_name(name: str, settings: Settings) -> str:
    """``__Host-`` where it is possible: no subdomain and no plain-HTTP page can set such a cookie.

    It demands the path ``/`` (RFC 6265bis 4.1.3.2), which other applications beside ours on the same host would see.
    """
    if not settings.is_https:
        return f"sealpost_{name}"
    return f"{'__Secure-' if settings.base_path else '__Host-'}sealpost_{name}"


def cookie_path(settings: Settings) -> str:
    """The path below which browsers send our cookies."""
    return settings.base_path or "/"


def sign_in(person: Person, *, remember: bool = False) -> None:
    """Begin a session with nothing of the one before: other content, another CSRF secret."""
    session.clear()
    g.pop("csrf_token", None)
    user = SignedIn(person, int(time.time()))
    login_user(user)
    _change_remember_cookie(encode_cookie(user.get_id()) if remember else "")


def sign_out() -> None:
    session.clear()
    g.pop("csrf_token", None)
    logout_user()
    _change_remember_cookie("")


def assume_signed_out() -> None:
    """Look nobody up for the rest of this request: the page that tells of a dead database needs none."""
    request.environ[_SIGNED_OUT] = True


def uses_bearer() -> bool:
    """Whether this is an API call with a bearer token; its cookies count for nothing then."""
    scheme = request.headers.get("Authorization", "").partition(" ")[0]
    return scheme.lower() == "bearer" and request.path.startswith("/api/")


@login_manager.user_loader  # type: ignore[untyped-decorator]
def _load_user(user_id: str) -> SignedIn | None:
    """Who the cookie names, unless its epoch is over or it is older than a remembered one may be."""
    parts = _USER_ID.fullmatch(user_id)
    if parts is None or uses_bearer() or _SIGNED_OUT in request.environ:
        return None
    account_id, epoch, since = map(int, parts.groups())
    if time.time() - since > REMEMBER_LIFE.total_seconds():
        return None
    person = accounts.find(account_id)
    return SignedIn(person, since) if person and person.session_epoch == epoch else None


def _user_for_pages() -> dict[str, object]:
    return {"current_user": AnonymousUserMixin() if _SIGNED_OUT in request.environ else current_user}


def _change_remember_cookie(value: str) -> None:
    """Let this answer set the cookie, or delete the one that the browser has."""
    if value or current_app.config["REMEMBER_COOKIE_NAME"] in request.cookies:
        setattr(g, _REMEMBER, value)


def _write_remember_cookie(response: Response) -> Response:
    """Flask-Login deletes the cookie without Secure, which browsers ignore for ``__Host-``: ours takes its place."""
    value = g.pop(_REMEMBER, None)
    if value is None:
        return response
    name = current_app.config["REMEMBER_COOKIE_NAME"]
    others = [line for line in response.headers.getlist("Set-Cookie") if not line.startswith(f"{name}=")]
    response.headers.setlist("Set-Cookie", others)
    response.set_cookie(
        name,
        value,
        max_age=int(REMEMBER_LIFE.total_seconds()) if value else 0,
        path=cookie_path(get_settings()),
        secure=get_settings().is_https,
        httponly=True,
        samesite="Lax",
    )
    return response
