"""One's own account: password, address, sessions."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import access, forms, sessions
from services.accounts import accounts, api_tokens
from services.accounts import sessions as kept
from services.accounts.accounts import Person
from services.accounts.sessions import SessionInfo
from utils.errors import InvalidInput, NotFound

bp = Blueprint("account", __name__, url_prefix="/account")


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
    return _go_on(person, "Your password is changed. Your other sessions have ended.")


@bp.post("/email")
@access.signed_in
def change_email() -> ResponseReturnValue:
    """Change one's own address."""
    email, password = forms.text("email"), forms.text("email_password")
    try:
        accounts.change_email(current_user.id, password, email.strip())
    except InvalidInput as refused:
        return _page(email, refused.errors), refused.status
    flash("Your address is changed.", "success")
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
        message = "Your other sessions have ended."
    flash(f"{message} Your API tokens are revoked." if with_tokens else message, "success")
    return redirect(url_for("account.show"), 303)


def _go_on(person: Person, message: str) -> ResponseReturnValue:
    """Begin this session anew, as every other has ended."""
    sessions.sign_in(person, remember=current_user.session.is_remembered)
    flash(message, "success")
    return redirect(url_for("account.show"), 303)


def _ask_end(errors: dict[str, list[str]]) -> str:
    handle = request.values.get("session", "")
    asked = next((each for each in _others() if each.handle == handle), None)
    if handle and asked is None:
        raise NotFound("This session has ended already.")
    tokens = [token for token in api_tokens.every(current_user.id) if token.is_good]
    return render_template(
        "account/end_sessions.html",
        session=asked,
        others=_others(),
        tokens=tokens,
        with_tokens=forms.ticked("tokens"),
        errors=errors,
    )


def _others() -> list[SessionInfo]:
    return [each for each in kept.of_account(current_user.id) if each.key != current_user.session.key]


def _page(email: str, errors: dict[str, list[str]]) -> str:
    return render_template(
        "account.html",
        user=current_user,
        values={"email": email},
        errors=errors,
        sessions=[current_user.session, *_others()],
    )
