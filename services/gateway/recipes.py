"""What to enter in an application so that it sends through the gateway, in the application's own words and syntax."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.gateway.quoting import SYNTAXES
from services.smtp.settings import Security
from utils.errors import NotFound
from utils.secret import Secret

DATA: Final = Path(__file__).parent / "data" / "applications.json"
FIELDS: Final = "fields"
_NAME: Final = re.compile(r"{{(\w+)}}")
_RAW: Final = ("port",)  # a number in every syntax


@dataclass(frozen=True, kw_only=True)
class PartFact:
    """One file, form or command of an application. ``{{name}}`` in a line stands for a value, quoted as the syntax
    asks for, or for one of the application's words.
    """

    title: str
    text: str
    syntax: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Application:
    """A program that sends email, and what it calls things.

    ``words`` are its own for each way of encryption; where one is None the line is left out. ``tls_port`` is the only
    port at which it can use TLS from the start. ``is_http`` marks the way without SMTP.
    """

    id: str
    name: str
    docs_url: str
    words: Mapping[str, Mapping[str, str | None]]
    parts: tuple[PartFact, ...]
    text: str
    tls_port: int | None = None
    is_http: bool = False


@dataclass(frozen=True, kw_only=True)
class SendingValues:
    """What an application has to know. ``token`` is its password, ``sender`` a From address that it may use."""

    host: str
    port: int
    security: Security
    username: str
    token: Secret
    sender: str
    send_url: str


@dataclass(frozen=True)
class RecipePart:
    """What to do in one place: lines to copy, or fields with what to enter in each. It holds the token."""

    title: str
    text: str
    lines: str = field(repr=False)
    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@cache
def applications() -> Mapping[str, Application]:
    """All that are known, by id, in the order in which they are offered."""
    entries: list[dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))
    return {entry["id"]: Application(**entry | {"parts": _parts(entry["parts"])}) for entry in entries}


def application(application_id: str) -> Application:
    """One of them. Raises NotFound."""
    found = applications().get(application_id)
    if found is None:
        raise NotFound("No such application.")
    return found


def recipe(of: Application, values: SendingValues) -> list[RecipePart]:
    """What to enter in this application, with the token in it."""
    return [_filled(part, of, values) for part in of.parts]


def _parts(entries: list[dict[str, Any]]) -> tuple[PartFact, ...]:
    return tuple(PartFact(**entry | {"lines": tuple(entry["lines"])}) for entry in entries)


def _filled(part: PartFact, of: Application, values: SendingValues) -> RecipePart:
    words = {name: by_security[values.security.value] for name, by_security in of.words.items()}
    quoted = {name: SYNTAXES[part.syntax](text) for name, text in _texts(values).items() if name not in _RAW}
    known = {**quoted, "port": str(values.port), **words}
    # Each line is filled in one go: what a value holds is never looked through for names.
    lines = [
        _NAME.sub(lambda found: str(known[found[1]]), line)
        for line in part.lines
        if not any(known[name] is None for name in _NAME.findall(line))
    ]
    if part.syntax != FIELDS:
        return RecipePart(part.title, part.text, "\n".join(lines))
    pairs = [(label, value) for label, _, value in (line.partition(": ") for line in lines)]
    return RecipePart(part.title, part.text, "\n".join(lines), tuple(pairs))


def _texts(values: SendingValues) -> dict[str, str]:
    local, _, domain = values.sender.rpartition("@")
    token = values.token.reveal()
    return {
        "host": values.host,
        "server": f"[{values.host}]:{values.port}" if ":" in values.host else f"{values.host}:{values.port}",
        "username": values.username,
        "token": token,
        "sender": values.sender,
        "sender_local": local,
        "sender_domain": domain,
        "send_url": values.send_url,
        "bearer": f"Authorization: Bearer {token}",
    }
