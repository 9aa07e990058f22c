"""``/account/senders``: the addresses that an account sends from; and where the links lead that confirm them."""

from typing import Final

from flask import Blueprint, Response, flash, make_response, redirect, render_template, url_for
from flask_login import current_user

from blueprints import access, forms
from blueprints.link_cookies import LinkCookie, private
from services.personal import senders
from utils.errors import Conflict, InvalidInput

bp = Blueprint("senders", __name__)
link_bp = Blueprint("sender_link", __name__)

_link: Final = LinkCookie("sender", "sender_link.ask", "auth/confirm_sender.html", senders.find_valid)
BESIDE_SERVER: Final = "beside_server"  # a hidden field


@bp.get("/account/senders")
@access.signed_in
def show() -> Response:
    """One's senders, and the form for another."""
    return _page("", {})


@bp.post("/account/senders")
@access.signed_in
def add() -> Response:
    """Have a link mailed to an address that one wants to send from."""
    email = forms.text("sender_email").strip()
    try:
        sender = senders.add(current_user.id, email)
    except InvalidInput as refused:
        return _page(email, {"sender_email": refused.errors["email"]})
    except Conflict as refused:
        return _page(email, {"sender_email": [refused.message]})
    if sender.is_confirmed:
        flash(f"{sender.email} is already confirmed.", "info")
    else:
        flash(f"A link is on its way to {sender.email}. Follow it to confirm.", "info")
    return _back()


@bp.post("/account/senders/<int:sender_id>/again")
@access.signed_in
def send_again(sender_id: int) -> Response:
    """Mail another link; the one before is void."""
    try:
        sender = senders.send_again(current_user.id, sender_id)
    except Conflict as refused:
        flash(refused.message, "info")
    else:
        flash(f"Another link is on its way to {sender.email}. Earlier links no longer work.", "info")
    return _back()


@bp.post("/account/senders/<int:sender_id>/remove")
@access.signed_in
def remove(sender_id: int) -> Response:
    """Forget a sender, unless one's own server sends from it."""
    try:
        sender = senders.remove(current_user.id, sender_id)
    except Conflict as refused:
        flash(refused.message, "error")
    else:
        flash(f"Removed {sender.email}.", "success")
    return _back()


@link_bp.get("/confirm-sender")
@access.public
def ask() -> Response:
    """Swap the token in the link for a cookie, then ask. Uses nothing up, since scanners of mail follow links."""
    return _link.shown()


@link_bp.post("/confirm-sender")
@access.public
@access.limiter.limit("30 per 15 minutes")
def confirm() -> Response:
    """Let the account send from the address. Whoever reads mail there need not be signed in here."""
    asked = senders.confirm(_link.token() or "")
    if asked is None:
        return _link.page()
    flash(f"{asked.username} may now send from {asked.email}.", "success")
    return private(_link.forget(make_response(redirect(url_for("pages.home"), 303))))


def _back() -> Response:
    """To the page on which the form stood: this one, or the one of one's server, which has it as well."""
    is_there = forms.ticked(BESIDE_SERVER)
    place = url_for("own_server.show", _anchor="senders") if is_there else url_for("senders.show")
    return make_response(redirect(place, 303))


def _page(email: str, errors: dict[str, list[str]]) -> Response:
    page = render_template(
        "account/senders.html",
        senders=senders.every(current_user.id),
        values={"sender_email": email},
        errors=errors,
    )
    return make_response(page, 422 if errors else 200)
