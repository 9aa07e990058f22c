"""``/account/smtp``: one's own mail server, and who sends for one now; the administrator's form with less to choose."""

from typing import Any, Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import connect_labels, ends, forms, limits, smtp_tests
from blueprints.access import actor_name, require_recent_sign_in, signed_in
from blueprints.pages import server_forms, smtp_form_values, versions
from blueprints.pages.versions import Versions
from services.checks import connection_test
from services.checks.connection_test import TestPlan
from services.personal import own_server, senders, standing, templates, usage
from services.providers.discovery import Discovery
from services.settings import personal_policy, route, usable_senders
from services.settings.fields import parse_address_field
from services.settings.personal_route import OWN_NAME
from services.settings.sealing import StoredConfig
from utils.errors import AppError, Conflict, Forbidden, InvalidInput
from utils.numbers import whole_number

bp = Blueprint("own_server", __name__, url_prefix="/account/smtp")

FIXED: Final = {"smtp_server": "host", "smtp_port": "port", "security": "security"}  # by a template, under its names
COMPARED: Final = (
    "smtp_server", "smtp_port", "security", "smtp_username", "smtp_password", "from_email", "from_name", "reply_to",
)  # fmt: skip
SENDS: Final = "Your mail now goes through this server."
# A server of one's own could say of any address that it signs in with it, so that counts for nothing here.
NOT_YOURS: Final = "A test email can only go to your own address, or to one that you have confirmed below."
NOT_USED: Final = "It is not in use."  # of which the page says why
GONE: Final = "Your server and its stored password were deleted in the meantime. What you typed is still here."


@bp.get("")
@signed_in
@limits.discovery
def show() -> Response:
    """Who sends, and the form with what is stored, or with what was found out."""
    stored = _own()
    values = smtp_form_values.stored(stored) if stored else smtp_form_values.own_fresh()
    if stored is None and not _wants_another():
        values |= {"smtp_username": _templated_address()}
    try:
        found = server_forms.found(may_probe=current_user.is_admin)
    except InvalidInput as refused:
        return _page(stored, values, errors={"find": refused.errors["email"]}, status=refused.status)
    if found:
        values = smtp_form_values.filled(values, found.values)
        values["from_email"] = values["from_email"] if values["from_email"] in _senders(stored) else ""
    return _page(stored, values, found=found)


@bp.post("")
@signed_in
@smtp_tests.own_saves_limited
def save() -> Response:
    """Save what was typed; it is used from the next mail on."""
    try:
        change = smtp_form_values.own_change()
        own = _own()
        if own and (change.touches_secrets or change.leads_elsewhere(own.row.smtp_server)):
            require_recent_sign_in()
        own_server.save(current_user.id, change, actor=actor_name(), proof=forms.text("proof"))
    except (InvalidInput, Forbidden) as refused:
        return _refused(refused)
    except Conflict as stale:
        return _conflicting(stale)
    is_used = not own_server.serving(current_user.id).is_global
    flash(f"Saved. {SENDS if is_used else NOT_USED}", "success")
    return _back()


@bp.post("/test")
@signed_in
@smtp_tests.own_limited
def test() -> Response:
    """Test what was typed."""
    stored = _own()
    return server_forms.tested(
        stored.row.id if stored else None,
        _plan,
        find=_own,
        refuse=lambda refused, told: _refused(refused if stored else server_forms.asking_again(refused), told),
        show=lambda noted, told: _page(noted, server_forms.values_on_screen(noted), test=told),
        is_discreet=not current_user.is_admin,
    )


test.__test__ = False  # type: ignore[attr-defined]


@bp.get("/delete")
@signed_in
def ask_delete() -> Response:
    """Say what sends then, and ask."""
    stored = _own()
    if stored is None:
        return _back()
    return make_response(render_template("account/smtp_delete.html", config=stored, standing=_standing()))


@bp.post("/delete")
@signed_in
def delete() -> Response:
    """Forget one's own server for good; the global one sends from the next mail on."""
    try:
        was_there = own_server.delete(current_user.id, version=whole_number(forms.text("version")))
    except Conflict:
        flash("Your server was saved in the meantime, in another tab or by a program. Check it first.", "danger")
        return _back()
    if was_there:
        flash("Deleted your server and its password.", "success")
    return _back()


