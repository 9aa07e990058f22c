"""What was typed stays: a form that met no session is kept, and stands in its page again after the sign-in.

One that could not be taken for another reason stands in the answer, and nothing of it is stored.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import structlog
from flask import Flask, Response, current_app, flash, g, make_response, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from blueprints import sessions
from services.accounts import kept_forms
from services.accounts.kept_forms import LIFE, Typed

log = structlog.get_logger(__name__)

COOKIE: Final = "kept"
IS_KEPT: Final = (
    "You were signed out, so this is not saved yet. It is kept for 30 minutes. Sign in to the same account to continue."
)
_TYPED: Final = "kept_typed"  # in ``g``: what stands in the page again, once it was looked up
IN_PLACE: Final = "Sealpost-In-Place"  # a header of the request, and one of the answer
GOES_ON: Final = "Sealpost-Goes-On"
_NO_CONTENT: Final = 204
_SEE_OTHER: Final = 303
_START: Final = "/"
_REFUSED: Final = 400
_WELL: Final = 300
_FOR_ACCOUNTS: Final = ("signed_in", "admin_page")
_FOR_ALL: Final = (*_FOR_ACCOUNTS, "public")
_FORM_IS_BACK: Final = (404, 409, 422)  # its page holds again what was typed


def init_app(app: Flask) -> None:
    app.add_template_global(typed, "kept_form")
    app.add_template_global(_typed_value, "typed")
    app.add_template_global(_was_ticked, "ticked")
    app.after_request(_forget_what_was_sent_again)
    app.after_request(_tell_the_page_itself)


def keep() -> str:
    """Keep the form that this request brings, for the account whose session has ended; the page where it goes on.

    For strangers nothing is kept, and the page is "". Only for a request that passes the origin check: no other site
    may put anything into our pages.
    """
    page = form_page()
    try:
        account_id = sessions.ended_account()
        if account_id is None:
            return ""
        handle = kept_forms.keep(account_id, page, _sent(), sessions.cookie(COOKIE))
    except DBAPIError as error:  # it cannot be written now; the way to the sign-in is open all the same
        log.warning("form_not_kept", kind=type(error.orig).__name__)
        return page
    if handle:
        sessions.set_cookie(COOKIE, handle, LIFE)
        flash(IS_KEPT, "info")
    return page


def form_page(guards: Collection[str] = _FOR_ACCOUNTS) -> str:
    """The page that the form of this request stands on: the nearest address above it that can be looked at."""
    path = request.path
    while path != _START and not _view_of(path, guards):
        path = path.rpartition("/")[0] or _START
    return path


def unsent() -> Typed | None:
    """What this request brings that somebody typed into a form of ours; None if it is none, or comes from a script."""
    accepted = request.accept_mimetypes
    if request.method != "POST" or not request.form or (accepted and not accepted.accept_html):
        return None
    page = form_page(_FOR_ALL)
    found = kept_forms.without_secrets(page, _sent())
    return found if page != _START and (found.says_something or found.left_out) else None


def shown_again(status: int) -> Response | None:
    """The page of a form that cannot be taken as it came, filled with what was typed; None if there is no such form.

    Nothing of it is stored, so guests have this as well.
    """
    found = unsent()
    view = _view_of(found.page, _FOR_ALL) if found else None
    if found is None or view is None:
        return None
    setattr(g, _TYPED, found)
    method, request.method = request.method, "GET"  # as whoever looks at the page asks for it
    try:
        response = make_response(view())
    finally:
        request.method = method
    if _WELL <= response.status_code < _REFUSED:  # it has become another page meanwhile
        return None
    if response.status_code < _WELL:
        response.status_code = status
    return response


def typed() -> Typed | None:
    """What was kept of a form of the page that is asked for, for whom asks."""
    if _TYPED not in g:
        setattr(g, _TYPED, _found())
    found: Typed | None = g.get(_TYPED)
    return found


def forget(page: str) -> None:
    """Forget what is kept of this page for this browser."""
    if handle := sessions.cookie(COOKIE):
        kept_forms.forget(handle, page, current_user.id)


def _found() -> Typed | None:
    handle = sessions.cookie(COOKIE)
    if request.method != "GET" or not handle or not current_user.is_authenticated:
        return None
    return kept_forms.find(handle, request.path, current_user.id)


def _sent() -> dict[str, str]:
    """Each field once; one that came twice is none of our pages' fields."""
    return {name: values[0] for name, values in request.form.lists() if name and len(values) == 1}


def _view_of(path: str, guards: Collection[str]) -> Callable[[], ResponseReturnValue] | None:
    """What shows the page at this path, if it has one of these guards."""
    try:
        endpoint, values = current_app.create_url_adapter(request).match(path, method="GET")  # type: ignore[union-attr]
    except (HTTPException, RequestRedirect):
        return None
    view = current_app.view_functions.get(endpoint)
    if view is None or getattr(view, "guard", None) not in guards:
        return None
    return partial(current_app.ensure_sync(view), **values)


def _typed_value(name: str, value: object = "") -> object:
    """What was typed into the field of this name, or else its value."""
    found = typed()
    return found.fields.get(name, value) if found else value


def _was_ticked(name: str, checked: object = False) -> object:
    """A box that is not ticked is not sent: where a form was kept, its boxes are as they were sent."""
    found = typed()
    return name in found.fields if found else checked


def _forget_what_was_sent_again(response: Response) -> Response:
    """Once its page was sent again what was kept of it is of no use: it is saved, or stands in the answer."""
    if request.method != "POST" or not sessions.cookie(COOKIE):
        return response
    is_over = response.status_code < _REFUSED or response.status_code in _FORM_IS_BACK
    if is_over and current_user.is_authenticated:
        forget(form_page())
    return response


def _tell_the_page_itself(response: Response) -> Response:
    """A script that sends a form from within its page is told where that leads: ``fetch`` would follow, and not say."""
    if request.headers.get(IN_PLACE) and response.status_code == _SEE_OTHER:
        response.headers[GOES_ON] = response.headers.pop("Location")
        response.status_code = _NO_CONTENT
        response.set_data(b"")
    return response
