"""The session of who is signed in: its cookies, its beginning and its end.

The session's cookie holds its random id alone; all else about it is in the database. Beside it there is a signed
cookie for what belongs to pages (the CSRF secret, the message of the next page), one by which a browser is known again
in which somebody has signed in before, and for half an hour the id of the session that was ended there.
"""

import hashlib
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from flask import Flask, Request, Response, current_app, g, request, session
from flask.sessions import SecureCookieSessionInterface
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, current_user
from itsdangerous import Signer, URLSafeTimedSerializer
from werkzeug.local import LocalProxy

from blueprints import proxy_sign_in
from blueprints.clients import browser_in_short, client_address
from services.accounts import devices, fields, sessions
from services.accounts.accounts import Person
from services.accounts.proofs import Proof
from services.accounts.sessions import ENDED_KEPT, SessionInfo
from utils import clock
from utils.encryption_utils import subkey
from utils.env_utils import EXTENSION, Settings, fernet_key_from, get_settings

SESSION, PAGES, DEVICE, ENDED = "session", "pages", "device", "ended"  # the cookies
LONGEST_ID: Final = 64
BACKGROUND: Final = "Sealpost-Background"  # the header of what no person has asked for
_PRESENT: Final = "sealpost_session_id"  # in ``g``: the id that counts from here on
_COOKIES: Final = "sealpost_cookies"  # in ``g``: what this answer sets, by name
_SIGNED_OUT: Final = "sealpost.signed_out"  # in the request's environment


class SignedIn(UserMixin):  # type: ignore[misc]
    """Who is signed in, as templates see it."""

    def __init__(self, info: SessionInfo) -> None:
        self.id = info.account_id
        self.username = info.username
        self.email = info.email
        self.is_admin = info.is_admin
        self.session = info


class _OfOneSession(SecureCookieSessionInterface):
    """Flask's signed cookie, good only beside the session's cookie that it was made with."""

    digest_method = staticmethod(hashlib.sha256)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        serializer = super().get_signing_serializer(app)
        if serializer is not None:
            serializer.salt = f"{self.salt} {_present_id()}".encode(errors="replace")
        return serializer


login_manager = LoginManager()
# Flask-Login's own protection compares User-Agent and X-Forwarded-For, which a thief of the cookie can send
# as well, and it signs out whoever's address changes.
login_manager.session_protection = None


def init_app(app: Flask) -> None:
    settings: Settings = app.extensions[EXTENSION]
    # Of the tokens in forms, too: by itself it signs with SHA-1, and Flask-WTF has no setting for that.
    Signer.default_digest_method = staticmethod(hashlib.sha256)
    app.session_interface = _OfOneSession()
    app.config.update(
        SECRET_KEY=subkey("session-v1", fernet_key_from(settings.app_key)).hex(),
        PERMANENT_SESSION_LIFETIME=max(settings.session_life, settings.session_remembered_life),
        SESSION_COOKIE_NAME=cookie_name(PAGES, settings),
        SESSION_COOKIE_PATH=cookie_path(settings),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.is_https,
        # There is none. Where it finds one, Flask-Login does not ask us: not one of a neighbour at the same host,
        # nor one of our earlier versions.
        REMEMBER_COOKIE_NAME=cookie_name("none", settings),
    )
    app.after_request(_write_cookies)
    login_manager.init_app(app, add_context_processor=False)
    app.jinja_env.globals["current_user"] = LocalProxy(_user_for_pages)


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


def sign_in(person: Person, proven_by: Collection[Proof], *, remember: bool = False, is_new: bool = True) -> None:
    """Begin a session with nothing of the one before: another id, other content, another CSRF secret.

    ``proven_by`` is how the person was just proven; without ``is_new`` it is no sign-in, and a session goes on. Raises
    Conflict if all sessions of the account were ended since its password was seen.
    """
    former = _present_id()
    begun = sessions.begin(
        person.id,
        person.session_epoch,
        proven_by=proven_by,
        address=client_address(),
        browser=browser_in_short(request.headers.get("User-Agent", "")),
        is_remembered=remember,
        is_new=is_new,
        is_known_browser=devices.knows(device(), person.id) is not None,
    )
    if former:
        sessions.replace(former)
    _go_on_as(begun)
    set_cookie(SESSION, begun, get_settings().session_remembered_life if remember else None)
    set_cookie(DEVICE, devices.after_sign_in(device(), person.id), timedelta(days=devices.LIFE_DAYS))
    delete_cookie(ENDED)


