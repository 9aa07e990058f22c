"""The page ``/settings/smtp/headers``: paste the headers of a received message and read what became of it."""

from typing import Final

from flask import Blueprint, Response, make_response, render_template

from blueprints import forms
from blueprints.access import admin_page
from services.domain import check, received
from services.domain.received import HeaderReport
from utils.env_utils import get_settings
from utils.errors import InvalidInput

bp = Blueprint("headers_page", __name__)

_MINUTE: Final = 60
_HOUR: Final = 3600


@bp.get("/settings/smtp/headers")
@admin_page
def show() -> Response:
    """An empty form."""
    return _page()


@bp.post("/settings/smtp/headers")
@admin_page
def read() -> Response:
    """What the pasted headers say. They are stored nowhere."""
    text = forms.text("headers")
    domain, _ = check.sending_now()
    try:
        return _page(report=received.read(text, {get_settings().base_host, domain}))
    except InvalidInput as refused:
        return _page(text=text, errors=refused.errors)


def spoken(seconds: float) -> str:
    """A time span in words, to the second."""
    whole = round(abs(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def _page(
    *, text: str = "", report: HeaderReport | None = None, errors: dict[str, list[str]] | None = None
) -> Response:
    _, server = check.sending_now()
    page = render_template(
        "settings/received_headers.html", text=text, report=report, errors=errors or {}, server=server, spoken=spoken
    )
    return make_response(page, InvalidInput.status if errors else 200)
