"""One's own account: password, address, sessions."""

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import access, forms, sessions
from services.accounts import accounts, address_change, api_tokens
from services.accounts import sessions as kept
from services.accounts.accounts import Person
from services.accounts.api_tokens import TokenInfo
from services.accounts.proofs import Proof
from services.accounts.sessions import SessionInfo
from services.single_sign_on import people
from utils.errors import InvalidInput, NotFound

bp = Blueprint("account", __name__, url_prefix="/account")


def _account_key() -> str:
    return str(current_user.id)


def _was_mailed(response: Response) -> bool:
    return response.status_code == 303  # noqa: PLR2004


@bp.get("")
@access.signed_in
def show() -> ResponseReturnValue:
    """The page with one's own password, address and sessions."""
    return _page("", {})


@bp.post("/password")
@access.signed_in
def change_password() -> ResponseReturnValue:
    """Change one's own password; this session goes on, every other ends."""
    current, new = forms.text("current_password"), forms.text("password")
    try:
        person = accounts.change_password(current_user.id, current, new)
    except InvalidInput as refused:
        return _page("", refused.errors), refused.status
    return _go_on(person, "Password changed. You are signed out everywhere else.")


@bp.post("/email")
@access.signed_in
@access.limiter.limit("10 per hour", key_func=_account_key, deduct_when=_was_mailed)
def change_email() -> ResponseReturnValue:
    """Ask for another address of one's own; it takes effect once a link that is mailed there is followed."""
    email, password = forms.text("email"), forms.text("email_password")
    try:
        address_change.ask(current_user.id, password, email.strip())
    except InvalidInput as refused:
        return _page(email, refused.errors), refused.status
    flash("A link is on its way to the new address. Follow it to confirm.", "info")
    return redirect(url_for("account.show"), 303)


@bp.post("/email/withdraw")
@access.signed_in
def withdraw_email() -> ResponseReturnValue:
    """Keep the address; the link that was mailed is void."""
    address_change.withdraw(current_user.id)
    flash("Your address stays unchanged.", "success")
    return redirect(url_for("account.show"), 303)


@bp.get("/sessions/end")
@access.signed_in
def ask_end_sessions() -> str:
    """Ask whether to end one session, or every one but this."""
    return _ask_end({})


@bp.post("/sessions/end")
@access.signed_in
def end_sessions() -> ResponseReturnValue:
    """End one session, or every one but this; and one's API tokens if that was ticked."""
    handle, with_tokens = forms.text("session"), forms.ticked("tokens")
    try:
        access.require_recent_sign_in()
    except InvalidInput as refused:
        return _ask_end(refused.errors), refused.status
    if handle:
        ended = kept.end_one(current_user.id, handle, with_tokens=with_tokens)
        message = f"The session in {ended.browser} has ended."
    else:
        kept.end_all(current_user.id, but=current_user.session.key, with_tokens=with_tokens)
        message = "You are signed out everywhere else."
    flash(f"{message} Your API tokens are revoked." if with_tokens else message, "success")
    return redirect(url_for("account.show"), 303)


def _go_on(person: Person, message: str) -> ResponseReturnValue:
    """Begin this session anew, as every other has ended."""
    now = current_user.session
    sessions.sign_in(person, {*now.proven_by, Proof.PASSWORD}, remember=now.is_remembered, is_new=False)
    flash(message, "success")
    return redirect(url_for("account.show"), 303)


def _ask_end(errors: dict[str, list[str]]) -> str:
    handle = request.values.get("session", "")
    asked = next((each for each in _others() if each.handle == handle), None)
    if handle and asked is None:
        raise NotFound("This session has already ended.")
    return render_template(
        "account/end_sessions.html",
        session=asked,
        others=_others(),
        tokens=_good_tokens(),
        with_tokens=forms.ticked("tokens"),
        errors=errors,
    )


def _good_tokens() -> list[TokenInfo]:
    return [token for token in api_tokens.every(current_user.id) if token.is_good]


def _others() -> list[SessionInfo]:
    return [each for each in kept.of_account(current_user.id) if each.key != current_user.session.key]


def _page(email: str, errors: dict[str, list[str]]) -> str:
    return render_template(
        "account.html",
        user=current_user,
        identities=people.of_account(current_user.id),
        has_password=accounts.get(current_user.id).has_password,
        values={"email": email},
        errors=errors,
        pending=address_change.pending(current_user.id),
        good_tokens=len(_good_tokens()),
        sessions=[current_user.session, *_others()],
    )
