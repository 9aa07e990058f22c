"""``/settings/privacy``: what is stored about an address, as a file; and a pseudonym in its place."""

import json
from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, url_for

from blueprints import forms
from blueprints.access import admin_page, require_recent_sign_in
from blueprints.privacy_words import held_in_words, left_in_words, told_in_words
from services.privacy import export as person_export
from services.privacy import forgetting
from utils import clock
from utils.errors import Conflict, InvalidInput

bp = Blueprint("privacy", __name__, url_prefix="/settings/privacy")

_CONFIRMED: Final = "confirmed"  # a hidden field


@bp.get("")
@admin_page
def show() -> Response:
    """The form for an address."""
    return _page("", {})


@bp.post("/export")
@admin_page
def export() -> Response:
    """All that is stored about an address, as a file."""
    address = forms.text("address").strip()
    try:
        require_recent_sign_in()
        found = person_export.export(address)
    except (InvalidInput, Conflict) as refused:
        return _refused(address, refused)
    response = make_response(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    response.mimetype = "application/json"
    response.headers["Content-Disposition"] = f'attachment; filename="person-{clock.now():%Y-%m-%d}.json"'
    return response


@bp.post("/forget")
@admin_page
def forget() -> Response:
    """Say how much is stored, and ask; once that is confirmed, put a pseudonym in the place of the address."""
    address = forms.text("address").strip()
    try:
        require_recent_sign_in()
        if not forms.ticked(_CONFIRMED):
            lines = held_in_words(person_export.held(address))
            return make_response(render_template("privacy/confirm.html", address=address, lines=lines, errors={}))
        told = forgetting.forget(address)
    except (InvalidInput, Conflict) as refused:
        return _refused(address, refused)
    flash(told_in_words(told), "success")
    for line in left_in_words(told):
        flash(line, "info")
    return make_response(redirect(url_for("privacy.show"), 303))


def _refused(address: str, refused: InvalidInput | Conflict) -> Response:
    errors = refused.errors if isinstance(refused, InvalidInput) else {"form": [refused.message]}
    return _page(address, errors, refused.status)


def _page(address: str, errors: dict[str, list[str]], status: int = 200) -> Response:
    return make_response(render_template("privacy/form.html", address=address, errors=errors), status)
