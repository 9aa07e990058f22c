"""The page ``/settings/smtp/domain``: whether the records of a From domain permit the server that sends."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template, request

from blueprints import limits
from blueprints.access import actor_name, admin_page, limiter
from services.domain import check
from services.domain.records import Grade
from services.overview import checklist
from utils.errors import InvalidInput

bp = Blueprint("domain_pages", __name__)

WORDS: Final = {Grade.GOOD: "Good", Grade.CHANGE: "Needs a change", Grade.OPEN: "Cannot be checked from here"}
LEVELS: Final = {Grade.GOOD: "ok", Grade.CHANGE: "error", Grade.OPEN: "warning"}


@bp.get("/settings/smtp/domain")
@admin_page
@limiter.shared_limit(*limits.DOMAIN_CHECK, exempt_when=lambda: "domain" not in request.args)
def show() -> Response:
    """The form, filled with what sends now, and the findings once a domain is given."""
    asked = "domain" in request.args
    domain, server = check.sending_now()
    values = {
        "domain": request.args.get("domain", domain),
        "server": request.args.get("server", "" if asked else server),
    }
    try:
        report, errors = check.check(**values) if asked else None, {}
    except InvalidInput as refused:
        report, errors = None, refused.errors
    if report and report.domain == domain and report.outcome is not Grade.CHANGE:
        checklist.note_domain_checked(actor_name())
    page = render_template(
        "settings/domain_check.html", values=values, errors=errors, report=report, words=WORDS, levels=LEVELS
    )
    return make_response(page, InvalidInput.status if errors else 200)
