"""The session of who is signed in: its cookies, its beginning and its end."""

import re
import time
from datetime import timedelta
from typing import Final

from flask import Flask, Response, current_app, g, request, session
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, login_user, logout_user
from flask_login.utils import encode_cookie

from services.accounts import accounts
from services.accounts.accounts import Person
from utils.encryption_utils import subkey
from utils.env_utils import EXTENSION, Settings, fernet_key_from, get_settings

SESSION_LIFE: Final = timedelta(hours=12)
REMEMBER_LIFE: Final = timedelta(days=30)
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


class _LoginManager(LoginManager):  # type: ignore[misc]
    """Flask-Login, but deleting the remember cookie with Secure, or browsers ignore it for ``__Host-``."""

    def _set_cookie(self, response: Response) -> None:
        age = int(REMEMBER_LIFE.total_seconds())
        self._write_cookie(response, encode_cookie(str(session["_user_id"])), age)

    def _clear_cookie(self, response: Response) -> None:
        self._write_cookie(response, "", 0)

    def _write_cookie(self, response: Response, value: str, max_age: int) -> None:
        response.set_cookie(
            current_app.config["REMEMBER_COOKIE_NAME"],
            value,
            max_age=max_age,
            secure=get_settings().is_https,
            httponly=True,
            samesite="Lax",
        )


login_manager = _LoginManager()
# Flask-Login's own protection compares User-Agent and X-Forwarded-For, which a thief of the cookie can send
# as well, and it signs out whoever's address changes.
login_manager.session_protection = None


def init_app(app: Flask) -> None:
    settings: Settings = app.extensions[EXTENSION]
    app.config.update(
        SECRET_KEY=subkey("session-v1", fernet_key_from(settings.app_key)).hex(),
        PERMANENT_SESSION_LIFETIME=SESSION_LIFE,
        SESSION_COOKIE_NAME=cookie_name("session", settings),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.is_https,
        REMEMBER_COOKIE_NAME=cookie_name("remember", settings),
    )
    login_manager.init_app(app)


def cookie_name(name: str, settings: Settings) -> str:
    """``__Host-`` where it is possible: no subdomain and no plain-HTTP page can set such a cookie."""
    return f"__Host-sealpost_{name}" if settings.is_https else f"sealpost_{name}"


def sign_in(person: Person, *, remember: bool = False) -> None:
    """Begin a session with nothing of the one before: other content, another CSRF secret."""
    had_cookie = current_app.config["REMEMBER_COOKIE_NAME"] in request.cookies
    session.clear()
    g.pop("csrf_token", None)
    login_user(SignedIn(person, int(time.time())), remember=remember)
    if had_cookie and not remember:
        session["_remember"] = "clear"


def sign_out() -> None:
    session.clear()
    g.pop("csrf_token", None)
    logout_user()


def assume_signed_out() -> None:
    """Look nobody up for the rest of this request: the page that tells of a dead database needs none."""
    g._login_user = AnonymousUserMixin()


def uses_bearer() -> bool:
    """Whether this is an API call with a bearer token; its cookies count for nothing then."""
    scheme = request.headers.get("Authorization", "").partition(" ")[0]
    return scheme.lower() == "bearer" and request.path.startswith("/api/")


@login_manager.user_loader  # type: ignore[untyped-decorator]
def _load_user(user_id: str) -> SignedIn | None:
    """Who the cookie names, unless its epoch is over or it is older than a remembered one may be."""
    parts = _USER_ID.fullmatch(user_id)
    if parts is None or uses_bearer():
        return None
    account_id, epoch, since = map(int, parts.groups())
    if time.time() - since > REMEMBER_LIFE.total_seconds():
        return None
    person = accounts.find(account_id)
    return SignedIn(person, since) if person and person.session_epoch == epoch else None
