"""What a receiver wrote about SPF, DKIM, DMARC and ARC: Authentication-Results (RFC 8601) and Received-SPF."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.domain.header_fields import domain_of, pairs, split_comments

_FIELDS: Final = ("authentication-results", "arc-authentication-results")
_INSTANCE: Final = re.compile(r"\s*i=\d+\s*")
_VERDICT: Final = re.compile(r"\s*([a-z0-9-]+)(?:\s*/\s*\d+)?\s*=\s*([a-z]+)", re.IGNORECASE)
_SPF_VERDICT: Final = re.compile(r"\s*([a-z]+)", re.IGNORECASE)
_ID: Final = re.compile(r"[^\s;=]+")
_MOST: Final = 200  # results of one message; nobody honest has more
# Which property names the domain that a result is about, the most telling first.
_DOMAIN_KEYS: Final = {
    "spf": ("smtp.mailfrom", "smtp.helo", "envelope-from", "helo"),
    "dkim": ("header.d", "header.i"),
    "dmarc": ("header.from",),
    "arc": ("header.oldest-pass", "arc.chain"),
}


@dataclass(frozen=True)
class AuthResult:
    """One verdict: ``method`` and ``result`` in lower case, ``domain`` is whom it is about, "" if that is not said."""

    method: str
    result: str
    domain: str
    properties: dict[str, str]


@dataclass(frozen=True)
class Statement:
    """What one server wrote. ``by`` is its name, "" where it gives none (Microsoft)."""

    by: str
    results: list[AuthResult]
    is_arc: bool


def statements(fields: list[tuple[str, str]]) -> list[Statement]:
    """All of them, the last receiver's first; several fields of one server are one statement."""
    merged: dict[tuple[str, bool], list[AuthResult]] = {}
    count = 0
    for name, value in fields:
        if name not in _FIELDS or count >= _MOST:
            continue
        by, results = _read(value)
        count += len(results)
        merged.setdefault((by, name.startswith("arc")), []).extend(results)
    return [Statement(by, results, is_arc) for (by, is_arc), results in merged.items()]


def received_spf(fields: list[tuple[str, str]]) -> AuthResult | None:
    """The last receiver's Received-SPF (RFC 7208 9.1), if there is one."""
    for name, value in fields:
        if name == "received-spf":
            plain, _ = split_comments(value)
            verdict = _SPF_VERDICT.match(plain)
            return _result("spf", verdict[1], plain) if verdict else None
    return None


def _read(value: str) -> tuple[str, list[AuthResult]]:
    plain, _ = split_comments(value)
    parts = _split(plain)
    if parts and _INSTANCE.fullmatch(parts[0]):
        parts = parts[1:]
    by = ""
    if parts and not _VERDICT.match(parts[0]):
        named = _ID.search(parts[0])
        by = named[0].lower() if named else ""
        parts = parts[1:]
    return by, list(_verdicts(parts))


def _verdicts(parts: list[str]) -> Iterator[AuthResult]:
    for part in parts[:_MOST]:
        verdict = _VERDICT.match(part)
        if verdict:
            yield _result(verdict[1].lower(), verdict[2], part[verdict.end() :])


def _result(method: str, result: str, rest: str) -> AuthResult:
    properties = dict(pairs(rest))
    named = (domain_of(properties[key]) for key in _DOMAIN_KEYS.get(method, ()) if key in properties)
    return AuthResult(method, result.lower(), next(filter(None, named), ""), properties)


def _split(text: str) -> list[str]:
    """The parts between semicolons that are not quoted."""
    parts, start, is_quoted = [], 0, False
    for place, character in enumerate(text):
        if character == '"':
            is_quoted = not is_quoted
        elif character == ";" and not is_quoted:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
