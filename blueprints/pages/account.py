"""One's own account: password, address, sessions."""

from flask import Blueprint, Response, flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_remembered

from blueprints import access, forms, sessions
from services.accounts import accounts, address_change
from services.accounts.accounts import Person
from utils.errors import InvalidInput

bp = Blueprint("account", __name__, url_prefix="/account")


def _account_key() -> str:
    return str(current_user.id) if current_user.is_authenticated else access.client_key()


def _password_was_wrong(_response: Response) -> bool:
    return "password_was_wrong" in g


def _was_mailed(response: Response) -> bool:
    return response.status_code == 303  # noqa: PLR2004


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
@access.limiter.limit("10 per hour", key_func=_account_key, deduct_when=_was_mailed)
def change_email() -> ResponseReturnValue:
    """Ask for another address of one's own; it takes effect once a link that is mailed there is followed."""
    email, password = forms.text("email"), forms.text("email_password")
    try:
        address_change.ask(current_user.id, password, email.strip())
    except InvalidInput as refused:
        return _refused(email, refused)
    flash("A link is on its way to the new address. Follow it there to confirm.", "info")
    return redirect(url_for("account.show"), 303)


@bp.post("/email/withdraw")
@access.signed_in
def withdraw_email() -> ResponseReturnValue:
    """Keep the address; the link that was mailed is void."""
    address_change.withdraw(current_user.id)
    flash("Your address stays as it is.", "success")
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
    pending = address_change.pending(current_user.id)
    values = {"email": email}
    return render_template("account.html", user=current_user, values=values, errors=errors, pending=pending)
