"""``/account/smtp/connect``: one's own mail server is connected by token, by the same steps as a global one."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import forms, limits, smtp_tests
from blueprints.access import actor_name, signed_in
from blueprints.pages import connect_forms
from blueprints.pages.connect_forms import ConnectPlace
from services.connecting import guide, moving, suggesting
from services.personal import own_server
from services.providers import discovery
from services.settings.sealing import StoredConfig
from utils.env_utils import get_settings
from utils.errors import AppError, Conflict, Forbidden, InvalidInput

bp = Blueprint("own_connect", __name__, url_prefix="/account/smtp/connect")

NONE_YET: Final = "You have no mail server yet. Enter your address first."
THEN: Final = "It is not used after that. The server of {} sends for you, from its own address."


@bp.get("")
@signed_in
@limits.discovery
def show() -> Response:
    """The steps, the state and the checks; for whoever has no server yet, from an address to its provider."""
    stored = own_server.find(current_user.id)
    if stored is None:
        return _start(request.args.get("email", str(current_user.email)))
    return connect_forms.page(_place(stored))


@bp.post("/add")
@signed_in
@smtp_tests.own_saves_limited
def add() -> Response:
    """Store the mailbox's server as one's own, without a password; it is used once it is connected."""
    email = forms.text("email")
    try:
        suggestion = suggesting.suggested(_discovered(email).provider, email)
        if suggestion is None:
            return _start(email)
        place = moving.place_for(suggestion.provider, is_personal=suggestion.is_personal)
        moving.create_own(current_user.id, email, place, actor=actor_name())
    except InvalidInput as refused:
        return _start(email, [text for texts in refused.errors.values() for text in texts], refused.status)
    except (Conflict, Forbidden) as refused:
        return _start(email, [refused.message], refused.status)
    return _to_page()


@bp.post("")
@signed_in
@smtp_tests.own_saves_limited
def save() -> Response:
    """Write down what is registered at the provider."""
    place = _allowed()
    return connect_forms.save(place) if isinstance(place, ConnectPlace) else place


@bp.post("/start")
@signed_in
@smtp_tests.own_limited
def start() -> Response:
    """Go to the provider, or have the application sign in by itself."""
    place = _allowed()
    return connect_forms.start(place) if isinstance(place, ConnectPlace) else place


@bp.post("/code")
@signed_in
@smtp_tests.own_limited
def code() -> Response:
    """Get a code to type at the provider."""
    place = _allowed()
    return connect_forms.code(place) if isinstance(place, ConnectPlace) else place


@bp.post("/code/state")
@signed_in
def code_state() -> Response:
    """Look whether the code was typed."""
    place = _allowed()
    return connect_forms.code_state(place) if isinstance(place, ConnectPlace) else place


@bp.post("/paste")
@signed_in
@smtp_tests.own_limited
def paste() -> Response:
    """End a sign-in with a pasted address."""
    place = _allowed()
    return connect_forms.paste(place) if isinstance(place, ConnectPlace) else place


@bp.post("/check")
@signed_in
@smtp_tests.own_limited
def check() -> Response:
    """Test the sign-in by token; once it passes, it serves."""
    place = _allowed()
    return connect_forms.check(place) if isinstance(place, ConnectPlace) else place


@bp.get("/end")
@signed_in
def ask_end() -> Response:
    """Say what follows, and ask."""
    stored = own_server.find(current_user.id)
    if stored is None:
        return _to_page()
    return connect_forms.ask_end(_place(stored), THEN.format(get_settings().app_name), "warning")


@bp.post("/end")
@signed_in
def end() -> Response:
    """Disconnect. Whoever may not use the server any more may do that."""
    stored = own_server.find(current_user.id)
    return connect_forms.end(_place(stored)) if stored else _to_page()


def _allowed() -> ConnectPlace | Response:
    """One's own server, if it may be connected; otherwise the way back, which says why not."""
    stored = own_server.find(current_user.id)
    if stored is None:
        flash(NONE_YET, "danger")
        return _to_page()
    try:
        own_server.check_connecting(current_user.id, stored)
    except InvalidInput as refused:
        flash(" ".join(text for texts in refused.errors.values() for text in texts), "danger")
    except AppError as refused:
        flash(refused.message, "danger")
    else:
        return _place(stored)
    return make_response(redirect(url_for("own_server.show"), 303))


def _place(stored: StoredConfig) -> ConnectPlace:
    url = url_for("own_server.show")
    return ConnectPlace(stored=stored, blueprint=bp.name, back_url=url, back_label="Your mail server", is_own=True)


def _to_page() -> Response:
    return make_response(redirect(url_for("own_connect.show"), 303))


def _discovered(email: str) -> discovery.Discovery:
    """What is known of an address; only administrators may have servers asked for it. Raises InvalidInput."""
    return discovery.discover(email, may_probe=current_user.is_admin)


def _start(email: str, refused: list[str] | None = None, status: int = 200) -> Response:
    found = suggestion = None
    errors = {"email": refused} if refused else {}
    if email and not errors and not limits.led_here_by_another_site():
        try:
            found = _discovered(email)
            suggestion = suggesting.suggested(found.provider, email)
        except InvalidInput as fault:
            errors, status = {"email": fault.errors["email"]}, fault.status
    page = render_template(
        "settings/connect_start.html",
        found=found,
        suggestion=suggestion,
        values={"email": email},
        errors=errors,
        urls={"find": url_for("own_connect.show"), "add": url_for("own_connect.add")}
        | {"by_password": url_for("own_server.show", find=email)},
        connect_label=guide.CONNECT_LABELS[suggestion.provider] if suggestion else "",
        with_token_method=False,
        back_url=url_for("own_server.show"),
        back_label="Your mail server",
    )
    return make_response(page, status)
