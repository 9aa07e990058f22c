"""Structured logs on standard error: JSON lines in production, readable lines in development; no secret in either."""

import base64
import binascii
import html
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

SHORTEST_SECRET = 6
_CUT = 8  # by chance, 8 characters of base64 or hex stand in a text once in millions
SURE_PIECE = 2 * _CUT - 1
_MOST_PLACES = 16  # of one cut: more than there are forms, but for a token that repeats itself
_REDACTED = "[redacted]"
_CHARSETS = ("utf-8", "latin-1", "cp1252", "utf-16-le", "utf-16-be")
_TOKEN_IN_URL = re.compile(r"(token=)[^&\s\"']+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Redactor:
    """Takes known secrets, in every encoding that a log line could carry, out of a text.

    ``tokens`` are as long as whoever issues them likes, and are cut where a line is: any piece of one is taken out that
    is long enough to be told from chance.
    """

    def __init__(self, secrets: Iterable[str], tokens: Iterable[str] = ()) -> None:
        self._known = _pattern(tuple(secrets))
        self._pieces = [_pieces(token) for token in tokens]

    def __call__(self, text: str) -> str:
        text = _TOKEN_IN_URL.sub(r"\1…", text)
        for pieces in self._pieces:
            text = pieces.sub(text)
        return self._known.sub(_REDACTED, text) if self._known else text


@lru_cache(maxsize=64)  # for each new connection the same one is asked for
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in encodings(secret)}
    # By first characters, the longest first: of a hundred forms, a place in a text is compared with a few.
    by_first: dict[str, list[str]] = {}
    for form in sorted(forms, key=len, reverse=True):
        by_first.setdefault(form[0], []).append(re.escape(form[1:]))
    groups = [f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in by_first.items()]
    return re.compile("|".join(groups)) if groups else None


class _Pieces:
    """Finds what is in a text of any form of one token. A pattern of all forms takes half a second to compile for 2 kB,
    so the forms are cut up: a piece of ``SURE_PIECE`` characters holds at least one whole cut.
    """

    def __init__(self, token: str) -> None:
        # Of ASCII, as tokens are, other charsets make the same forms, but for UTF-16.
        forms = encodings(token, ("utf-8",)) | {token.encode("utf-16-le", "replace").decode("utf-8", "replace")}
        self._cuts: dict[str, list[tuple[str, int]]] = {}  # and the places at which they stand
        for form in forms:
            for at in range(0, len(form) - _CUT + 1, _CUT):
                places = self._cuts.setdefault(form[at : at + _CUT], [])
                if len(places) < _MOST_PLACES:
                    places.append((form, at))

    def sub(self, text: str) -> str:
        parts: list[str] = []
        done = at = 0
        while at <= len(text) - _CUT:
            found = self._cuts.get(text[at : at + _CUT])
            if found is None:
                at += 1
                continue
            grown = [_grown(text, at, done, form, place) for form, place in found]
            start, end = min(start for start, _ in grown), max(end for _, end in grown)
            parts += [text[done:start], _REDACTED]
            done = at = end
        return "".join([*parts, text[done:]])


def _grown(text: str, at: int, least: int, form: str, place: int) -> tuple[int, int]:
    """From where to where the text goes on as the form does, around the cut at these places."""
    start, end, ahead = at, at + _CUT, place + _CUT
    while start > least and place > 0 and text[start - 1] == form[place - 1]:
        start, place = start - 1, place - 1
    while end < len(text) and ahead < len(form) and text[end] == form[ahead]:
        end, ahead = end + 1, ahead + 1
    return start, end


@lru_cache(maxsize=16)  # as many tokens live at a time in one process, or few more; one of 2 kB takes half a megabyte
def _pieces(token: str) -> _Pieces:
    return _Pieces(token)


def encodings(secret: str, charsets: Iterable[str] = _CHARSETS) -> set[str]:
    """The secret raw, in base64 at each of its three alignments, in hex, quoted and escaped as URLs, HTML, JSON do.

    Not only of its UTF-8: servers repeat passwords in Latin-1 and in UTF-16, and what they say is read as UTF-8.
    """
    found = {secret, html.escape(secret)}
    literals = (repr(secret), ascii(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False))
    found |= {literal[1:-1] for literal in literals}
    for charset in charsets:
        # What a charset cannot hold is said in none of it; question marks would hide those of others.
        with suppress(UnicodeEncodeError):
            found |= _forms_of(secret.encode(charset, "strict" if charset != "utf-8" else "replace"))
    return {form for form in found if len(form) >= SHORTEST_SECRET}


def _forms_of(raw: bytes) -> set[str]:
    """Of one of a secret's encodings; as text also with spaces for what one line cannot hold."""
    texts = {raw.decode(charset, "replace") for charset in ("utf-8", "latin-1", "cp1252")}
    found = {form for text in texts for form in (text, _CONTROLS.sub(" ", text), _CONTROLS.sub(" ", text).strip())}
    found |= {raw.hex(), raw.hex().upper(), binascii.b2a_qp(raw).decode(), repr(raw)[2:-1]}
    found |= {quote(raw), quote(raw, safe=""), quote_plus(raw)}
    for shift in range(3):
        # The first and last characters depend on neighbouring bytes; those between do not.
        start, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(shift) + raw).decode()[start:end])
    return found


def printable(text: str, limit: int = 200) -> str:
    """One line of at most ``limit`` characters; control and direction characters are spaces, lone surrogates ``?``."""
    if text.isprintable():  # as nearly every text is; then there is neither of these in it
        return text.strip()[:limit]
    return _CONTROLS.sub(" ", text).strip()[:limit].encode("utf-8", "replace").decode()


@contextmanager
def logged(log: Callable[..., object], event: str, *errors: type[Exception], **facts: object) -> Iterator[None]:
    """Go on after these errors: ``log`` is told of one by its class, as its words can repeat anything."""
    try:
        yield
    except errors as failure:
        log(event, kind=type(failure).__name__, **facts)


def configure_logging(secrets: Iterable[str], *, as_json: bool) -> None:
    """Send structlog's events and the standard library's records through one redacting formatter."""
    redact = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    finish: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        finish.append(structlog.processors.format_exc_info)  # a traceback without its locals
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[*finish, _one_line_fields, render, _redacted(redact)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.set_name("sealpost")
    root = logging.getLogger()
    root.handlers = [held for held in root.handlers if held.get_name() != "sealpost"] + [handler]
    root.setLevel(logging.INFO)
    for chatty in ("mail.log", "alembic", "werkzeug"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def join_logging(secrets: Iterable[str]) -> None:
    """The same in another application's process: as one line each to the loggers that it has, whose handlers and levels
    stay as they are. Where it has configured structlog itself, nothing is changed at all.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _one_line_fields,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
            _redacted(Redactor(secrets)),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _one_line_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Values from outside (server replies, names) cannot start a line of their own."""
    return {
        key: printable(value, 2000) if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }


def _redacted(redact: Redactor) -> Any:  # noqa: ANN401 - the last processor returns the finished line
    def finish(_logger: WrappedLogger, _method: str, line: str) -> str:
        return redact(line)

    return finish
