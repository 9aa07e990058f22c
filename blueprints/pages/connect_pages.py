"""``/settings/smtp/<id>/connect``: a global server is connected by token; and where providers send browsers back to."""

from typing import Final

from flask import Blueprint, Response, current_app, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import connecting, forms, limits, refusals, smtp_tests
from blueprints.access import actor_name, admin_page, public
from blueprints.link_cookies import private
from blueprints.pages import connect_forms
from blueprints.pages.connect_forms import ConnectPlace
from blueprints.way_back import list_url
from services.connecting import guide, moving, pending, redirect_rules, suggesting
from services.connecting.pending import Begun, CameBack
from services.personal import own_server
from services.settings import configs, state
from utils.errors import AppError, InvalidInput, NotFound

bp = Blueprint("connect", __name__, url_prefix="/settings/smtp")
callback_bp = Blueprint("oauth", __name__)

OWN: Final = "own_connect"  # the blueprint of accounts' own servers
NOT_YOURS: Final = (
    "This browser did not begin that sign-in, or it was finished before. Nothing was changed. Start again on the "
    "server’s own page, and finish within ten minutes."
)
SIGN_IN_FIRST: Final = "You were signed out, so the server was not connected. Sign in, then start again."
_CONSENT: Final = "admin_consent"
_MOST: Final = 8192  # characters of an answer


@bp.get("/connect")
@admin_page
@limits.discovery
def find() -> Response:
    """From an email address to its provider: the way in for whoever has no server yet."""
    return _start(request.args.get("email", ""))


@bp.post("/connect")
@admin_page
def add() -> Response:
    """Store the mailbox's server, without a password and inactive; its page then leads on."""
    email = forms.text("email")
    try:
        suggestion = suggesting.provider_for(email)[1]
        if suggestion is None:
            return _start(email)
        place = moving.place_for(suggestion.provider, is_personal=suggestion.is_personal)
        stored = moving.create_for(email, place, actor=actor_name())
    except InvalidInput as refused:
        errors = {"email": [text for texts in refused.errors.values() for text in texts]}
        return _start(email, errors, refused.status)
    return make_response(redirect(url_for("connect.show", config_id=stored.row.id), 303))


@bp.get("/<int:config_id>/connect")
@admin_page
def show(config_id: int) -> Response:
    """The steps, the state and the checks."""
    return connect_forms.page(_place(config_id))


@bp.post("/<int:config_id>/connect")
@admin_page
def save(config_id: int) -> Response:
    """Write down what is registered at the provider."""
    return connect_forms.save(_place(config_id))


@bp.post("/<int:config_id>/connect/start")
@admin_page
@smtp_tests.limited
def start(config_id: int) -> Response:
    """Go to the provider, or have the application sign in by itself."""
    return connect_forms.start(_place(config_id))


@bp.post("/<int:config_id>/connect/code")
@admin_page
@smtp_tests.limited
def code(config_id: int) -> Response:
    """Get a code to type at the provider."""
    return connect_forms.code(_place(config_id))


@bp.post("/<int:config_id>/connect/code/state")
@admin_page
def code_state(config_id: int) -> Response:
    """Look whether the code was typed."""
    return connect_forms.code_state(_place(config_id))


@bp.post("/<int:config_id>/connect/paste")
@admin_page
@smtp_tests.limited
def paste(config_id: int) -> Response:
    """End a sign-in with a pasted address."""
    return connect_forms.paste(_place(config_id))


@bp.post("/<int:config_id>/connect/check")
@admin_page
@smtp_tests.limited
def check(config_id: int) -> Response:
    """Test the sign-in by token; once it passes, it serves."""
    return connect_forms.check(_place(config_id))


@bp.get("/<int:config_id>/connect/end")
@admin_page
def ask_end(config_id: int) -> Response:
    """Say what follows, and ask."""
    place = _place(config_id)
    level, consequence = state.without_it(place.stored)
    return connect_forms.ask_end(place, consequence, level)


@bp.post("/<int:config_id>/connect/end")
@admin_page
def end(config_id: int) -> Response:
    """Disconnect."""
    return connect_forms.end(_place(config_id))


@callback_bp.get(redirect_rules.CALLBACK_PATH)
@public
def callback() -> Response:
    """Where a provider sends the browser back to. Only the session that began a sign-in ends it.

    The answer always leads on, so that code and state stay neither in the address bar nor in the history. Whoever is
    signed out is led to the sign-in page without them. Microsoft sends an administrator of an organisation here, too,
    who has agreed for all of it: that is no sign-in, and whoever it is may have no account.
    """
    if _CONSENT in request.args and "code" not in request.args:
        has_agreed = request.args[_CONSENT].lower() == "true" and "error" not in request.args
        return private(make_response(render_template("settings/consented.html", has_agreed=has_agreed)))
    if not current_user.is_authenticated:
        flash(SIGN_IN_FIRST, "warning")
        return private(make_response(redirect(url_for("auth.login", next=url_for("pages.home")), 303)))
    answer = _answer()
    begun, mine = pending.taken_out(answer), connecting.beginner()
    place = _place_of(begun) if begun and begun.is_of(mine) else None
    if place is None:
        refusals.tell(reason="OAuth: no sign-in of this session")
        flash(NOT_YOURS, "danger")
        return private(make_response(redirect(url_for("pages.home"), 303)))
    if place.is_own:
        try:
            own_server.check_connecting(current_user.id, place.stored)  # which may have been forbidden meanwhile
        except AppError as refused:
            errors = refused.errors if isinstance(refused, InvalidInput) else {}
            flash(" ".join(text for texts in errors.values() for text in texts) or refused.message, "danger")
            return private(make_response(redirect(place.back_url, 303)))
    return private(connect_forms.came_back(place, lambda: pending.finish(begun, answer, mine)))


def _answer() -> CameBack:
    """All values of each parameter; an answer that is longer than any provider's is none."""
    return dict(request.args.lists()) if len(request.query_string) <= _MOST else {}


def _place_of(begun: Begun) -> ConnectPlace | None:
    """The page of the server that a sign-in was for, if whoever is signed in may see it."""
    try:
        stored = configs.of_any_scope(begun.config_id)
    except NotFound:
        return None
    if stored.row.account_id is None:
        return _place(begun.config_id) if current_user.is_admin else None
    if stored.row.account_id != current_user.id or f"{OWN}.show" not in current_app.view_functions:
        return None
    url = url_for("own_server.show")
    return ConnectPlace(stored=stored, blueprint=OWN, back_url=url, back_label="Your mail server", is_own=True)


def _place(config_id: int) -> ConnectPlace:
    return ConnectPlace(
        stored=configs.get(config_id),
        blueprint="connect",
        values={"config_id": config_id},
        back_url=list_url("settings.smtp"),
        back_label="Mail servers",
    )


def _start(email: str, errors: dict[str, list[str]] | None = None, status: int = 200) -> Response:
    found = suggestion = None
    if email and not errors and not limits.led_here_by_another_site():
        try:
            found, suggestion = suggesting.provider_for(email)
        except InvalidInput as refused:
            errors, status = {"email": refused.errors["email"]}, refused.status
    page = render_template(
        "settings/connect_start.html",
        found=found,
        suggestion=suggestion,
        values={"email": email},
        errors=errors or {},
        urls={"find": url_for("connect.find"), "add": url_for("connect.add")}
        | {"by_password": url_for("smtp_form.new", find=email)},
        connect_label=guide.CONNECT_LABELS[suggestion.provider] if suggestion else "",
        with_token_method=True,
        back_url=list_url("settings.smtp"),
        back_label="Mail servers",
    )
    return make_response(page, status)
