"""Header fields that steer a provider's service, such as X-SMTPAPI: read by programs that decode no encoded-words."""

import json
import re
from collections.abc import Iterator
from typing import Final

from services.message import headers

_PREFIXES: Final = (
    *("x-smtpapi", "x-mailgun-", "x-mc-", "x-msys-api", "x-pm-", "x-ses-"),
    *("x-mailin-", "x-mailjet-", "x-mj-", "x-mt-"),  # Brevo, Mailjet twice, Mailtrap
)
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s",]+|,|\s+')
_NOT_PLAIN: Final = re.compile(r"[^ -~]|=(?=\?)")
_LONGEST_PIECE: Final = 900  # leaves room for the field name on the same line
_LARGEST_UNIT: Final = 0xFFFF


def is_one(name: str) -> bool:
    """Whether a header of this name, in lower case, is for a provider."""
    return name.startswith(_PREFIXES)


def field(name: str, value: str) -> str:
    r"""Make the field. JSON is written in ASCII, by ``\u`` escapes, and folded behind commas that are in no string,
    so that whoever unfolds it has the same JSON.

    What else there is (tags, dates, yes and no) must be ASCII as it is. Raises ValueError, which names the header.
    """
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")) and _is_json(value):
        return _json_field(name, value.strip())
    text = headers.one_line(f"headers: {name}", value)
    if not text.isascii():
        raise ValueError(f"headers: {name} is read by the provider as it is. Pass plain ASCII, or JSON.")
    return headers.machine_read(name, text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _json_field(name: str, text: str) -> str:
    pieces = list(_pieces(text))
    line = "".join(pieces)
    if len(name) + len(line) + 2 <= headers.LINE:
        return f"{name}: {line}"
    pieces = [short for piece in pieces for short in _shortened(piece)]
    if max(map(len, pieces)) > _LONGEST_PIECE:
        raise ValueError(f"headers: {name} has a word longer than {_LONGEST_PIECE} characters, which no line can hold.")
    return headers.fold(name, [piece if piece.startswith(" ") else f" {piece}" for piece in pieces])


def _pieces(text: str) -> Iterator[str]:
    """The value up to each comma between two members; white space between tokens as one space at most."""
    piece = ""
    is_behind_comma = False
    for part in _TOKEN.findall(text):
        if is_behind_comma:
            yield piece
            piece, is_behind_comma = "", False
        piece += " " if part.isspace() else _NOT_PLAIN.sub(_escaped, part)  # pretty JSON has line breaks there
        is_behind_comma = part == ","
    yield piece


def _shortened(piece: str) -> list[str]:
    """A piece that no line can hold, token by token, and if need be a string at its spaces, which it keeps."""
    if len(piece) <= _LONGEST_PIECE:
        return [piece]
    tokens = [token for token in _TOKEN.findall(piece) if not token.isspace()]
    return [short for token in tokens for short in headers.cut(token)]


def _escaped(found: re.Match[str]) -> str:
    r"""A character as JSON writes it in ASCII; of ``=?``, which some reader might decode from, the first."""
    code = ord(found[0])
    if code <= _LARGEST_UNIT:
        return rf"\u{code:04x}"
    code -= _LARGEST_UNIT + 1
    return rf"\u{0xD800 + (code >> 10):04x}\u{0xDC00 + (code & 0x3FF):04x}"
