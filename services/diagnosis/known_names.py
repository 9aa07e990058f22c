"""Names that may be said because they are ours: block lists, and what reads along on encrypted connections. Whoever is
at the other end chooses one of them at most, and never the words.
"""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

BLOCK_LISTS: Final = Path(__file__).parent / "data" / "block_lists.json"
INTERCEPTORS: Final = Path(__file__).parent / "data" / "interceptors.json"


class Listing(StrEnum):
    """What a refusal holds against us because a list, or a score, says so. QUERY: nothing; the server may not ask."""

    QUERY = "query"
    DOMAIN = "domain"
    LINK = "link"
    ADDRESS = "address"
    REPUTATION = "reputation"


class ListKind(StrEnum):
    """What a list has in it."""

    ADDRESS = "address"
    NETWORK = "network"
    DYNAMIC = "dynamic"
    COMPROMISED = "compromised"
    DOMAIN = "domain"
    LINK = "link"
    REPUTATION = "reputation"


# Said of a list of this kind, where a reply names it.
MEANINGS: Final = {
    ListKind.ADDRESS: "It lists addresses that sent spam.",
    ListKind.NETWORK: "It lists whole networks, so the spam may have come from a neighbour of this machine.",
    ListKind.DYNAMIC: "It lists addresses of homes and clouds, which should not send mail themselves, spam or not.",
    ListKind.COMPROMISED: "Malware or strangers send through machines that it lists: this one, or one at its address.",
    ListKind.DOMAIN: "It lists domains that spam was sent for, or that are new.",
    ListKind.LINK: "It lists domains that links in spam lead to.",
    ListKind.REPUTATION: "It is a score of what recipients and filters thought of mail from this machine lately.",
}
_LISTINGS: Final = {
    ListKind.DOMAIN: Listing.DOMAIN,
    ListKind.LINK: Listing.LINK,
    ListKind.REPUTATION: Listing.REPUTATION,
}


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
    """A list of machines or domains that are not to send, or a score of them; ``kind`` is one of ListKind.

    ``url`` is where its entries are looked up and removed, ``removal`` how. One that ``ended`` in a year has neither.
    """

    kind: str
    url: str = ""
    removal: str = ""
    ended: int | None = None

    @property
    def meaning(self) -> str:
        return MEANINGS[ListKind(self.kind)]


@dataclass(frozen=True, kw_only=True)
class Interceptor(Known):
    """A product that shows certificates of its own in a server's place; ``kind`` says what it is, as "a firewall"."""

    kind: str


@cache
def block_lists() -> tuple[BlockList, ...]:
    return tuple(BlockList(**entry) for entry in _data(BLOCK_LISTS)["lists"])


@cache
def interceptors() -> tuple[Interceptor, ...]:
    return tuple(Interceptor(**entry) for entry in _data(INTERCEPTORS)["interceptors"])


def block_list_in(text: str) -> BlockList | None:
    """The list that a refusal names, if it is known."""
    said = _said(text)
    return next((known for known in block_lists() if known.is_in(said)), None)


@lru_cache(maxsize=64)
def listing_in(reply: str) -> Listing | None:
    """What a refusal holds against us because of a block list or a reputation; None if it is about something else."""
    words, said = _words(), _said(reply)
    if words["other"].search(said):
        return None
    if found := next(
        (kind for kind in (Listing.QUERY, Listing.DOMAIN, Listing.LINK) if words[kind].search(said)), None
    ):
        return found
    if listed := next((known for known in block_lists() if known.is_in(said)), None):
        return _LISTINGS.get(ListKind(listed.kind), Listing.ADDRESS)
    if words["own"].search(said):
        return None
    return next((kind for kind in (Listing.ADDRESS, Listing.REPUTATION) if words[kind].search(said)), None)


def _said(reply: str) -> str:
    """The reply without the addresses that it repeats: who is written to may not choose the words that decide."""
    rest = re.sub(r"<[^<>\s]*@[^<>]*>", " ", reply)
    contact = _words()["contact"]
    return " ".join(word for word in rest.split() if "@" not in word or contact.search(word))


def interceptor_in(issuer: str) -> Interceptor | None:
    """The product that the names of a certificate's issuer show, if it is known."""
    return next((known for known in interceptors() if known.is_in(issuer)), None)


@cache
def _words() -> dict[str, re.Pattern[str]]:
    """Words by Listing; with ``other`` a reply is none, with ``own`` it is one only if it names a list.
    ``contact`` are addresses of those who keep one."""
    return {name: re.compile(words, re.IGNORECASE) for name, words in _data(BLOCK_LISTS)["words"].items()}


def _data(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
