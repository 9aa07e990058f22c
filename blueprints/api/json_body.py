"""Reading a JSON body strictly: one object, no key twice, no surprise in type or depth."""

import json
from typing import Any, NoReturn

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from utils.errors import MalformedInput

NOT_JSON = "The body is not valid JSON."


def json_object() -> dict[str, object]:
    """The request's JSON object.

    Raises MalformedInput (400), or UnsupportedMediaType (415) for any content type but application/json.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    return parsed(request.get_data(cache=False))


def parsed(text: bytes | str) -> dict[str, object]:
    """The one JSON object that this is. Raises MalformedInput."""
    try:
        body = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise MalformedInput(NOT_JSON) from None
    if not isinstance(body, dict):
        raise MalformedInput("The body must be a JSON object.")
    return body


def json_object_or_none() -> dict[str, object] | None:
    """The request's JSON object, or None if it has no body at all."""
    if not request.content_length and "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return None
    return json_object()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedInput("The body gives a key twice.")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise MalformedInput(NOT_JSON)
