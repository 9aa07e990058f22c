"""Who may call: the guards, the CSRF rule, the rate limiter.

Every view carries exactly one guard: ``public``, ``signed_in``, ``admin_page``, ``admin_api``, ``account_api`` or
``metrics_api``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from hmac import compare_digest
from typing import Final, NoReturn, ParamSpec

from flask import Flask, Response, current_app, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter, RateLimitExceeded
from flask_login import current_user
from flask_wtf.csrf import CSRFError, CSRFProtect
from sqlalchemy.exc import SQLAlchemyError

from blueprints import addresses, clients, confirming, kept, refusals, sessions
from blueprints.clients import client_address, client_network
from blueprints.sessions import uses_bearer
from services import audit
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope, TokenInfo
from services.audit import Actor
from services.factors import policy
from utils.encryption_utils import digest, subkey
from utils.env_utils import EXTENSION, Settings, fernet_key_from, get_settings
from utils.errors import AppError, Forbidden, MalformedInput

P = ParamSpec("P")
View = Callable[P, ResponseReturnValue]

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
# Backslashes and a second slash name a host to browsers; they drop tabs and line breaks.
_LOCAL_PATH: Final = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]{0,2000}")
# Browsers take these away before they ask (WHATWG URL 4.4), which leads out of a path that we are below.
_DOT_SEGMENT: Final = re.compile(r"/(?:\.|%2e){1,2}(?=[/#]|$)", re.IGNORECASE)
_GUARDS_FOR_ACCOUNTS: Final = ("signed_in", "admin_page", "admin_api", "account_api")
ADMIN_TOKEN: Final = "ADMIN_TOKEN"  # noqa: S105 - what its holder is called
NOBODY: Final = "anonymous"
_NO_SECOND_FACTOR: Final = "Administrators here need a second factor. Set one up on the page of your account."
_NO_TOKEN: Final = "Sign in, or send an API token as a bearer token."  # noqa: S105 - it says that there is none


@dataclass(frozen=True)
class Caller:
    """Who calls an API for accounts. No account: it is the system, by ``ADMIN_TOKEN``.

    ``is_admin``: may see and do what administrators may, which a token of another scope may not.
    """

    account_id: int | None
    name: str
    is_admin: bool = field(kw_only=True)
    token_id: int | None = field(default=None, kw_only=True)  # of the account's token that was shown


class SignInRequired(AppError):
    """Nobody is signed in, or the bearer token is not the administrator's."""

    status = 401


class FormExpired(AppError):
    """The CSRF token is missing or of another session, or the request comes from another site."""


limiter = Limiter(client_network, strategy="moving-window", in_memory_fallback_enabled=True)
csrf = CSRFProtect()
_EXEMPT: Final = "sealpost_without_csrf"


def init_app(app: Flask) -> None:
    """Set up sessions, CSRF and limits for an application whose Settings are in place."""
    settings: Settings = app.extensions[EXTENSION]
    app.config.update(
        WTF_CSRF_SECRET_KEY=subkey("csrf-v1", fernet_key_from(settings.app_key)).hex(),
        WTF_CSRF_CHECK_DEFAULT=False,  # _check_origin_and_token decides when
        WTF_CSRF_SSL_STRICT=False,  # it wants a Referer, and we check Sec-Fetch-Site and Origin
        WTF_CSRF_TIME_LIMIT=None,  # a token lives as long as its session
        RATELIMIT_STORAGE_URI=settings.ratelimit_storage_uri,
    )
    clients.init_app(app)
    sessions.init_app(app)
    kept.init_app(app)
    confirming.init_app(app)
    app.before_request(_begin_acting)  # before anything refuses, since a refusal names whom it refuses
    app.teardown_request(_end_acting)
    csrf.init_app(app)
    app.before_request(_check_origin_and_token)
    limiter.init_app(app)
    refusals.init_app(app)


def exempt_from_csrf(app: Flask, blueprint: str) -> None:
    """Let requests to a blueprint of another application do without our origin and token, and to those within it.

    Its views behind another guard than ``public`` go by sessions, and need both all the same.
    """
    app.extensions.setdefault(_EXEMPT, set()).add(blueprint)


def actor_name() -> str:
    """Who makes this change, for ``updated_by``; for an API token its owner. Behind a guard only."""
    return str(g.bearer if uses_bearer() else current_user.username)


def local_path(text: str, below: str = "") -> str | None:
    """The path if it leads to a page of this site, ``below`` a path of it, and nowhere else; otherwise None."""
    is_local = _LOCAL_PATH.fullmatch(text) and not _DOT_SEGMENT.search(text.partition("?")[0])
    return text if is_local and text.startswith(f"{below}/") else None


def public(view: View[P]) -> View[P]:
    """Anybody may call."""
    return _marked(view, "public")


def public_alone(view: View[P]) -> View[P]:
    """Anybody may call, and nobody is looked up: the answer is the same for all, and needs no database."""
    view.looks_nobody_up = True  # type: ignore[attr-defined]
    return _marked(view, "public")


