"""What a provider of tokens may answer instead of what it should; each counts for one request."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.patience import PATIENCE

_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Dropped:
    """The connection is closed. ``after``: once the request was done as it should, so that nobody hears of it."""

    after: bool = False


@dataclass(frozen=True)
class Held:
    """The request is done once ``until`` says so, which gives False when the time is up."""

    until: Callable[[float], bool]


@dataclass(frozen=True)
class Edited:
    """The right answer with other fields: a function changes them."""

    change: Callable[[dict[str, Any]], object]


Fault = Answer | Dropped | Held | Edited


def saying(answer: Mapping[str, Any], status: int = 200, **headers: str) -> Answer:
    """JSON that was not asked for; of headers, ``Retry_After`` is Retry-After."""
    more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, json.dumps(answer).encode(), (("Content-Type", "application/json"), *more))


def error(name: str, description: str = "", status: int = 400, **more: Any) -> Answer:
    """An error of RFC 6749 5.2."""
    return saying({"error": name, "error_description": description, **more}, status)


def aadsts(number: int, name: str = "invalid_grant", words: str = "It is not possible.") -> Answer:
    """One of Microsoft's, in its form."""
    description = (
        f"AADSTS{number}: {words} Trace ID: 3d0f9e2a-0000 Correlation ID: 77aa Timestamp: 2026-11-28 10:00:00Z"
    )
    more = {"error_codes": [number], "timestamp": "2026-11-28 10:00:00Z", "trace_id": "3d0f9e2a-0000"}
    status = 401 if name == "invalid_client" else 400
    return error(name, description, status, error_uri=f"https://login.microsoftonline.com/error?code={number}", **more)


def without(*names: str) -> Edited:
    """The right answer, in which some fields are missing."""

    def change(answer: dict[str, Any]) -> None:
        for name in names:
            answer.pop(name, None)

    return Edited(change)


def with_fields(**fields: Any) -> Edited:
    """The right answer with these fields instead of its own."""
    return Edited(lambda answer: answer.update(fields))


def page(status: int = 200) -> Answer:
    """What a gateway or a captive portal says."""
    return Answer(status, b"<!doctype html><title>Sign in to the network</title>", (("Content-Type", "text/html"),))


def megabyte() -> Answer:
    """JSON as it should be, with a megabyte in it."""
    return saying({"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "more": "x" * _MEGABYTE})


def redirect(url: str, status: int = 307) -> Answer:
    """One that would have the client send its secret to another place."""
    return Answer(status, b"", (("Location", url),))


def held(until: Callable[[float], bool]) -> Held:
    """Until an event: ``held(event.wait)``."""
    return Held(until)


def wait_for(fault: Held) -> None:
    """Let the time pass that it asks for."""
    assert fault.until(PATIENCE), "nobody let the answer go"
