"""One's own account: password, address, sessions."""

from flask import Blueprint, Response, flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_remembered

from blueprints import access, forms, sessions
from services.accounts import accounts
from services.accounts.accounts import Person
from utils.errors import InvalidInput

bp = Blueprint("account", __name__, url_prefix="/account")


def _account_key() -> str:
    return str(current_user.id) if current_user.is_authenticated else access.client_key()


def _password_was_wrong(_response: Response) -> bool:
    return "password_was_wrong" in g


# Whoever finds a browser signed in must not be able to try passwords there.
_limited = access.limiter.shared_limit(
    "10 per 15 minutes", scope="own-password", key_func=_account_key, deduct_when=_password_was_wrong
)


@bp.get("")
@access.signed_in
def show() -> ResponseReturnValue:
    """The page with one's own password, address and sessions."""
    return _page("", {})


@bp.post("/password")
@access.signed_in
@_limited
def change_password() -> ResponseReturnValue:
    """Change one's own password; this session goes on, every other ends."""
    current, new = forms.text("current_password"), forms.text("password")
    try:
        person = accounts.change_password(current_user.id, current, new)
    except InvalidInput as refused:
        return _refused("", refused)
    return _go_on(person, "Your password is changed. Your other sessions have ended.")


@bp.post("/email")
@access.signed_in
@_limited
def change_email() -> ResponseReturnValue:
    """Change one's own address."""
    email, password = forms.text("email"), forms.text("email_password")
    try:
        accounts.change_email(current_user.id, password, email.strip())
    except InvalidInput as refused:
        return _refused(email, refused)
    flash("Your address is changed.", "success")
    return redirect(url_for("account.show"), 303)


@bp.post("/sessions/end")
@access.signed_in
def end_sessions() -> ResponseReturnValue:
    """End every session but this one."""
    return _go_on(accounts.end_sessions(current_user.id), "Your other sessions have ended.")


def _go_on(person: Person, message: str) -> ResponseReturnValue:
    """Renew this session under the account's new epoch."""
    sessions.sign_in(person, remember=login_remembered())
    flash(message, "success")
    return redirect(url_for("account.show"), 303)


def _refused(email: str, refused: InvalidInput) -> ResponseReturnValue:
    if not refused.errors.keys().isdisjoint(("current_password", "email_password")):
        g.password_was_wrong = True
    return _page(email, refused.errors), refused.status


def _page(email: str, errors: dict[str, list[str]]) -> str:
    return render_template("account.html", user=current_user, values={"email": email}, errors=errors)
