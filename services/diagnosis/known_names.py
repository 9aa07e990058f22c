"""Names that may be said because they are ours: block lists, and what reads along on encrypted connections. Whoever is
at the other end chooses one of them at most, and never the words.
"""

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

BLOCK_LISTS: Final = Path(__file__).parent / "data" / "block_lists.json"
INTERCEPTORS: Final = Path(__file__).parent / "data" / "interceptors.json"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A name, and the ``pattern`` of the words that show it, whatever the case."""

    name: str
    pattern: str

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.IGNORECASE)

    def is_in(self, text: str) -> bool:
        return self._compiled.search(text) is not None


@dataclass(frozen=True, kw_only=True)
class BlockList(Known):
    """A list of machines that are not to send; ``url`` is where its entries are looked up and removed."""

    url: str


@dataclass(frozen=True, kw_only=True)
class Interceptor(Known):
    """A product that shows certificates of its own in a server's place; ``kind`` says what it is, as "a firewall"."""

    kind: str


@cache
def block_lists() -> tuple[BlockList, ...]:
    return tuple(BlockList(**entry) for entry in _entries(BLOCK_LISTS, "lists"))


@cache
def interceptors() -> tuple[Interceptor, ...]:
    return tuple(Interceptor(**entry) for entry in _entries(INTERCEPTORS, "interceptors"))


def block_list_in(text: str) -> BlockList | None:
    """The list that a refusal names, if it is known."""
    return next((known for known in block_lists() if known.is_in(text)), None)


def interceptor_in(issuer: str) -> Interceptor | None:
    """The product that the names of a certificate's issuer show, if it is known."""
    return next((known for known in interceptors() if known.is_in(issuer)), None)


def _entries(path: Path, key: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))[key]
    return entries
