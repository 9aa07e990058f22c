"""``/settings/alerts``: where alerts go, by which rules, what fires now, and what was told."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for

from blueprints import forms
from blueprints.access import admin_page, limiter
from blueprints.limits import ALERT_TEST
from services.alerts import channels, rules, showing
from services.alerts.channels import ChannelInfo
from services.alerts.kinds import KINDS, ChannelKind
from services.alerts.rules import RuleInForce
from services.settings import configs
from services.settings.sealing import StoredConfig
from utils.errors import Conflict, InvalidInput, NotFound, refused_under
from utils.numbers import whole_number

bp = Blueprint("alerts", __name__, url_prefix="/settings/alerts")

FIELDS: Final = ("name", "secret", "token", "chat", "config_id", "recipients")
_FORM_NAMES: Final = {"url": "url_secret"}  # by which forms know that it is kept nowhere
NO_SUCH_KIND: Final = "No such kind of channel."


@bp.get("")
@admin_page
def show() -> str:
    """How alerts stand."""
    return _list()


@bp.get("/new")
@admin_page
def new() -> str:
    """The kinds of channels, to choose one."""
    return render_template("alerts/kinds.html", kinds=KINDS)


@bp.get("/new/<kind>")
@admin_page
def new_of_kind(kind: str) -> str:
    """The form for a channel of one kind. Raises NotFound."""
    return _form(_known(kind), None, {}, {})


@bp.post("/new/<kind>")
@admin_page
def add(kind: str) -> Response:
    """Add one; a signing secret that was made for it is shown in this answer and never again. Raises NotFound."""
    typed = _typed()
    try:
        with refused_under(_FORM_NAMES):
            added, made = channels.save({**typed, "kind": _known(kind)})
    except InvalidInput as refused:
        return make_response(_form(_known(kind), None, typed, refused.errors), refused.status)
    if made:
        return make_response(render_template("alerts/made.html", channel=added, secret=made.reveal()), 201)
    flash(f"Added “{added.name}”. Test it now.", "success")
    return _to_list()


@bp.get("/<int:channel_id>")
@admin_page
def edit(channel_id: int) -> str:
    """One of them, to be changed."""
    found = channels.get(channel_id)
    return _form(found.kind, found, _stored(found), {})


@bp.post("/<int:channel_id>")
@admin_page
def save(channel_id: int) -> Response:
    """Save it; nothing typed is lost on a refusal, but for what is secret."""
    typed = _typed()
    try:
        with refused_under(_FORM_NAMES):
            saved, made = channels.save(typed, channel_id=channel_id, version=whole_number(forms.text("version")))
    except (InvalidInput, Conflict) as refused:
        found = channels.get(channel_id)
        errors = refused.errors if isinstance(refused, InvalidInput) else {"form": [refused.message]}
        return make_response(_form(found.kind, found, typed, errors), refused.status)
    if made:
        return make_response(render_template("alerts/made.html", channel=saved, secret=made.reveal()), 201)
    flash(f"Saved “{saved.name}”. Test it now.", "success")
    return _to_list()


@bp.post("/<int:channel_id>/test")
@admin_page
@limiter.shared_limit(*ALERT_TEST)
def test(channel_id: int) -> Response:
    """Send a test through it, and say what is wrong and how to fix it."""
    channel, trouble = showing.test(channel_id)
    if trouble is None:
        flash(f"“{channel.name}” works: the test was accepted.", "success")
    else:
        flash(f"“{channel.name}” does not work. {trouble.sentence}", "danger")
    return _to_list()


@bp.post("/<int:channel_id>/switch")
@admin_page
def switch(channel_id: int) -> Response:
    """Turn it on or off."""
    switched = channels.switch(channel_id, is_on=forms.ticked("is_on"))
    flash(f"“{switched.name}” is {'on' if switched.is_on else 'off'}.", "success")
    return _to_list()


@bp.get("/<int:channel_id>/delete")
@admin_page
def ask_delete(channel_id: int) -> str:
    """Ask first."""
    return render_template("alerts/confirm.html", channel=channels.get(channel_id))


@bp.post("/<int:channel_id>/delete")
@admin_page
def delete(channel_id: int) -> Response:
    """Forget it."""
    gone = channels.delete(channel_id)
    flash(f"Deleted “{gone.name}”.", "success")
    return _to_list()


@bp.post("/rules")
@admin_page
def save_rules() -> Response:
    """Save all rules; nothing typed is lost on a refusal."""
    known = rules.every()
    typed = {rule.name.value: _typed_rule(rule) for rule in known}
    try:
        rules.save(typed, mark=forms.text("mark") or None)
    except (InvalidInput, Conflict) as refused:
        errors = refused.errors if isinstance(refused, InvalidInput) else {"form": [refused.message]}
        return make_response(_list(errors, typed), refused.status)
    flash("Saved the rules.", "success")
    return _to_list()


def _known(kind: str) -> ChannelKind:
    if kind not in list(ChannelKind):
        raise NotFound(NO_SUCH_KIND)
    return ChannelKind(kind)


def _typed() -> dict[str, str]:
    """What was sent, each under its own name."""
    typed = {name: forms.text(name) for name in FIELDS if name in request.form}
    return typed | {name: forms.text(sent) for name, sent in _FORM_NAMES.items()}


def _typed_rule(rule: RuleInForce) -> dict[str, object]:
    typed: dict[str, object] = {"is_on": forms.ticked(f"{rule.name}_on"), "amount": forms.text(f"{rule.name}_amount")}
    return typed | ({"least": forms.text(f"{rule.name}_least")} if rule.facts.least else {})


def _stored(channel: ChannelInfo) -> dict[str, str]:
    values = {"name": channel.name, "config_id": str(channel.config_id or "")}
    return values | channels.shown_fields(channel.id)


def _to_list() -> Response:
    return make_response(redirect(url_for("alerts.show"), 303))


def _form(kind: ChannelKind, channel: ChannelInfo | None, values: dict[str, str], errors: dict[str, list[str]]) -> str:
    is_mail = kind is ChannelKind.MAIL
    servers = [(str(each.row.id), _server_name(each)) for each in configs.search()] if is_mail else []
    return render_template(
        "alerts/form.html",
        kind=kind,
        facts=KINDS[kind],
        channel=channel,
        values=values,
        errors=errors,
        servers=[("", "Choose a server"), *servers],
        is_typed=request.method == "POST",
    )


def _server_name(stored: StoredConfig) -> str:
    return f"{stored.row.name} (active)" if stored.row.is_active else str(stored.row.name)


def _list(errors: dict[str, list[str]] | None = None, typed: dict[str, dict[str, object]] | None = None) -> str:
    known = rules.every()
    return render_template(
        "alerts/list.html",
        now=showing.now(),
        channels=channels.every(),
        rules=known,
        mark=rules.mark_of(known),
        typed_rules=typed or {},
        errors=errors or {},
    )
