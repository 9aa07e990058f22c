"""The form of one server, on a page of its own: ``/settings/smtp/new`` and ``/settings/smtp/<id>``."""

from typing import Any

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import connect_labels, ends, forms, kept, limits, smtp_tests, undoing
from blueprints.access import actor_name, admin_page, require_recent_sign_in
from blueprints.pages import server_forms, smtp_form_values, versions
from blueprints.pages.versions import Versions
from blueprints.way_back import to_list
from services.checks import connection_test
from services.checks.connection_test import TestPlan
from services.providers.discovery import Discovery
from services.settings import activation, config_trail, configs, route, state
from services.settings.fields import parse_address_field
from services.settings.sealing import StoredConfig
from services.smtp import client_certificate
from utils.errors import AppError, Conflict, InvalidInput, NotFound
from utils.numbers import whole_number

bp = Blueprint("smtp_form", __name__)

GONE = (
    "Someone else has deleted this server and its stored password. What you typed is still here: save it as a new one."
)


@bp.get("/settings/smtp/new")
@admin_page
@limits.discovery
def new() -> Response:
    """An empty form, or one with the values of ``?copy=``, ``?find=`` or ``?preset=``."""
    copied = _copied()
    values = smtp_form_values.copied(copied) if copied else smtp_form_values.fresh()
    return _filled_page(None, values, copied)


@bp.post("/settings/smtp/new")
@admin_page
def create() -> Response:
    """Store a new server; on a refusal nothing typed is lost but the password."""
    before, turns_on = configs.find_active(), forms.ticked("is_active")
    is_careful = turns_on and activation.takes_over()
    try:
        change = smtp_form_values.change(keep_active=is_careful)
        if configs.search():  # the first server is no change of one
            require_recent_sign_in()
        saved = configs.create(change, actor=actor_name(), proof=forms.text("proof"))
    except InvalidInput as refused:
        return _refused(None, refused)
    flash("Saved.", "success")
    return _switched_on(before, saved, is_careful=is_careful) if turns_on else to_list("settings.smtp")


@bp.get("/settings/smtp/<int:config_id>")
@admin_page
@limits.discovery
def edit(config_id: int) -> Response:
    """The form with the stored values, or with those of a provider found or chosen without JavaScript."""
    try:
        stored = configs.get(config_id)
    except NotFound:
        if kept.typed() is None:
            raise
        return _gone(smtp_form_values.fresh())
    config_trail.note_viewed(stored.row)
    return _filled_page(stored, smtp_form_values.stored(stored))


@bp.post("/settings/smtp/<int:config_id>")
@admin_page
def save(config_id: int) -> Response:
    """Save what was typed. Whoever switches the active server off is asked first, as in the list."""
    try:
        stored, before = configs.get(config_id), configs.find_active()
        asks_first = stored.row.is_active and not forms.ticked("is_active")
        turns_on = forms.ticked("is_active") and not stored.row.is_active
        is_careful = turns_on and activation.takes_over()
        change = smtp_form_values.change(keep_active=asks_first or is_careful)
        if change.touches_secrets or change.leads_elsewhere(stored.row.smtp_server):
            require_recent_sign_in()
        saved = configs.update(config_id, change, actor=actor_name(), proof=forms.text("proof"))
    except NotFound:
        return _gone(smtp_form_values.typed())
    except InvalidInput as refused:
        return _refused(configs.get(config_id), refused)
    except Conflict as stale:
        return _conflicting(configs.get(config_id), stale)
    flash("Saved.", "success")
    if asks_first:
        return make_response(redirect(url_for("settings.ask_deactivate", config_id=config_id), 303))
    return _switched_on(before, saved, is_careful=is_careful) if turns_on else to_list("settings.smtp")


def _switched_on(before: StoredConfig | None, saved: StoredConfig, *, is_careful: bool) -> Response:
    """Go on from a save that switches a server on. In the place of one that sends, only if it is known to work."""
    if is_careful:
        if activation.doubt(saved):
            return make_response(redirect(url_for("settings.ask_activate", config_id=saved.row.id), 303))
        saved = configs.activate(saved.row.id, version=saved.row.version, actor=actor_name())
    undoing.offer(before, saved)
    return to_list("settings.smtp")


@bp.post("/settings/smtp/new/test")
@admin_page
@smtp_tests.limited
def test_new() -> Response:
    """Test what was typed for a new server."""
    return _tested(None)


@bp.post("/settings/smtp/<int:config_id>/test")
@admin_page
@smtp_tests.limited
def test(config_id: int) -> Response:
    """Test what was typed, or the stored values where the list asks for it with ``saved``."""
    try:
        stored = configs.get(config_id)
    except NotFound:
        if smtp_tests.wants_stream() or forms.ticked("saved"):
            raise
        return _gone(smtp_form_values.typed())
    return _tested(stored)


test_new.__test__ = test.__test__ = False  # type: ignore[attr-defined]


