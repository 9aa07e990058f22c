"""``/confirm-address``: where the link leads that was mailed to an account's new address."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, url_for

from blueprints import access
from blueprints.link_cookies import LinkCookie, private
from services.accounts import address_change
from utils.errors import InvalidInput

bp = Blueprint("address", __name__)

_link: Final = LinkCookie("address", "address.show", "auth/confirm_address.html", address_change.find_valid)


@bp.get("/confirm-address")
@access.public
def show() -> Response:
    """Swap the token in the link for a cookie, then ask. Uses nothing up, since scanners of mail follow links."""
    return _link.shown()


@bp.post("/confirm-address")
@access.public
@access.limiter.limit("30 per 15 minutes")
def confirm() -> Response:
    """Let the account have the address. Whoever reads mail there need not be signed in here."""
    try:
        confirmed = address_change.confirm(_link.token() or "")
    except InvalidInput as refused:
        return _link.page(refused.errors)
    if not confirmed:
        return _link.page()
    flash("Address confirmed. Email for this account now goes there.", "success")
    return private(_link.forget(make_response(redirect(url_for("pages.home"), 303))))