def before_second_factor(view: View[P]) -> View[P]:
    """Mark a view that is open to whoever must still take a second factor into use: it leads there, or out."""
    view.is_before_second_factor = True  # type: ignore[attr-defined]
    return view


def signed_in(view: View[P]) -> View[P]:
    """Whoever has an account; others are led to the sign-in page."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        return _turned_away() or view(*args, **kwargs)

    return _marked(guarded, "signed_in")


def admin_page(view: View[P]) -> View[P]:
    """Administrators with a session. Raises Forbidden for other accounts."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        turned_away = _turned_away()
        if turned_away is not None:
            return turned_away
        _require_administrator()
        return view(*args, **kwargs)

    return _marked(guarded, "admin_page")


def admin_api(view: View[P]) -> View[P]:
    """``ADMIN_TOKEN`` or an administrator's own API token as bearer token, or an administrator's session.

    Raises SignInRequired or Forbidden.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if uses_bearer():
            _require_bearer_token(Scope.ADMIN)
        elif not current_user.is_authenticated:
            raise SignInRequired(_NO_TOKEN)
        else:
            _require_administrator()
            _require_second_factor()
        return view(*args, **kwargs)

    return _marked(guarded, "admin_api")


def account_api(scope: Scope) -> Callable[[View[P]], View[P]]:
    """Whoever has an account: by session, or by an API token of it that has this scope. ``caller`` tells who it is.

    ``ADMIN_TOKEN`` is nobody's, and acts for the system. Raises SignInRequired or Forbidden.
    """

    def guard(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if uses_bearer():
                _require_bearer_token(scope)
            elif not current_user.is_authenticated:
                raise SignInRequired(_NO_TOKEN)
            else:
                _require_second_factor()
            return view(*args, **kwargs)

        guarded.scope = scope  # type: ignore[attr-defined]
        return _marked(guarded, "account_api")

    return guard


def metrics_api(view: View[P]) -> View[P]:
    """An API token with the scope metrics, an administrator's session, or whoever calls from METRICS_ADDRESSES.

    Raises SignInRequired or Forbidden.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if uses_bearer():
            _require_bearer_token(Scope.METRICS)
        elif current_user.is_authenticated:
            _require_administrator()
            _require_second_factor()
        elif not get_settings().is_scraper(client_address()):
            raise SignInRequired(_NO_TOKEN)
        return view(*args, **kwargs)

    guarded.scope = Scope.METRICS  # type: ignore[attr-defined]
    return _marked(guarded, "metrics_api")


def any_token(view: View[P]) -> View[P]:
    """Whoever sends a bearer token that is good, whatever for. Raises SignInRequired."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        _require_bearer_token(None)
        return view(*args, **kwargs)

    return guarded


def is_known_administrator() -> bool:
    """Whether an administrator asks a view that is public, by a session or a token; no answer without a database."""
    try:
        if uses_bearer():
            _require_bearer_token(Scope.ADMIN)
            return True
        return bool(current_user.is_authenticated and current_user.is_admin)
    except (SignInRequired, Forbidden, RateLimitExceeded, SQLAlchemyError):
        return False


def caller() -> Caller:
    """Who calls. Behind ``account_api`` only."""
    if not uses_bearer():
        return Caller(current_user.id, current_user.username, is_admin=current_user.is_admin)
    token: TokenInfo | None = g.token
    if token is None:
        return Caller(None, ADMIN_TOKEN, is_admin=True)
    return Caller(token.owner_id, token.owner, is_admin=Scope.ADMIN in token.scopes, token_id=token.id)


def calling_account() -> int:
    """The account that calls, for what is an account's own. Raises Forbidden for ``ADMIN_TOKEN``, which has none."""
    account_id = caller().account_id
    if account_id is None:
        raise Forbidden("ADMIN_TOKEN belongs to no account. Use an account’s API token, created on its page.")
    return account_id


def caller_key() -> str:
    """Who calls, as a limit counts calls: an account, whichever of its tokens is shown. Behind ``account_api`` only."""
    known = caller()
    return f"account {known.account_id}" if known.account_id is not None else known.name


def require_recent_sign_in() -> None:
    """The person at this session has proven within ten minutes who they are, or does so in the form that is sent.

    As ``confirming.require``; a request by bearer token is not asked. Behind a guard only.
    """
    if not uses_bearer():
        confirming.require()


def _begin_acting() -> None:
    """From here on the audit trail knows who calls, and from where. A bearer token counts once it was checked."""
    is_known = _is_somebody_looked_up() and not uses_bearer() and current_user.is_authenticated
    name = str(current_user.username) if is_known else NOBODY
    g.acting = audit.acting_as(Actor(name, client_address()))


def _end_acting(_error: BaseException | None) -> None:
    token = g.pop("acting", None)
    if token is not None:
        audit.stop_acting(token)


