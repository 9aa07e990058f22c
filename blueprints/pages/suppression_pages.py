"""``/emails/suppressed``: the addresses that get no mail; adding and removing them, as a file in and out."""

import io
from collections.abc import Iterator
from itertools import chain
from typing import Final

from flask import (
    Blueprint,
    Response,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)

from blueprints import forms
from blueprints.access import admin_page, require_recent_sign_in
from blueprints.csv_lines import csv_line
from services import audit
from services.audit import Action
from services.outbox import log
from services.suppression import entries, exchange
from services.suppression.entries import Entry
from services.suppression.exchange import Imported
from services.suppression.listing import Cause
from utils import clock
from utils.addresses import LONGEST_ADDRESS
from utils.errors import Conflict, InvalidInput, NotFound
from utils.numbers import whole_number

bp = Blueprint("suppression", __name__, url_prefix="/emails/suppressed")

_Errors = dict[str, list[str]]
_FRESH: Final = {"address": "", "reason": Cause.MANUAL.value, "days": "", "note": ""}
_BY_HAND: Final = (Cause.MANUAL, Cause.COMPLAINT)


@bp.get("")
@admin_page
def show() -> Response:
    """The newest entries first, a page at a time; of one address or a domain, if that is asked for."""
    return _page(_FRESH, {})


@bp.post("")
@admin_page
def add() -> Response:
    """Put an address on the list."""
    typed = {name: forms.text(name).strip() for name in _FRESH}
    try:
        cause = typed["reason"] if typed["reason"] in _BY_HAND else Cause.MANUAL
        entry = entries.add(typed["address"], Cause(cause), days=_days(typed["days"]), note=typed["note"])
    except InvalidInput as refused:
        return _page(typed, refused.errors)
    except Conflict as refused:
        return _page(typed, {"form": [refused.message]}, refused.status)
    flash(f"{entry.masked} gets only security email from now on.", "success")
    return _to_list()


@bp.get("/<int:entry_id>")
@admin_page
def entry(entry_id: int) -> str:
    """One entry, with the whole address."""
    found = entries.get(entry_id)
    has_mail = bool(found.mail_id) and log.is_there(found.mail_id)  # one that was sent directly has no page
    return render_template("suppression/entry.html", entry=found, has_mail=has_mail)


@bp.post("/<int:entry_id>/remove")
@admin_page
def remove(entry_id: int) -> Response:
    """Take it off the list."""
    try:
        gone = entries.remove(entry_id)
    except NotFound as refused:
        flash(refused.message, "danger")
    else:
        flash(f"Removed {gone.masked}. Email is sent there again.", "success")
    return _to_list()


@bp.post("/remove")
@admin_page
def remove_some() -> Response:
    """Take those that were ticked off the list, or all of a domain."""
    domain = forms.text("domain").strip()
    if domain:
        removed = entries.remove_domain(domain)
    else:
        numbers = [whole_number(text, 1) for text in request.form.getlist("entry")]
        removed = entries.remove_all_of([number for number in numbers if number is not None])
    if removed:
        flash(f"{entries.in_words(removed)} removed. Email is sent there again.", "success")
    else:
        flash("Nothing was selected.", "info")
    return _to_list()


@bp.post("/import")
@admin_page
def import_table() -> Response:
    """Add the addresses of a CSV file."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return _page(_FRESH, {"file": ["Choose a CSV file."]})
    try:
        told = exchange.read(io.TextIOWrapper(file.stream, encoding="utf-8", errors="replace"))
    except InvalidInput as refused:
        return _page(_FRESH, refused.errors)
    if told.refused:
        return _page(_FRESH, {}, told=told)
    flash(told.sentence, "success")
    return _to_list()


@bp.get("/export.csv")
@admin_page
def export() -> Response:
    """The list as a file for a spreadsheet, or for another installation."""
    require_recent_sign_in()
    audit.note(Action.VIEWED, exchange.SUBJECT)
    name = f"suppressed-{clock.now():%Y-%m-%d}.csv"
    return Response(
        stream_with_context(_lines()),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _lines() -> Iterator[str]:
    for cells in chain([exchange.COLUMNS], exchange.rows()):
        yield csv_line(cells)


def _days(text: str) -> int | None:
    if not text:
        return None
    found = whole_number(text, 1, entries.MOST_DAYS)
    if found is None:
        raise InvalidInput({"days": [f"Enter 1 to {entries.MOST_DAYS}, or nothing."]})
    return found


def _page(values: dict[str, str], errors: _Errors, status: int = 422, *, told: Imported | None = None) -> Response:
    asked = request.args.get("q", "").strip()[:LONGEST_ADDRESS]
    before = request.args.get("before", type=whole_number)
    found: list[Entry] = []
    older, problem = None, ""
    try:
        found, older = entries.page(asked, before)
    except Conflict as away:
        problem = away.message
    page = render_template(
        "suppression/list.html",
        entries=found,
        older=older,
        before=before,
        asked=asked,
        is_domain=bool(asked) and not asked.rpartition("@")[0],
        count=entries.count(),
        values=values,
        errors=errors,
        told=told,
        problem=problem,
    )
    return make_response(page, status if errors else 200)


def _to_list() -> Response:
    return make_response(redirect(url_for("suppression.show"), 303))
