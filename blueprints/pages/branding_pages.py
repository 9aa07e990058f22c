"""``/settings/branding``: the name, colour, logo and footer of all emails, with a look before they are saved."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for

from blueprints import forms
from blueprints.access import actor_name, admin_page
from blueprints.large_body import takes_a_file
from blueprints.pages.mail_frames import shut_off
from blueprints.pages.versions import NOTHING, Difference, Versions
from services.gallery import branding, showing
from services.gallery.branding import SavedBranding
from services.gallery.showing import SHOWN_FOR_BRANDING, Theme
from services.message import brand, colours, png
from services.message.brand import Brand
from utils import clock
from utils.env_utils import get_settings
from utils.errors import Conflict, InvalidInput, NotFound
from utils.numbers import whole_number

bp = Blueprint("branding", __name__, url_prefix="/settings/branding")

LABELS: Final = {
    "name": "Name",
    "colour": "Colour",
    "footer": "Footer",
    "logo_url": "URL of a logo",
    "logo": "Logo",
}
TEXTS: Final = ("name", "colour", "footer", "logo_url")
UPLOADED: Final = "an uploaded file"
_Errors = dict[str, list[str]]


@bp.get("")
@admin_page
def show() -> str:
    """The branding as it is saved."""
    saved = branding.saved()
    return _page(saved, _values(saved), {})


@bp.post("")
@admin_page
@takes_a_file("logo", png.TOO_LARGE)
def save() -> Response:
    """Save it; no text that was typed is lost on a refusal."""
    try:
        branding.save(_changes(), version=whole_number(forms.text("version")), actor=actor_name())
    except InvalidInput as refused:
        return make_response(_page(branding.saved(), _typed(), refused.errors), refused.status)
    except Conflict as stale:
        return _conflicting(stale)
    flash("Saved. It shows from the next email.", "success")
    return make_response(redirect(url_for("branding.show"), 303))


@bp.get("/preview")
@admin_page
def saved_preview() -> Response:
    """An email as it looks now, for a sandboxed frame."""
    return _framed(brand.current(), _theme(request.args.get("theme", "")))


@bp.post("/preview")
@admin_page
@takes_a_file("logo", png.TOO_LARGE)
def preview() -> Response:
    """An email as it would look with what was typed, for the same frame. Nothing is saved."""
    try:
        look = branding.preview(_changes())
    except InvalidInput as refused:
        told = [(LABELS.get(name, ""), text) for name, texts in refused.errors.items() for text in texts]
        return shut_off(render_template("gallery/refused.html", refused=told), refused.status)
    return _framed(look, _theme(forms.text("theme")))


@bp.get("/logo")
@admin_page
def logo() -> Response:
    """The logo that was uploaded. Raises NotFound."""
    octets = branding.logo()
    if not octets:
        raise NotFound("There is no uploaded logo.")
    response = make_response(octets)
    response.headers["Content-Type"] = "image/png"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _framed(look: Brand, theme: Theme) -> Response:
    mail = showing.get(SHOWN_FOR_BRANDING, look).mail
    if mail is None:  # which our own template never is
        raise NotFound(showing.NO_SUCH)
    return shut_off(showing.as_page(mail, look, theme), image=look.logo_url)


def _theme(text: str) -> Theme:
    return Theme.DARK if text == Theme.DARK else Theme.LIGHT


def _changes() -> dict[str, object]:
    """What was sent: a file that was chosen, and whether the one that is kept is to go."""
    changes: dict[str, object] = {name: forms.text(name) for name in TEXTS if name in request.form}
    files = request.files.getlist("logo")
    if files and files[0].filename:
        changes["logo"] = files[0].read(png.LARGEST + 1)
    elif forms.ticked("remove_logo"):
        changes["logo"] = None
    return changes


def _values(saved: SavedBranding) -> dict[str, str]:
    return {name: str(getattr(saved, name)) for name in TEXTS} | {"version": str(saved.version)}


def _typed() -> dict[str, str]:
    return {name: forms.text(name) for name in (*TEXTS, "version")}


def _conflicting(stale: Conflict) -> Response:
    """What was typed, and beside it what was saved meanwhile: the next save goes over it knowingly."""
    saved, typed = branding.saved(), _typed()
    stored = _values(saved)
    differences = [
        Difference(name, LABELS[name], stored[name] or NOTHING, typed[name] or NOTHING)
        for name in TEXTS
        if stored[name].split() != typed[name].split()
    ]
    if request.files.get("logo"):
        differences.append(Difference("logo", LABELS["logo"], UPLOADED if saved.has_logo else NOTHING, UPLOADED))
    both = Versions(saved.updated_by, saved.updated_at or clock.now(), differences)
    errors = {"form": [stale.message.partition(". ")[0] + "."]}
    return make_response(_page(saved, typed | {"version": str(saved.version)}, errors, both), stale.status)


def _page(saved: SavedBranding, values: dict[str, str], errors: _Errors, both: Versions | None = None) -> str:
    return render_template(
        "gallery/branding.html",
        saved=saved,
        values=values,
        errors=errors,
        both=both,
        labels=LABELS,
        usual_name=get_settings().app_name,
        usual_colour=colours.USUAL,
        largest=png.LARGEST // 1024,
        longest_side=png.LONGEST_SIDE,
        longest_footer=branding.LONGEST_FOOTER,
        is_typed=request.method == "POST",
    )
