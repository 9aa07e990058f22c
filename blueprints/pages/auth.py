"""The way in: first set-up, signing in and out, a forgotten password."""

import hashlib
import re
from typing import Any, Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import access, forms, sessions
from services.accounts import accounts, fields, password_reset
from utils.env_utils import get_settings
from utils.errors import InvalidInput, NotFound

pages = Blueprint("pages", __name__)
bp = Blueprint("auth", __name__)

RESET_COOKIE_SECONDS: Final = 600
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_WRONG_SIGN_IN: Final = "No account has this name and password. Check both and try again."


@pages.get("/")
@access.public
def home() -> ResponseReturnValue:
    """The page that the visitor needs first."""
    if current_user.is_authenticated:
        return redirect(_home_of(current_user.is_admin))
    return redirect(url_for("auth.login" if accounts.has_administrator() else "auth.setup"))


@bp.route("/setup", methods=["GET", "POST"])
@access.public
@access.limiter.limit("10 per 15 minutes", methods=["POST"])
def setup() -> ResponseReturnValue:
    """The first administrator, made by whoever has the code from the terminal; 404 afterwards."""
    if accounts.has_administrator():
        raise NotFound("The set-up is done.")
    values = {name: forms.text(name) for name in ("code", "username", "email")}
    if request.method != "POST":
        return render_template("auth/setup.html", values=values, errors={})
    try:
        person = accounts.create_first_administrator(**values, password=forms.text("password"))
    except InvalidInput as refused:
        return render_template("auth/setup.html", values=values, errors=refused.errors), refused.status
    sessions.sign_in(person)
    flash("You are the administrator now. Next, set up the mail server.", "success")
    return redirect(url_for("settings.smtp"), 303)


def _is_refusal(response: Response) -> bool:
    return response.status_code == 401  # noqa: PLR2004


def _login_key() -> str:
    """The account string, existing or not, hashed so that no limiter storage holds what people type."""
    login = forms.text("login")
    return hashlib.sha256((fields.login_key(login) or login).encode(errors="replace")).hexdigest()


@bp.route("/login", methods=["GET", "POST"])
@access.public
@access.limiter.limit("20 per 15 minutes", methods=["POST"], deduct_when=_is_refusal)
@access.limiter.limit("10 per 15 minutes", methods=["POST"], deduct_when=_is_refusal, key_func=_login_key)
def login() -> ResponseReturnValue:
    """Sign in by user name or address. A failure says the same for an unknown name and a wrong password."""
    if request.method != "POST":
        return _sign_in_form()
    person = accounts.authenticate(forms.text("login"), forms.text("password"))
    if person is None:
        values = {name: forms.text(name) for name in ("login", "next")}
        return _sign_in_page({**values, "remember": forms.ticked("remember")}, {"form": [_WRONG_SIGN_IN]}), 401
    sessions.sign_in(person, remember=forms.ticked("remember"))
    return redirect(access.local_path(forms.text("next"), request.script_root) or _home_of(person.is_admin), 303)


@bp.post("/logout")
@access.signed_in
def logout() -> ResponseReturnValue:
    """End this session."""
    sessions.sign_out()
    flash("You are signed out.", "info")
    return redirect(url_for("auth.login"), 303)


@bp.route("/forgot-password", methods=["GET", "POST"])
@access.public
@access.limiter.limit("10 per hour", methods=["POST"])
def forgot_password() -> ResponseReturnValue:
    """Ask for a reset link. The answer is the same whether anybody has the address or not."""
    if request.method != "POST":
        return _forgot_page("", {})
    email = forms.text("email")
    try:
        password_reset.request_reset(email.strip())
    except InvalidInput as refused:
        return _forgot_page(email, refused.errors), refused.status
    return _forgot_page("", {}, sent=True)


@bp.get("/reset-password")
@access.public
def reset_password() -> ResponseReturnValue:
    """Swap the token in the link for a short-lived cookie, then show the form. Uses nothing up."""
    if "token" in request.args:
        return _with_token_in_cookie(request.args.getlist("token"))
    return _reset_page({})


@bp.post("/reset-password")
@access.public
@access.limiter.limit("30 per 15 minutes")
def redeem() -> ResponseReturnValue:
    """Use the token up and change the password; whoever did so signs in with it next."""
    try:
        changed = password_reset.redeem(_token_in_cookie(), forms.text("password"))
    except InvalidInput as refused:
        return _reset_page(refused.errors)
    if not changed:
        return _reset_page({})
    sessions.sign_out()
    flash("Your password is changed. Sign in with the new one.", "success")
    response = make_response(redirect(url_for("auth.login"), 303))
    return _private(_forget_token(response))


def _home_of(is_admin: bool) -> str:
    return url_for("settings.smtp") if is_admin else url_for("account.show")


def _sign_in_form() -> ResponseReturnValue:
    wanted = access.local_path(request.args.get("next", ""), request.script_root)
    if current_user.is_authenticated:
        return redirect(wanted or _home_of(current_user.is_admin))
    if not accounts.has_accounts():
        return redirect(url_for("auth.setup"))
    return _sign_in_page({"login": "", "remember": False, "next": wanted or ""}, {})


def _sign_in_page(values: dict[str, Any], errors: dict[str, list[str]]) -> str:
    return render_template("auth/login.html", values=values, errors=errors)


def _forgot_page(email: str, errors: dict[str, list[str]], *, sent: bool = False) -> str:
    return render_template("auth/forgot_password.html", values={"email": email}, errors=errors, sent=sent)


def _with_token_in_cookie(tokens: list[str]) -> Response:
    """To the bare path: neither the Referer of that page nor its address in the history holds the token."""
    response = make_response(redirect(url_for("auth.reset_password"), 303))
    if len(tokens) != 1 or not _TOKEN.fullmatch(tokens[0]):
        return _private(_forget_token(response))
    response.set_cookie(_reset_cookie_name(), tokens[0], max_age=RESET_COOKIE_SECONDS, **_reset_cookie_attributes())
    return _private(response)


def _reset_page(errors: dict[str, list[str]]) -> Response:
    """The form, or the page that says that the link is no longer good (410)."""
    valid = password_reset.find_valid(_token_in_cookie()) is not None
    page = render_template("auth/reset_password.html", errors=errors, valid=valid)
    if not valid:
        return _private(_forget_token(make_response(page, 410)))
    return _private(make_response(page, 422 if errors else 200))


def _token_in_cookie() -> str:
    return request.cookies.get(_reset_cookie_name(), "")


def _forget_token(response: Response) -> Response:
    response.set_cookie(_reset_cookie_name(), "", max_age=0, **_reset_cookie_attributes())
    return response


def _private(response: Response) -> Response:
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _reset_cookie_name() -> str:
    return sessions.cookie_name("reset", get_settings())


def _reset_cookie_attributes() -> dict[str, Any]:
    """A ``__Host-`` cookie must have the path ``/``; the other goes to its own page alone."""
    settings = get_settings()
    path = "/" if settings.is_https and not settings.base_path else url_for("auth.reset_password")
    return {"path": path, "secure": settings.is_https, "httponly": True, "samesite": "Lax"}
