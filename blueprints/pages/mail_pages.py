"""``/settings/mails``: email templates, as they look with sample values, and one sent to whoever looks."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints.access import admin_page, limiter
from blueprints.limits import SAMPLE_MAIL
from blueprints.pages.mail_frames import shut_off
from services.delivery.outcome import ACCEPTED, Outcome
from services.gallery import showing
from services.gallery.showing import TemplateFrom, Theme
from services.message import brand
from utils.env_utils import get_settings
from utils.errors import Conflict, NotFound

bp = Blueprint("mail_templates", __name__, url_prefix="/settings/mails")

ORIGINS: Final = {
    TemplateFrom.BUILT_IN: "Built-in",
    TemplateFrom.CHANGED: "Changed here",
    TemplateFrom.OWN: "Your own",
}
NO_HTML: Final = "This email has no HTML part."


@bp.get("")
@admin_page
def show() -> str:
    """All of them."""
    return render_template(
        "gallery/list.html", templates=showing.every(), origins=ORIGINS, folder=get_settings().mail_templates
    )


@bp.get("/<name>")
@admin_page
def one(name: str) -> str:
    """One of them: its subject, its HTML at two widths, its text. Raises NotFound."""
    return render_template("gallery/template.html", shown=showing.get(name), theme=_theme(), origins=ORIGINS)


@bp.get("/<name>/html")
@admin_page
def html_part(name: str) -> Response:
    """Its HTML, for a sandboxed frame. Raises NotFound."""
    look = brand.current()
    found = showing.get(name, look)
    if found.mail is None or not found.mail.html:
        raise NotFound(NO_HTML)
    return shut_off(showing.as_page(found.mail, look, _theme()), image=look.logo_url)


@bp.post("/<name>/send")
@admin_page
@limiter.shared_limit(*SAMPLE_MAIL)
def send(name: str) -> Response:
    """Send it to whoever asks, with its sample values, and say what came of it. Raises NotFound."""
    address = str(current_user.email)
    try:
        told, level = _words(showing.send(name, address), address)
    except Conflict as broken:
        told, level = broken.message, "danger"
    flash(told, level)
    return make_response(redirect(url_for("mail_templates.one", name=name, theme=_theme()), 303))


def _theme() -> Theme:
    return Theme.DARK if request.args.get("theme") == Theme.DARK else Theme.LIGHT


def _words(outcome: Outcome, address: str) -> tuple[str, str]:
    """What came of it, and how that is shown."""
    through = f" through {outcome.server.name}" if outcome.server else ""
    if outcome.kind == ACCEPTED and outcome.is_complete:
        return f"Sent to {address}{through}.", "success"
    if outcome.is_complete:  # by MAIL_SUPPRESS_SEND
        return f"It was not sent. {_sentence(outcome.message)}", "info"
    return f"It was not sent to {address}{through}. {_sentence(outcome.message)}", "danger"


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."
