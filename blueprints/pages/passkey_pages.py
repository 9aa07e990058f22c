"""Passkeys: making and removing one's own, signing in with one, and confirming by it who one is. They need script."""

import secrets
from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import forms, sessions
from blueprints.access import before_second_factor, limiter, local_path, public, require_recent_sign_in, signed_in
from blueprints.link_cookies import private
from blueprints.pages import auth, security_pages
from services.accounts.proofs import Proof
from services.factors import confirming, passkeys
from services.factors.passkeys import Purpose
from utils.errors import Forbidden, InvalidInput, NotFound

bp = Blueprint("passkeys", __name__)

CHALLENGED: Final = "challenge"  # the cookie that binds a guest's challenge to the browser
_JSON: Final = {"Content-Type": "application/json"}


@bp.post("/login/passkey/options")
@public
@limiter.limit("60 per 15 minutes")
def options_to_sign_in() -> Response:
    """What the browser of a guest needs for signing in with a passkey."""
    _refuse_where_the_provider_alone_signs_in()
    handle = sessions.cookie(CHALLENGED) or secrets.token_urlsafe(32)
    answer = make_response(passkeys.options_to_use(handle, Purpose.SIGN_IN), 200, _JSON)
    sessions.set_cookie(CHALLENGED, handle, passkeys.CHALLENGE_LIFE)
    return answer


@bp.post("/login/passkey")
@public
@limiter.limit("60 per 15 minutes")
def sign_in() -> ResponseReturnValue:
    """Sign in with a passkey, which is both factors in one."""
    wanted, remember = local_path(forms.text("next"), request.script_root) or "", forms.ticked("remember")
    if (refused_here := auth.only_by_provider({"login": "", "next": wanted, "remember": remember})) is not None:
        return refused_here
    try:
        person = passkeys.sign_in(forms.text("passkey"), bound_to=sessions.cookie(CHALLENGED))
    except InvalidInput as refused:
        values = {"login": "", "next": wanted, "remember": remember}
        errors = {"form": refused.errors[passkeys.FIELD]}
        return auth.sign_in_page(values, errors), 401
    return auth.signed_in(person, [Proof.PASSKEY], remember=remember, onward=wanted)


@bp.post("/account/security/passkeys")
@signed_in
@before_second_factor
def begin() -> Response:
    """Begin with a passkey, after a recent sign-in."""
    try:
        require_recent_sign_in()
    except InvalidInput as refused:
        return make_response(security_pages.page(refused.errors), refused.status)
    return make_response(redirect(url_for("passkeys.new"), 303))


@bp.get("/account/security/passkeys/new")
@signed_in
@before_second_factor
def new() -> ResponseReturnValue:
    """The page on which the browser makes it."""
    if not current_user.session.is_recent:
        return redirect(url_for("security.show"), 303)
    return _new_page("", {})


@bp.post("/account/security/passkeys/new")
@signed_in
@before_second_factor
def add() -> ResponseReturnValue:
    """Take into use what the browser has made."""
    name = forms.text("name")
    if not current_user.session.is_recent:
        return redirect(url_for("security.show"), 303)
    key = current_user.session.key
    try:
        codes = passkeys.add(current_user.id, name, forms.text("passkey"), bound_to=key, but=key)
    except InvalidInput as refused:
        return _new_page(name, {"form": refused.errors[passkeys.FIELD]}), refused.status
    sessions.renew([Proof.PASSKEY])
    if not codes:
        flash("The passkey is on.", "success")
        return redirect(url_for("security.show"), 303)
    message = "Your passkey is on. You are signed out everywhere else."
    return private(make_response(render_template("security/codes.html", codes=codes, message=message), 201))


@bp.get("/account/security/passkeys/<int:passkey_id>/remove")
@signed_in
def ask_remove(passkey_id: int) -> str:
    """Ask first."""
    return _remove_page(passkey_id, {})


@bp.post("/account/security/passkeys/<int:passkey_id>/remove")
@signed_in
def remove(passkey_id: int) -> Response:
    """Give a passkey up."""
    try:
        require_recent_sign_in()
    except InvalidInput as refused:
        return make_response(_remove_page(passkey_id, refused.errors), refused.status)
    name = passkeys.remove(current_user.id, passkey_id, but=current_user.session.key)
    flash(f"Removed “{name}”. You are signed out everywhere else.", "success")
    return make_response(redirect(url_for("security.show"), 303))


@bp.post("/account/security/confirm/options")
@signed_in
def options_to_confirm() -> Response:
    """What the browser needs for confirming by a passkey who is there."""
    return make_response(passkeys.options_to_use(current_user.session.key, Purpose.CONFIRM), 200, _JSON)


@bp.post("/account/security/confirm")
@signed_in
def confirm() -> Response:
    """Confirm it, so that the form that asked for it can be sent as it stands."""
    passkeys.confirm(current_user.id, forms.text("passkey"), bound_to=current_user.session.key)
    confirming.note(current_user.id, [Proof.PASSKEY])
    sessions.renew([Proof.PASSKEY])
    return make_response("", 204)


def _refuse_where_the_provider_alone_signs_in() -> None:
    if (only := auth.only_provider()) is not None:
        raise Forbidden(auth.BY_PROVIDER.format(only.name))


def _new_page(name: str, errors: dict[str, list[str]]) -> str:
    # HEAD changes nothing (RFC 9110 9.2.1): it gets no challenge, as nobody reads the page.
    is_read = request.method != "HEAD"
    options = passkeys.options_to_create(current_user.id, current_user.session.key) if is_read else ""
    return render_template("security/passkey.html", options=options, name=name, errors=errors)


def _remove_page(passkey_id: int, errors: dict[str, list[str]]) -> str:
    found = next((each for each in passkeys.of_account(current_user.id) if each.id == passkey_id), None)
    if found is None:
        raise NotFound("No such passkey, or it is already removed.")
    return render_template("security/remove_passkey.html", passkey=found, errors=errors)
