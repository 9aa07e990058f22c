"""``/account/security``: one's own second factors; and the page that asks administrators for one."""

from datetime import datetime
from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import forms, sessions
from blueprints.access import before_second_factor, local_path, require_recent_sign_in, signed_in
from blueprints.link_cookies import private
from services.accounts.proofs import Proof
from services.factors import enrolment, passkeys, policy, ways
from utils.errors import Conflict, InvalidInput, NotFound

bp = Blueprint("security", __name__, url_prefix="/account/security")

_ENROLLED: Final = "Your second factor is on. You are signed out everywhere else."


@bp.get("")
@signed_in
@before_second_factor
def show() -> str:
    """What one's own account is protected by."""
    return page({})


@bp.get("/required")
@signed_in
@before_second_factor
def ask() -> ResponseReturnValue:
    """The page that asks an administrator for a second factor, at once or until a day."""
    demand = policy.demand_on(current_user.session)
    onward = _onward() or url_for("pages.home")
    if demand is None:
        return redirect(onward, 303)
    return render_template("security/required.html", demand=demand, onward=onward)


@bp.get("/prove")
@signed_in
def ask_who() -> str:
    """Ask who is there, for a link that wants to know; then offer the link."""
    return _who_page({})


@bp.post("/prove")
@signed_in
def prove() -> ResponseReturnValue:
    """Prove it, there or ``here``, on the page with one's factors."""
    is_here = forms.ticked("here")
    try:
        require_recent_sign_in()
    except InvalidInput as refused:
        return page(refused.errors) if is_here else _who_page(refused.errors), refused.status
    if is_here:
        return redirect(url_for("security.show"), 303)
    return redirect(url_for("security.ask_who", next=_onward() or None), 303)


@bp.post("/app")
@signed_in
@before_second_factor
def begin_app() -> Response:
    """Begin with an authenticator app, after a recent sign-in."""
    try:
        require_recent_sign_in()
        enrolment.begin_app(current_user.id)
    except InvalidInput as refused:
        return make_response(page(refused.errors), refused.status)
    except Conflict as refused:
        return make_response(page({"form": [refused.message]}), refused.status)
    return make_response(redirect(url_for("security.show_app"), 303))


@bp.get("/app")
@signed_in
@before_second_factor
def show_app() -> ResponseReturnValue:
    """What the app is to be given, and the field for its first code."""
    return _app_page({})


@bp.post("/app/confirm")
@signed_in
@before_second_factor
def confirm_app() -> ResponseReturnValue:
    """Let the app count, since its first code is right; the recovery codes are shown in this answer and never again."""
    try:
        codes = enrolment.confirm_app(current_user.id, forms.text("code"), but=current_user.session.key)
    except InvalidInput as refused:
        page = _app_page(refused.errors)
        return (page, refused.status) if isinstance(page, str) else page
    except NotFound as refused:
        return _begin_again(refused)
    sessions.renew([Proof.TOTP])
    if not codes:
        flash("The authenticator app is on.", "success")
        return redirect(url_for("security.show"), 303)
    return _codes_page(codes, _ENROLLED)


@bp.get("/app/remove")
@signed_in
def ask_remove_app() -> str:
    """Ask first."""
    return _remove_page({})


@bp.post("/app/remove")
@signed_in
def remove_app() -> Response:
    """Give the app up."""
    try:
        require_recent_sign_in()
    except InvalidInput as refused:
        return make_response(_remove_page(refused.errors), refused.status)
    enrolment.remove_app(current_user.id, but=current_user.session.key)
    flash("The authenticator app is removed. You are signed out everywhere else.", "success")
    return make_response(redirect(url_for("security.show"), 303))


@bp.post("/codes")
@signed_in
def renew_codes() -> Response:
    """Make recovery codes anew and show them, in this answer and never again."""
    try:
        require_recent_sign_in()
        codes = enrolment.renew_codes(current_user.id)
    except InvalidInput as refused:
        return make_response(page(refused.errors), refused.status)
    except Conflict as refused:
        return make_response(page({"form": [refused.message]}), refused.status)
    return _codes_page(codes, "New recovery codes. Those from before no longer work.")


def _who_page(errors: dict[str, list[str]]) -> str:
    return render_template("security/prove.html", onward=_onward(), errors=errors)


def _onward() -> str:
    return local_path(request.values.get("next", ""), request.script_root) or ""


def _app_page(errors: dict[str, list[str]]) -> ResponseReturnValue:
    try:
        pending = enrolment.pending_app(current_user.id)
    except NotFound as refused:
        return _begin_again(refused)
    return render_template("security/app.html", pending=pending, errors=errors)


def _begin_again(refused: NotFound) -> ResponseReturnValue:
    flash(refused.message, "info")
    return redirect(url_for("security.show"), 303)


def _codes_page(codes: list[str], message: str) -> Response:
    return private(make_response(render_template("security/codes.html", codes=codes, message=message), 201))


def _remove_page(errors: dict[str, list[str]]) -> str:
    since = ways.of_account(current_user.id).app_since
    if since is None:
        raise NotFound("There is no authenticator app.")
    return render_template("security/remove_app.html", since=since, errors=errors)


def page(errors: dict[str, list[str]]) -> str:
    """The page with one's factors."""
    demand = policy.demand_on(current_user.session)
    due_at: datetime | None = demand.due_at if demand else None
    return render_template(
        "security/show.html",
        ways=ways.of_account(current_user.id),
        passkeys=passkeys.of_account(current_user.id),
        no_passkeys=passkeys.why_not(),
        errors=errors,
        demand=demand,
        due_at=due_at,
    )
