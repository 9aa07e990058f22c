"""The way in: first set-up, signing in and out, a forgotten password."""

from typing import Any, Final

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import access, forms, sessions
from blueprints.clients import client_network
from blueprints.link_cookies import LinkCookie, private
from blueprints.pages import start_page
from services.accounts import accounts, password_reset, signing_in
from services.accounts.tries import Locked
from utils.errors import InvalidInput, NotFound

pages = Blueprint("pages", __name__)
bp = Blueprint("auth", __name__)

_link: Final = LinkCookie("reset", "auth.reset_password", "auth/reset_password.html", password_reset.find_valid)
_WRONG_SIGN_IN: Final = "Wrong user name or password. Check both and try again."


@pages.get("/")
@access.public
def home() -> ResponseReturnValue:
    """The page that the visitor needs first: of administrators, how mail is."""
    if current_user.is_authenticated:
        return start_page.show() if current_user.is_admin else redirect(url_for("account.show"))
    return redirect(url_for("auth.login" if accounts.has_administrator() else "auth.setup"))


@bp.route("/setup", methods=["GET", "POST"])
@access.public
@access.limiter.limit("10 per 15 minutes", methods=["POST"])
def setup() -> ResponseReturnValue:
    """The first administrator, made by whoever has the code from the terminal; 404 afterwards."""
    if accounts.has_administrator():
        raise NotFound("Set-up is already complete.")
    if request.method != "POST":
        return render_template("auth/setup.html", values={}, errors={})
    values = {name: forms.text(name) for name in ("code", "username", "email")}
    try:
        person = accounts.create_first_administrator(**values, password=forms.text("password"))
    except InvalidInput as refused:
        return render_template("auth/setup.html", values=values, errors=refused.errors), refused.status
    sessions.sign_in(person)
    flash("You are the administrator. Next, set up a mail server.", "success")
    return redirect(url_for("pages.home"), 303)


@bp.route("/login", methods=["GET", "POST"])
@access.public
def login() -> ResponseReturnValue:
    """Sign in by user name or address. A failure says the same for an unknown name and a wrong password."""
    if request.method != "POST":
        return _sign_in_form()
    login, wanted, remember = forms.text("login"), forms.text("next"), forms.ticked("remember")
    values = {"login": login, "next": wanted, "remember": remember}
    try:
        person = signing_in.sign_in(login, forms.text("password"), client=client_network(), device=sessions.device())
    except Locked as refused:
        return _sign_in_page(values, {"form": [refused.message]}), refused.status
    if person is None:
        return _sign_in_page(values, {"form": [_WRONG_SIGN_IN]}), 401
    sessions.sign_in(person, remember=remember)
    return redirect(access.local_path(wanted, request.script_root) or _home_of(person.is_admin), 303)


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
    """Swap the token in the link for a cookie that lives as long, then show the form. Uses nothing up."""
    return _link.shown()


@bp.post("/reset-password")
@access.public
@access.limiter.limit("30 per 15 minutes")
def redeem() -> ResponseReturnValue:
    """Use the token up and change the password; whoever did so signs in with it next."""
    # Whoever has this form came with a link; if its cookie is gone, then so is the link.
    try:
        changed = password_reset.redeem(_link.token() or "", forms.text("password"))
    except InvalidInput as refused:
        return _link.page(refused.errors)
    if not changed:
        return _link.page()
    sessions.sign_out()
    flash("Password set. Sign in with it.", "success")
    response = make_response(redirect(url_for("auth.login"), 303))
    return private(_link.forget(response))


def _home_of(is_admin: bool) -> str:
    return url_for("pages.home") if is_admin else url_for("account.show")


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