def _check_origin_and_token() -> Response | None:
    """The CSRF rule: a write needs our own page as origin and its session's token. Raises an AppError.

    Where only the token is old, the answer is the form with what was typed: nothing else of the request is done.
    """
    if request.method in SAFE_METHODS or request.routing_exception is not None or uses_bearer():
        return None
    if _guard_of_view() in _GUARDS_FOR_ACCOUNTS and not current_user.is_authenticated:
        return None  # the guard turns them away, and says why
    if _guard_of_view() in (None, "public") and not current_app.extensions.get(_EXEMPT, set()).isdisjoint(
        request.blueprints
    ):
        return None
    if not _is_same_origin():
        raise _refusal("origin")
    if None in request.form:  # a multipart part without a name, which Flask-WTF stumbles over
        raise MalformedInput("A field has no name. Reload the page.")
    try:
        csrf.protect()
    except CSRFError:
        refusal = _refusal("token")
        again = kept.shown_again(refusal.status) if isinstance(refusal, FormExpired) else None
        if again is None:
            raise refusal from None
        return again
    return None


def _refusal(reason: str) -> AppError:
    """A form that comes from no page of this session: there the browser came by another address, or it is old."""
    refusals.tell(reason=f"CSRF: {reason}")
    return addresses.wrong_one() or FormExpired("This form has expired. Reload the page.")


def _is_same_origin() -> bool:
    """By Fetch Metadata, or by Origin where a browser sends only that; other clients have the token alone.

    A page with ``Referrer-Policy: no-referrer`` sends ``Origin: null``, which needs Fetch Metadata beside it.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or origin in addresses.own_origins()


def _guard_of_view() -> str | None:
    return getattr(_view(), "guard", None)


def _is_somebody_looked_up() -> bool:
    return _guard_of_view() is not None and not getattr(_view(), "looks_nobody_up", False)


def _view() -> object:
    return current_app.view_functions.get(request.endpoint or "")


def _marked(view: View[P], guard: str) -> View[P]:
    """So that a test can prove that every route has a guard."""
    view.guard = guard  # type: ignore[attr-defined]
    return view


def _turned_away() -> Response | None:
    """The way to the sign-in page for who is not signed in, or to a second factor that is due; a script is told so."""
    if current_user.is_authenticated:
        return _led_to_second_factor()
    accepted = request.accept_mimetypes
    if request.path.startswith("/api/") or (accepted and not accepted.accept_html):
        raise SignInRequired("You are signed out. Sign in again.")
    page = request.path if request.method in SAFE_METHODS else kept.keep() if _is_same_origin() else ""
    # Somebody whom the provider still knows comes back at once. A form of ours leads to no page of another site.
    is_by_provider = request.method in SAFE_METHODS and sessions.waits_for_provider()
    sign_in = "single_sign_on.begin" if is_by_provider else "auth.login"
    response: Response = redirect(url_for(sign_in, next=local_path(_as_asked_for(page))), 303)  # type: ignore[assignment]
    return response


def _led_to_second_factor() -> Response | None:
    """The page that asks for a second factor, for an administrator who must have one by now and has none."""
    if getattr(_view(), "is_before_second_factor", False) or not _lacks_second_factor():
        return None
    response: Response = redirect(url_for("security.ask"), 303)  # type: ignore[assignment]
    return response


def _lacks_second_factor() -> bool:
    demand = policy.demand_on(current_user.session)
    return demand is not None and demand.is_due


def _require_second_factor() -> None:
    if _lacks_second_factor():
        raise Forbidden(_NO_SECOND_FACTOR)


def _as_asked_for(page: str) -> str:
    """The address of a page with what this request's has behind the path: what a list was filtered by goes along."""
    query = request.query_string.decode(errors="replace")
    return request.script_root + page + (f"?{query}" if query else "") if page else ""


def _require_administrator() -> None:
    if not current_user.is_admin:
        raise Forbidden("Only administrators can do this.")


def _require_bearer_token(scope: Scope | None) -> None:
    """Look the token up first: only what is refused counts, so that wrong ones never shut out a right one."""
    g.token = None
    presented = request.headers["Authorization"].partition(" ")[2].strip()
    if _is_admin_token(presented):
        g.bearer = actor = ADMIN_TOKEN
        origin = audit.ADMIN_TOKEN
    else:
        token = api_tokens.find_good(presented)
        if token is None:
            refusals.tell(reason="bearer token", fingerprint=digest(presented)[:8])
            _refuse_bearer_token()
        g.token, g.bearer, actor = token, token.owner, f"{token.owner} (token {token.name})"
        origin = f"{audit.OF_TOKEN}{token.id}"
    audit.acting_as(Actor(actor, client_address(), origin))  # what _begin_acting began is ended with it
    if g.token is not None and scope is not None and not g.token.allows(scope):
        raise Forbidden(f"This token does not have the scope {scope}. Create one that has it.")


@limiter.shared_limit("20 per 15 minutes", scope="admin-token")
def _refuse_bearer_token() -> NoReturn:
    raise SignInRequired("The bearer token is not valid.")


def _is_admin_token(presented: str) -> bool:
    """Compared by digests, which have one length: neither content nor length shows in the time."""
    expected = get_settings().admin_token
    return expected is not None and compare_digest(digest(presented), digest(expected.reveal()))