def _plan() -> TestPlan:
    try:
        tried = own_server.preview(current_user.id, smtp_form_values.own_change())
    except Forbidden as refused:
        raise InvalidInput({"form": [refused.message]}) from None
    server = route.step_of(tried.stored) if tried.stored else None
    if not smtp_form_values.wants_message():
        return connection_test.plan(tried.settings, rcpt=tried.address, server=server)
    to = parse_address_field("to", forms.text("to") or tried.address)
    if not current_user.is_admin and not usable_senders.may_use(current_user.id, to, login=""):
        raise InvalidInput({"to": [NOT_YOURS]})
    smtp_tests.check_delivery("deliver_suppressed", server_forms.TICK, is_confirmed=forms.ticked("deliver_suppressed"))
    return connection_test.plan(tried.settings, to=to, config_name=OWN_NAME, server=server)


def _own() -> StoredConfig | None:
    return own_server.find(current_user.id)


def _standing() -> standing.AccountStanding:
    return standing.describe(current_user.id)


def _wants_another() -> bool:
    """Whether it was asked for a form without the template of one's own address."""
    return request.args.get("other") == "1"


def _templated_address() -> str:
    """One's own address, if an administrator has fixed the server for its domain."""
    return str(current_user.email) if templates.for_addresses(current_user.email) else ""


def _senders(stored: StoredConfig | None) -> list[str]:
    """The addresses to choose From among, each once: one's own, what is stored, what is confirmed."""
    known = [str(current_user.email)]
    if stored:
        known += [stored.settings.username, stored.settings.from_email]
    known += [sender.email for sender in senders.every(current_user.id) if sender.is_confirmed]
    by_key = {usable_senders.key_of(address): address for address in reversed(known)}
    return [address for key, address in reversed(by_key.items()) if key]


def _refused(refused: AppError, test: dict[str, Any] | None = None) -> Response:
    """The form again with what was typed, and the reason at its fields."""
    stored, errors = _own(), server_forms.errors_of(refused)
    return _page(stored, smtp_form_values.typed(), errors=errors, test=test, status=refused.status)


def _conflicting(stale: Conflict) -> Response:
    """The form with what was typed, and beside it what was saved meanwhile; or what was removed, to be saved anew."""
    stored = _own()
    if stored is None:
        values = smtp_form_values.typed() | {"version": ""}
        return _page(None, values, errors={"form": [GONE]}, status=stale.status)
    both = versions.side_by_side(stored, COMPARED)
    values = smtp_form_values.typed() | {"version": str(stored.row.version)}
    errors = {"form": [stale.message.removesuffix(server_forms.LOAD_AGAIN)]}
    return _page(stored, values, errors=errors, both=both, status=stale.status)


def _back() -> Response:
    return make_response(redirect(url_for("own_server.show"), 303))


def _page(
    stored: StoredConfig | None,
    values: dict[str, Any],
    *,
    found: Discovery | None = None,
    errors: dict[str, list[str]] | None = None,
    test: dict[str, Any] | None = None,
    both: Versions | None = None,
    status: int = 200,
) -> Response:
    template = templates.for_addresses(values["smtp_username"])
    if template:
        values = values | {name: str(getattr(template, its)) for name, its in FIXED.items()}
    now = _standing()
    page = render_template(
        "account/smtp.html",
        **server_forms.context(stored, values, found=found, errors=errors, test=test),
        is_own=True,
        config=stored,
        standing=now,
        ends=ends.of_own(now.health),
        own_connect_label=connect_labels.of_own(stored),
        connect_change=connect_labels.WHAT_CHANGES,
        oauth_only=not personal_policy.current().allows_sign_in(by_token=False),
        template=template,
        has_template=bool(_templated_address()),
        sender_choices=[(address, address) for address in _senders(stored)],
        senders=senders.every(current_user.id),
        usage=usage.of_account(current_user.id),
        password_note=server_forms.typed_again("smtp_password", server_forms.ENTER_AGAIN),
        both=both,
    )
    return make_response(page, status)
