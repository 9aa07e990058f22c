"""``/settings/accounts/smtp/templates``: the server of a mail domain, whose users then type a password alone."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for

from blueprints import forms
from blueprints.access import admin_page
from blueprints.pages.versions import Difference
from blueprints.paging import cut
from services.personal import templates
from services.personal.templates import Template
from utils.errors import Conflict, InvalidInput, NotFound

bp = Blueprint("server_templates", __name__, url_prefix="/settings/accounts/smtp/templates")

LABELS: Final = {"domain": "Domain", "host": "Server", "port": "Port", "security": "Encryption"}
GONE: Final = "Someone else has deleted this template. What you typed is still here: add it as a new one."
_FRESH: Final = {"domain": "", "host": "", "port": "587", "security": "starttls", "mark": ""}


@bp.get("")
@admin_page
def show() -> str:
    """Every template, and the form for one more."""
    return _list(_FRESH, {})


@bp.post("")
@admin_page
def add() -> Response:
    """Add one."""
    try:
        made = templates.save(_typed())
    except InvalidInput as refused:
        return make_response(_list(_typed(), refused.errors), refused.status)
    return _saved(made)


@bp.get("/<int:template_id>")
@admin_page
def edit(template_id: int) -> str:
    """One of them, to be changed."""
    return _form(templates.get(template_id), _stored(templates.get(template_id)), {})


@bp.post("/<int:template_id>")
@admin_page
def save(template_id: int) -> Response:
    """Save it; nothing typed is lost on a refusal."""
    typed = _typed()
    try:
        saved = templates.save(typed, template_id=template_id, mark=typed["mark"] or None)
    except InvalidInput as refused:
        if not any(template.id == template_id for template in templates.every()):
            return _gone(typed)
        return make_response(_form(templates.get(template_id), typed, refused.errors), refused.status)
    except NotFound:
        return _gone(typed)
    except Conflict as stale:
        return _conflicting(templates.get(template_id), typed, stale)
    return _saved(saved)


@bp.get("/<int:template_id>/delete")
@admin_page
def ask_delete(template_id: int) -> str:
    """Ask first."""
    return render_template("personal/delete_template.html", template=templates.get(template_id))


@bp.post("/<int:template_id>/delete")
@admin_page
def delete(template_id: int) -> Response:
    """Forget it."""
    try:
        gone = templates.delete(template_id, mark=forms.text("mark") or None)
    except (Conflict, NotFound) as refused:
        return make_response(_list(_FRESH, {"form": [refused.message]}), refused.status)
    flash(f"Deleted the template for {gone.domain}.", "success")
    return _to_list()


def _typed() -> dict[str, str]:
    return {name: forms.text(name) for name in _FRESH}


def _stored(template: Template) -> dict[str, str]:
    return {name: str(getattr(template, name)) for name in _FRESH}


def _saved(template: Template) -> Response:
    flash(f"Accounts with an address at {template.domain} now only enter a password.", "success")
    return _to_list()


def _gone(typed: dict[str, str]) -> Response:
    return make_response(_list(typed | {"mark": ""}, {"form": [GONE]}), NotFound.status)


def _conflicting(stored: Template, typed: dict[str, str], stale: Conflict) -> Response:
    now = _stored(stored)
    differences = [
        Difference(name, label, now[name], typed[name].strip())
        for name, label in LABELS.items()
        if now[name] != typed[name].strip()
    ]
    page = _form(stored, typed | {"mark": stored.mark}, {"form": [stale.message]}, differences)
    return make_response(page, stale.status)


def _to_list() -> Response:
    return make_response(redirect(url_for("server_templates.show"), 303))


def _list(values: dict[str, str], errors: dict[str, list[str]]) -> str:
    is_typed = request.method == "POST" and bool(values["domain"])
    page = cut(templates.every(), lambda template: template.domain, request.args.get("after", ""))
    return render_template("personal/templates.html", templates=page, values=values, errors=errors, is_typed=is_typed)


def _form(
    template: Template,
    values: dict[str, str],
    errors: dict[str, list[str]],
    differences: list[Difference] | None = None,
) -> str:
    return render_template(
        "personal/template.html",
        template=template,
        values=values,
        errors=errors,
        differences=differences or [],
        is_typed=request.method == "POST",
    )