def sign_out() -> None:
    """End this session. Whose it was is known for a while: another page may still be open, with something typed."""
    former = _present_id()
    if former:
        sessions.sign_out(former)
        set_cookie(ENDED, former, ENDED_KEPT)
    _go_on_as("")
    delete_cookie(SESSION)


def renew(by: Collection[Proof]) -> None:
    """The person at this session has just proven so who they are: the cookie gets another id, and lives no longer.

    Tokens of forms that are open in other tabs stay good.
    """
    user = current_user
    begun, user.session = sessions.renew(user.session.key, by)
    setattr(g, _PRESENT, begun)
    session.modified = True  # its signature covers the id
    ends_at = user.session.created_at + get_settings().session_remembered_life
    set_cookie(SESSION, begun, ends_at - clock.now() if user.session.is_remembered else None)


def ended_account() -> int | None:
    """Whose session this browser had until lately, if it has none now."""
    ids = (cookie(name) for name in (SESSION, ENDED))
    accounts = (sessions.account_of_ended(session_id) for session_id in ids if session_id)
    return next((account_id for account_id in accounts if account_id is not None), None)


def waits_for_provider() -> bool:
    """Whether this browser's session goes on once the provider of single sign-on has said again who it is."""
    session_id = cookie(SESSION)
    return bool(session_id) and sessions.waits_for_provider(session_id)


def device() -> str:
    """The cookie of a browser in which somebody has signed in before, or ""."""
    return cookie(DEVICE, 512)


def assume_signed_out() -> None:
    """Look nobody up for the rest of this request: the page that tells of a dead database needs none."""
    request.environ[_SIGNED_OUT] = True


def uses_bearer() -> bool:
    """Whether this is a call of the API, or of a monitor, with a bearer token; its cookies count for nothing then."""
    scheme = request.headers.get("Authorization", "").partition(" ")[0]
    return scheme.lower() == "bearer" and request.path.startswith(("/api/", "/readyz", "/metrics"))


@login_manager.request_loader  # type: ignore[untyped-decorator]
def _load_user(_request: Request) -> SignedIn | None:
    """Whose session the cookie names, unless it has ended."""
    session_id = _present_id()
    if not session_id or uses_bearer() or _SIGNED_OUT in request.environ:
        return None
    info = sessions.resume(session_id, client_address(), is_seen=not _is_in_background())
    return SignedIn(info) if info and _is_still_vouched_for(info) else None


def _is_still_vouched_for(info: SessionInfo) -> bool:
    """Who came by the proxy is here as long as the proxy says so, with each request."""
    return Proof.PROXY not in info.proven_by or fields.is_named(proxy_sign_in.vouched_name(), info.username, info.email)


def still_signed_in() -> SignedIn | None:
    """Who is signed in at this request's session by now: an answer may take longer than the session lasts."""
    return _load_user(request)  # type: ignore[no-any-return]


def _is_in_background() -> bool:
    """Whether a page's script asks by itself: that must not keep a session going that nobody is at."""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, "is_in_background", False) or BACKGROUND in request.headers


def _user_for_pages() -> SignedIn | AnonymousUserMixin:
    return AnonymousUserMixin() if _SIGNED_OUT in request.environ else current_user._get_current_object()


def _present_id() -> str:
    """The id of the session that counts now: the one that this request began, or its cookie's."""
    begun = g.get(_PRESENT)
    return cookie(SESSION) if begun is None else str(begun)


def _go_on_as(session_id: str) -> None:
    setattr(g, _PRESENT, session_id)
    session.clear()
    g.pop("csrf_token", None)


def cookie(name: str, longest: int = LONGEST_ID) -> str:
    """What the browser has sent as this cookie of ours; "" if it is absent, or longer than any of them."""
    value = request.cookies.get(cookie_name(name, get_settings()), "")
    return value if len(value) <= longest else ""


def set_cookie(name: str, value: str, life: timedelta | None) -> None:
    """Let this answer set a cookie, for as long as the browser is open if it has no life of its own."""
    g.setdefault(_COOKIES, {})[name] = (value, None if life is None else int(life.total_seconds()))


def delete_cookie(name: str) -> None:
    """Let this answer delete a cookie that the browser has."""
    if cookie_name(name, get_settings()) in request.cookies:
        set_cookie(name, "", timedelta(0))


def _write_cookies(response: Response) -> Response:
    settings = get_settings()
    for name, (value, seconds) in g.pop(_COOKIES, {}).items():
        response.set_cookie(
            cookie_name(name, settings),
            value,
            max_age=seconds,
            path=cookie_path(settings),
            secure=settings.is_https,
            httponly=True,
            samesite="Lax",
        )
    return response
