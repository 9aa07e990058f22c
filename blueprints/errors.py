"""One map from our errors to a page or a JSON body. Nothing of the input is echoed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from flask import Flask, Response, jsonify, make_response, redirect, render_template, request, url_for
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge, TooManyRequests

from blueprints import kept, large_body, sessions
from blueprints.access import limiter
from blueprints.addresses import WrongAddress
from blueprints.confirming import RecentSignInRequired
from services.checks import start
from services.outbox.reasons import Reason
from utils import incidents
from utils.env_utils import get_settings
from utils.errors import AppError, InvalidInput, TooMany

log = structlog.get_logger(__name__)

_TRY_AGAIN = (429, 500, 503)  # may be over soon: the page has the form in it, to be sent again
# What accounts set up and send by, which has a shape of its own in the specification.
_PERSONAL_PATHS: Final = "/api/smtp/"
_PERSONAL: Final = ("/api/messages/send-email",)


@dataclass(frozen=True)
class Explanation:
    title: str
    text: str


EXPLANATIONS = {
    400: Explanation("Bad request", "Reload the page and try again."),
    401: Explanation("Sign in first", "You must be signed in to see this page."),
    403: Explanation("Administrators only", "Only administrators can open this page."),
    404: Explanation("Page not found", "Check the address for typos."),
    405: Explanation("Method not allowed", "This address does not accept that method."),
    409: Explanation("Changed by someone else", "Someone else saved a change. Reload the page."),
    413: Explanation("Too large", "The request is larger than 64 KiB."),
    415: Explanation("Wrong content type", "Send JSON as application/json, without a content encoding."),
    422: Explanation("Check the fields", "Some values are not valid."),
    429: Explanation("Too many attempts", "Wait a little, then try again."),
    500: Explanation(Reason.OUR_FAULT.text, "It has been logged. Try again in a minute."),
    503: Explanation("The database is unavailable", "Nothing was changed. Try again later."),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(AppError, _app_error)
    app.register_error_handler(WrongAddress, _wrong_address)
    app.register_error_handler(RecentSignInRequired, _asked_who)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(Exception, _bug)


def json_error(status: int, message: str, errors: dict[str, list[str]] | None = None) -> Response:
    """The error body of the administration API, or that of the personal one, as the path asks for it."""
    body: dict[str, object] = {"status": "error", "message": message}
    if is_personal_api():
        body = {"success": False, "error": f"{message} {_first_of(errors)}" if errors else message}
    if errors is not None:
        body["errors"] = errors
    response = jsonify(body)
    response.status_code = status
    return response


def is_personal_api() -> bool:
    """Whether the answer has the shape ``{"success": …}``, whatever its status."""
    return request.path.startswith(_PERSONAL_PATHS) or request.path in _PERSONAL


def _first_of(errors: Mapping[str, list[str]]) -> str:
    """Whoever reads ``error`` alone, as the specification has it, is told the first refused field in it."""
    field, sentences = next(iter(errors.items()))
    return f"{field}: {sentences[0]}"


def wants_json() -> bool:
    """Under /api/ always; elsewhere when a script of our own pages asks for it."""
    return request.path.startswith("/api/") or "application/x-ndjson" in request.headers.get("Accept", "")


def _app_error(error: AppError) -> Response:
    errors = error.errors if isinstance(error, InvalidInput) else None
    retry_after = error.retry_after if isinstance(error, TooMany) else None
    return _answer(error.status, error.message, errors, retry_after)


def _wrong_address(error: WrongAddress) -> Response:
    if wants_json():
        return json_error(error.status, error.message)
    title, url = "Wrong address", get_settings().base_url
    page = render_template(
        "errors/error.html",
        code=error.status,
        title=title,
        text=f"{error.message} What you typed was not accepted: cookies and links work only at the first of the two.",
        action_url=f"{url}/",
        action_label=f"Go to {url}",
    )
    return make_response(page, error.status)


def _asked_who(error: RecentSignInRequired) -> Response:
    """Whoever follows a link to what asks for a recent proof is led there by the page that asks."""
    if wants_json() or request.method != "GET":
        return _app_error(error)
    wanted = request.full_path.removesuffix("?")
    return make_response(redirect(url_for("security.ask_who", next=request.script_root + wanted), 303))


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if isinstance(error, RequestEntityTooLarge) and (refused := large_body.too_large_for_view()):
        return _app_error(refused)
    if error.response is not None or status < 400:  # noqa: PLR2004 - a redirect is no error
        return make_response(error.get_response())
    known = EXPLANATIONS.get(status, EXPLANATIONS[400])
    message = f"{known.title}. {known.text}" if status != 404 else "Not found"  # noqa: PLR2004
    retry_after = _seconds_until_allowed() if isinstance(error, TooManyRequests) else None
    response = _answer(status, message, retry_after=retry_after)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(error.valid_methods)
    return response


def _database_error(error: DBAPIError) -> Response:
    log.error("database_error", kind=type(error.orig).__name__, meaning=start.words_for(error))
    text = start.upgrade_needed(error) or EXPLANATIONS[503].text
    return _answer(503, f"{EXPLANATIONS[503].title}. {text}")


def _bug(error: Exception) -> Response:
    incidents.report("unexpected_error", error, endpoint=request.endpoint)
    return _answer(500, EXPLANATIONS[500].title + ". " + EXPLANATIONS[500].text)


def _answer(
    status: int, message: str, errors: dict[str, list[str]] | None = None, retry_after: int | None = None
) -> Response:
    response = json_error(status, message, errors) if wants_json() else _page(status, message, retry_after)
    if status == 401 and wants_json():  # noqa: PLR2004
        response.headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _page(status: int, message: str, retry_after: int | None) -> Response:
    if status >= 500:  # noqa: PLR2004
        sessions.assume_signed_out()
    known = EXPLANATIONS.get(status, EXPLANATIONS[400])
    text = message.removeprefix(f"{known.title}. ") if status in (400, 409, 413, 429, 503) else known.text
    again = kept.unsent() if status in _TRY_AGAIN else None
    page = render_template(
        "errors/error.html", code=status, title=known.title, text=text, retry_after=retry_after, again=again
    )
    return make_response(page, status)


def _seconds_until_allowed() -> int:
    """How long until the limit that was just hit lets the next request through, in seconds."""
    limit = limiter.current_limit
    return max(1, int(limit.reset_at - time.time())) if limit else 60
