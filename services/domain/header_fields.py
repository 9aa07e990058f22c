"""Reading header fields that somebody pasted: whatever they hold, it costs little and never raises."""

import re
from collections.abc import Iterator
from typing import Final

from utils.log_utils import printable

LONGEST_TEXT: Final = 64 * 1024  # characters
MOST_FIELDS: Final = 500
_LONGEST_VALUE: Final = 8192
_LONGEST_ADDRESS: Final = 320  # RFC 3696 3
_NAME: Final = re.compile(r"([!-9;-~]{1,76}):(.*)", re.DOTALL)  # RFC 5322 2.2
_PAIR: Final = re.compile(r'(?<![\w.-])([\w.-]++)\s*+=\s*+("[^"]*"|[^\s;]+)')
_DOMAIN: Final = re.compile(r"@?([a-z0-9_-]+(?:\.[a-z0-9_-]+)+)\.?>?$", re.IGNORECASE)
_REGISTRY_LABELS: Final = frozenset("ac co com edu gob gov gv mil ne net nic or org".split())
_COUNTRY: Final = 2  # letters


def fields(text: str) -> list[tuple[str, str]]:
    """The fields up to the first empty line, unfolded: name in lower case, value in one line.

    Lines that lost their indentation on the way through a web page belong to the field before them.
    """
    found: list[tuple[str, list[str]]] = []
    for line in text[:LONGEST_TEXT].strip("\r\n\t \ufeff").splitlines():
        if not line.strip():
            break
        named = None if line[0] in " \t" else _NAME.match(line)
        if named:
            if len(found) == MOST_FIELDS:
                break
            found.append((named[1].lower(), [named[2]]))
        elif found:
            found[-1][1].append(line)
    return [(name, printable(" ".join(map(str.strip, lines)), _LONGEST_VALUE)) for name, lines in found]


def split_comments(value: str) -> tuple[str, list[str]]:
    """The value without its comments (RFC 5322 3.2.2), which may be nested, and the comments."""
    plain: list[str] = []
    comments: list[str] = []
    depth, is_quoted, is_escaped, start = 0, False, False, 0
    for place, character in enumerate(value):
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character == '"' and not depth:
            is_quoted = not is_quoted
        elif character == "(" and not is_quoted:
            depth += 1
            if depth == 1:
                start = place + 1
                continue
        elif character == ")" and depth and not is_quoted:
            depth -= 1
            if not depth:
                comments.append(value[start:place])
                plain.append(" ")
                continue
        if not depth:
            plain.append(character)
    if depth:  # never closed
        comments.append(value[start:])
    return "".join(plain), comments


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Each ``name=value`` of a text without comments, names in lower case, values without their quotes."""
    return ((found[1].lower(), found[2].strip('"')) for found in _PAIR.finditer(text))


def domain_of(address: str) -> str:
    """The domain of ``a@b``, ``Name <a@b>``, ``@b`` or ``b``, in lower case; "" if there is none.

    Of several addresses the last one's. Comments must be out already.
    """
    found = _DOMAIN.search(address.strip()[-_LONGEST_ADDRESS:])
    return found[1].lower() if found else ""


def are_aligned(one: str, other: str) -> bool:
    """Whether two domains belong to one organisation (relaxed alignment, RFC 7489 3.1), told without a list of all
    registries: both end in the same two labels, or three where two are a registry's, like co.uk.
    """
    return bool(one) and bool(other) and _organisation(one) == _organisation(other)


def _organisation(domain: str) -> str:
    labels = domain.lower().rstrip(".").split(".")
    is_registry = len(labels) > _COUNTRY and len(labels[-1]) == _COUNTRY and labels[-2] in _REGISTRY_LABELS
    return ".".join(labels[-3 if is_registry else -2 :])
