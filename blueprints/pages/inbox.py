"""The local inbox in the browser, for development."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from blueprints import live
from blueprints.access import admin_page
from blueprints.clients import client_address, is_through_proxy
from blueprints.live import ShownRows, Watched
from blueprints.pages.mail_frames import shut_off
from blueprints.sessions import still_signed_in
from services import local_inbox
from services.local_inbox import CAPACITY, inbox
from utils import clock
from utils.addresses import is_loopback
from utils.env_utils import get_settings
from utils.errors import NotFound

bp = Blueprint("inbox", __name__)


P = ParamSpec("P")


def inbox_reader(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Administrators; and on a developer's own machine anybody, since who reads a reset mail is signed out."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if not get_settings().has_local_inbox:
            raise NotFound("There is no local inbox.")
        return view(*args, **kwargs) if _is_own_machine() else for_administrators(*args, **kwargs)

    for_administrators = admin_page(view)
    guarded.guard = "inbox_reader"  # type: ignore[attr-defined]
    return guarded


@bp.get("/inbox")
@inbox_reader
def show() -> str:
    """The kept mails, newest first."""
    shown = _shown()
    return render_template(
        "inbox/list.html",
        messages=shown.data,
        live_url=url_for("inbox.live_rows", seen=shown.mark),
        now=clock.now(),
        capacity=CAPACITY,
        address=local_inbox.address(),
        elsewhere=local_inbox.why_not_here(),
    )


@bp.get("/inbox/live")
@live.in_background
@inbox_reader
def live_rows() -> Response:
    """The same list, as it changes."""

    return live.streamed(Watched(_shown, _drawn, dict, _may_read))


@bp.get("/inbox/<int:message_id>")
@inbox_reader
def message(message_id: int) -> str:
    """One mail: HTML part, text part, headers."""
    found = inbox.get(message_id)
    return render_template("inbox/message.html", message=found, links=found.links)


@bp.get("/inbox/<int:message_id>/html")
@inbox_reader
def html_part(message_id: int) -> Response:
    """The HTML part as it came, shut off from everything: it is shown in a sandboxed frame."""
    found = inbox.get(message_id).html
    if found is None:
        raise NotFound("This email has no HTML part.")
    return shut_off(found)


@bp.post("/inbox/clear")
@inbox_reader
def clear() -> Response:
    """Throw all kept mails away."""
    inbox.clear()
    return make_response(redirect(url_for("inbox.show"), 303))


def _shown() -> ShownRows:
    messages = inbox.all()  # which never change
    return ShownRows(rows={str(each.id): "" for each in messages}, data=messages)


def _drawn(shown: ShownRows, ids: Sequence[str]) -> dict[str, str]:
    found = [each for each in shown.data if str(each.id) in ids]
    return {str(each.id): render_template("inbox/row.html", message=each) for each in found}


def _may_read() -> bool:
    person = still_signed_in()
    return _is_own_machine() or (person is not None and person.is_admin)


def _is_own_machine() -> bool:
    """Development, where server, ``BASE_URL``, peer and Host header are all the loopback address, and no proxy between.

    The Host header keeps other web sites out: a name of theirs that resolves to 127.0.0.1 is not loopback. A proxy on
    this machine is loopback too, and may put a Host of its own; whom it passes on may be anybody.
    """
    settings = get_settings()
    named = urlsplit(f"//{request.host}").hostname or ""
    seen = (settings.host, settings.base_host, client_address(), named)
    if settings.is_production or settings.trusted_proxies or not all(map(is_loopback, seen)):
        return False
    return not is_through_proxy()
