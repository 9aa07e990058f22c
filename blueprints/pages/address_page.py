"""``/confirm-address``: where the link leads that was mailed to an account's new address."""

from datetime import datetime
from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, url_for

from blueprints import access
from blueprints.link_cookies import LinkCookie, private
from services.accounts import address_change
from utils.errors import InvalidInput

bp = Blueprint("address", __name__)


@bp.get("/confirm-address")
@access.public
def show() -> Response:
    """Swap the token in the link for a cookie, then ask. Uses nothing up, since scanners of mail follow links."""
    return _link.swapped() or _page({}, came=_link.token() is not None)


@bp.post("/confirm-address")
@access.public
@access.limiter.limit("30 per 15 minutes")
def confirm() -> Response:
    """Let the account have the address. Whoever reads mail there need not be signed in here."""
    try:
        confirmed = address_change.confirm(_link.token() or "")
    except InvalidInput as refused:
        return _page(refused.errors)
    if not confirmed:
        return _page({})
    flash("Address confirmed. Email for this account now goes there.", "success")
    return private(_link.forget(make_response(redirect(url_for("pages.home"), 303))))


def _page(errors: dict[str, list[str]], *, came: bool = True) -> Response:
    """The question; or the page that says that the link is no longer good (410), or that none ``came`` (400)."""
    pending = address_change.find_valid(_link.token() or "")
    page = render_template("auth/confirm_address.html", pending=pending, errors=errors, came=came)
    if pending is None:
        return private(_link.forget(make_response(page, 410 if came else 400)))
    return private(make_response(page, 422 if errors else 200))


def _expires_at(token: str) -> datetime | None:
    pending = address_change.find_valid(token)
    return pending.expires_at if pending else None


_link: Final = LinkCookie("address", "address.show", _expires_at)