def _tested(stored: StoredConfig | None) -> Response:
    """Step by step for a script, as a page without one."""

    def find() -> StoredConfig | None:
        return configs.get(stored.row.id) if stored else None

    return server_forms.tested(
        stored.row.id if stored else None,
        lambda: _plan(stored),
        find=find,
        connect_new=url_for("connect.find", email=forms.text("smtp_username") or forms.text("from_email")),
        refuse=lambda refused, told: _refused(
            stored, refused if stored else server_forms.asking_again(refused), test=told
        ),
        show=lambda noted, told: _page(noted, server_forms.values_on_screen(noted), test=told),
    )


def _plan(stored: StoredConfig | None) -> TestPlan:
    own_address = str(current_user.email)
    if stored and forms.ticked("saved"):
        if not stored.is_usable:
            raise InvalidInput(stored.errors)
        return connection_test.plan(stored.settings, rcpt=own_address, server=route.step_of(stored))
    change = smtp_form_values.change(for_test=True)
    settings = configs.preview(change, stored.row.id if stored else None)
    server = route.step_of(stored) if stored else None
    if not smtp_form_values.wants_message():
        return connection_test.plan(settings, rcpt=own_address, also=_elsewhere(), server=server)
    to = parse_address_field("to", forms.text("to") or own_address)
    smtp_tests.check_delivery("deliver_suppressed", server_forms.TICK, is_confirmed=forms.ticked("deliver_suppressed"))
    config_name = stored.row.name if stored else ""
    return connection_test.plan(settings, to=to, rcpt=own_address, config_name=config_name, server=server)


def _elsewhere() -> str:
    """The address in the field for the test email, or "" where that is none."""
    try:
        return parse_address_field("to", forms.text("to")) if forms.text("to").strip() else ""
    except InvalidInput:
        return ""


def _copied() -> StoredConfig | None:
    copied_id = request.args.get("copy", type=whole_number)
    return configs.get(copied_id) if copied_id is not None else None


def _filled_page(stored: StoredConfig | None, values: dict[str, Any], copied: StoredConfig | None = None) -> Response:
    """The form with these values and, over them, those of what was asked for in the address."""
    try:
        found = server_forms.found()
    except InvalidInput as refused:
        return _page(stored, values, copied=copied, errors={"find": refused.errors["email"]}, status=refused.status)
    if found:
        values = smtp_form_values.filled(values, found.values)
    return _page(stored, values, copied=copied, found=found)


def _refused(stored: StoredConfig | None, refused: AppError, test: dict[str, Any] | None = None) -> Response:
    """The form again with what was typed, and the reason at its fields."""
    values = server_forms.values_on_screen(stored)
    return _page(stored, values, errors=server_forms.errors_of(refused), test=test, status=refused.status)


def _conflicting(stored: StoredConfig, stale: Conflict) -> Response:
    """The form with what was typed, and beside it what was saved meanwhile: the next save goes over it knowingly."""
    both = versions.side_by_side(stored)
    values = smtp_form_values.typed() | {"version": str(stored.row.version)}
    errors = {"form": [stale.message.removesuffix(server_forms.LOAD_AGAIN)]}
    return _page(stored, values, errors=errors, both=both, status=stale.status)


def _gone(values: dict[str, Any]) -> Response:
    """The form of a server that is deleted, to be saved as a new one."""
    return _page(None, values | {"version": ""}, errors={"form": [GONE]}, is_gone=True, status=NotFound.status)


def _page(
    stored: StoredConfig | None,
    values: dict[str, Any],
    *,
    copied: StoredConfig | None = None,
    found: Discovery | None = None,
    errors: dict[str, list[str]] | None = None,
    test: dict[str, Any] | None = None,
    both: Versions | None = None,
    is_gone: bool = False,
    status: int = 200,
) -> Response:
    config = state.facts(stored) if stored else None
    page = render_template(
        "settings/form.html",
        **server_forms.context(stored, values, found=found, errors=errors, test=test),
        config=config,
        ends=ends.of_server(config) if config else None,
        connect_label=connect_labels.of_facts,
        connect_change=connect_labels.WHAT_CHANGES,
        copied=copied,
        password_note=_password_note(copied),
        client_certificate=client_certificate.facts_of(stored.row.client_certificate) if stored else None,
        has_client_key=bool(stored and stored.row.client_key),
        key_note=_key_note(copied),
        both=both,
        is_gone=is_gone,
    )
    return make_response(page, status)


def _key_note(copied: StoredConfig | None) -> str:
    if copied and copied.row.client_key:
        return "Paste the key. It was not copied."
    return server_forms.typed_again("client_key", server_forms.PASTE_AGAIN)


def _password_note(copied: StoredConfig | None) -> str:
    if copied and copied.row.smtp_password:
        return "Enter the password. It was not copied."
    return server_forms.typed_again("smtp_password", server_forms.ENTER_AGAIN)
