"""The way back to a list: what it was filtered by goes along with every address behind it, as ``back``."""

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from flask import Flask, Response, has_request_context, make_response, redirect, request, url_for

from blueprints import mail_filters

BACK: Final = "back"
_LONGEST: Final = 500
# Each list: the parameters that it is asked with, and the blueprints of the pages behind it.
_FILTERS: Final = {
    "emails.show": (*mail_filters.LABELS, "from", "rows", "before"),
    "settings.smtp": ("q", "state", "security", "error", "after"),
    "people.show": ("after",),
    "oversight.show": ("q", "show", "after"),
}
_LISTS: Final = {
    "emails": "emails.show",
    "settings": "settings.smtp",
    "smtp_form": "settings.smtp",
    "connect": "settings.smtp",
    "people": "people.show",
    "oversight": "oversight.show",
}


def init_app(app: Flask) -> None:
    app.url_defaults(_take_along)
    app.add_template_global(list_url)
    app.add_template_global(lambda name: bool(_back(name)), "is_filtered_list")


def list_url(endpoint: str) -> str:
    """The address of a list as it was when this request's page was opened from it."""
    return url_for(endpoint, **dict(_known(endpoint, _back(endpoint))))  # type: ignore[arg-type]


def to_list(endpoint: str) -> Response:
    """The answer that leads there."""
    return make_response(redirect(list_url(endpoint), 303))


def _take_along(endpoint: str, values: dict[str, Any]) -> None:
    """Flask asks for each address that is built: one behind a list gets the filters of it."""
    found = _list_of(endpoint)
    if found and found != endpoint and has_request_context() and (back := _back(found)):
        values.setdefault(BACK, back)


def _back(endpoint: str) -> str:
    """The filters of this list as a query: those of the request that shows it, or what another took along."""
    if request.endpoint == endpoint:
        return _query(endpoint, request.args.items())
    if _list_of(request.endpoint or "") != endpoint:
        return ""
    return _query(endpoint, _known(endpoint, request.args.get(BACK, "")))


def _known(endpoint: str, query: str) -> list[tuple[str, str]]:
    return parse_qsl(query[:_LONGEST])[: len(_FILTERS[endpoint])]


def _query(endpoint: str, pairs: Any) -> str:  # noqa: ANN401 - of names and values
    query = urlencode([(name, value) for name, value in pairs if name in _FILTERS[endpoint] and value])
    return query if len(query) <= _LONGEST else ""


def _list_of(endpoint: str) -> str | None:
    return _LISTS.get(endpoint.partition(".")[0])
