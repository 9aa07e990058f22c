"""Reading a JSON body strictly: one object, no key twice, no surprise in type or depth."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from blueprints import large_body
from blueprints.large_body import NOT_JSON
from utils.errors import MalformedInput


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


@contextmanager
def large_json_object(holder: str) -> Iterator[dict[str, object]]:
    """The same of a body that may be large: it is read now, and held until the block is over."""
    with large_body.text_of(holder) as text:
        found = parsed(text)
        del text
        yield found


def json_object_or_none() -> dict[str, object] | None:
    """The request's JSON object, or None if it has no body at all."""
    if not request.content_length and "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return None
    return json_object()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedInput("The body contains a key twice.")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise MalformedInput(NOT_JSON)
