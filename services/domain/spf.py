"""SPF (RFC 7208): whom a domain permits to send for it, evaluated as a receiver does, with the same limits."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Final, TypeVar

from services.smtp.dns import LookupFailed, Questions
from utils.net_guard import IPAddress

MOST_LOOK_UPS: Final = 10  # RFC 7208 4.6.4
MOST_EMPTY: Final = 2  # look-ups without an answer, the same section
_MOST_EXCHANGES: Final = 10  # names behind one mx
_VERSION: Final = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER: Final = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_MECHANISM: Final = re.compile(r"([-+?~]?)([a-z][a-z0-9_.-]*)(?::(.*?))?((?:/\d{1,3})?(?://\d{1,3})?)", re.IGNORECASE)
_NAME: Final = re.compile(r"[^:/@]+\.[^:/@]+")
_CIDR: Final = re.compile(r"(?:/(\d{1,3}))?(?://(\d{1,3}))?")
_NETWORKS: Final[dict[str, type[IPv4Network | IPv6Network]]] = {"ip4": IPv4Network, "ip6": IPv6Network}
_LONGEST: Final = {4: 32, 6: 128}
_Found = TypeVar("_Found")
_ASKING: Final = ("include", "a", "mx", "ptr", "exists")


class SpfResult(StrEnum):
    """What a receiver comes to (RFC 7208 2.6). UNKNOWN is ours: it depends on what only a receiver has."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    PERMERROR = "permerror"
    TEMPERROR = "temperror"
    UNKNOWN = "unknown"


_QUALIFIED: Final = {
    "": SpfResult.PASS,
    "+": SpfResult.PASS,
    "-": SpfResult.FAIL,
    "~": SpfResult.SOFTFAIL,
    "?": SpfResult.NEUTRAL,
}


@dataclass(frozen=True)
class Evaluation:
    """What came out for one address, and what was read on the way.

    ``problem`` is the sentence for a PERMERROR or TEMPERROR; ``names`` are the domains whose records were read,
    in lower case; ``look_ups`` is how many questions counted against MOST_LOOK_UPS.
    """

    result: SpfResult
    problem: str
    names: frozenset[str]
    look_ups: int


@dataclass(frozen=True)
class _Term:
    qualifier: str
    name: str
    target: str
    cidr: str

    def __str__(self) -> str:
        return f"{self.qualifier}{self.name}{f':{self.target}' if self.target else ''}{self.cidr}"


class _Broken(Exception):
    """The record is in error; a receiver calls that permerror."""


def records(domain: str, questions: Questions) -> list[str]:
    """The SPF records of a domain, of which there should be one. Raises LookupFailed."""
    return [text for text in questions.txt(domain) if _VERSION.match(text)]


def evaluate(domain: str, address: IPAddress | None, questions: Questions) -> Evaluation:
    """What a receiver makes of mail from ``domain`` that comes from ``address``. Never raises.

    Without an address: of mail from anywhere else, which reads every record and so counts all look-ups.
    """
    walk = _Walk(address, questions)
    try:
        result, problem = walk.check(domain), ""
    except _Broken as error:
        result, problem = SpfResult.PERMERROR, str(error)
    except LookupFailed as error:
        result, problem = SpfResult.TEMPERROR, error.text
    if walk.depends and result is not SpfResult.PASS and not problem:
        result = SpfResult.UNKNOWN
    return Evaluation(result, problem, frozenset(walk.names), walk.look_ups)


@dataclass
class _Walk:
    """One evaluation of check_host (RFC 7208 4) with its counts."""

    address: IPAddress | None
    questions: Questions
    names: set[str] = field(default_factory=set)
    look_ups: int = 0
    empty: int = 0
    depends: bool = False  # on the sender or on reverse names, which are not known here

    def check(self, domain: str) -> SpfResult:
        self.names.add(domain.lower().rstrip("."))
        found = records(domain, self.questions)
        if not found:
            return SpfResult.NONE
        if len(found) > 1:
            raise _Broken(f"{domain} has {len(found)} SPF records. Only one is allowed.")
        terms, redirect = _parsed(found[0], domain)
        for term in terms:
            if self._matches(term, domain):
                return _QUALIFIED[term.qualifier]
        if "%" in redirect:
            self.depends = True
        elif redirect:
            self._count(f"redirect={redirect}")
            return self._of_other(redirect, f"The record of {domain} redirects to")
        return SpfResult.NEUTRAL

    def _of_other(self, target: str, leads_to: str) -> SpfResult:
        """The result of a record that another one needs, and so has to be there."""
        result = self.check(target)
        if result is SpfResult.NONE:
            raise _Broken(f"{leads_to} {target}, which has no SPF record.")
        return result

    def _matches(self, term: _Term, domain: str) -> bool:
        if term.name in _ASKING:
            self._count(str(term))
        if term.name == "all":
            return True
        if "%" in term.target or term.name == "ptr":
            self.depends = True
            return False
        target = term.target or domain
        if term.name == "include":
            return self._of_other(target, f"The record of {domain} includes") is SpfResult.PASS
        if term.name == "exists":
            return any(isinstance(found, IPv4Address) for found in self._noted(self.questions.addresses(target)))
        if term.name in _NETWORKS:
            network = _NETWORKS[term.name](f"{target}{term.cidr}", strict=False)
            return self.address in network if self.address else not network.prefixlen
        return self._is_among(self._hosts_of(term.name, target), term.cidr)

    def _hosts_of(self, kind: str, target: str) -> list[IPAddress]:
        if kind == "a":
            return self._noted(self.questions.addresses(target))
        exchanges = self._noted([name for name in self.questions.mx(target) if name != "."])
        if len(exchanges) > _MOST_EXCHANGES:
            raise _Broken(f"mx:{target} stands for more than {_MOST_EXCHANGES} servers.")
        return [address for name in exchanges for address in self.questions.addresses(name)]

    def _is_among(self, hosts: list[IPAddress], cidr: str) -> bool:
        if self.address is None:
            return False
        lengths = _CIDR.fullmatch(cidr)
        length = lengths and lengths[1 if isinstance(self.address, IPv4Address) else 2]
        same_kind = [host for host in hosts if host.version == self.address.version]
        prefix = int(length) if length else _LONGEST[self.address.version]
        return any(self.address in ip_network((host, prefix), strict=False) for host in same_kind)

    def _count(self, term: str) -> None:
        self.look_ups += 1
        if self.look_ups > MOST_LOOK_UPS:
            raise _Broken(f"The record needs more than {MOST_LOOK_UPS} DNS lookups. Receiving servers stop at {term}.")

    def _noted(self, found: list[_Found]) -> list[_Found]:
        self.empty += not found
        if self.empty > MOST_EMPTY:
            raise _Broken(
                f"The record needs more than {MOST_EMPTY} names that do not exist. Receiving servers stop there."
            )
        return found


def _parsed(record: str, domain: str) -> tuple[list[_Term], str]:
    """The terms of a record, and where it redirects to; an error anywhere makes all of it void (RFC 7208 4.6)."""
    terms: list[_Term] = []
    modifiers: dict[str, str] = {}
    for word in record.split(" ")[1:]:
        if not word:
            continue
        modifier = _MODIFIER.fullmatch(word)
        if modifier:
            name = modifier[1].lower()
            if name in ("redirect", "exp") and (name in modifiers or not modifier[2]):
                raise _Broken(f"“{word}” in the record of {domain} is not valid.")
            modifiers[name] = modifier[2]
        else:
            terms.append(_term(word, domain))
    has_all = any(term.name == "all" for term in terms)
    return terms, "" if has_all else modifiers.get("redirect", "")


def _term(word: str, domain: str) -> _Term:
    parts = _MECHANISM.fullmatch(word)
    if parts:
        term = _Term(parts[1], parts[2].lower(), parts[3] or "", parts[4])
        if _is_well_formed(term, has_colon=parts[3] is not None):
            return term
    raise _Broken(f"“{word}” in the record of {domain} is not valid.")


def _is_well_formed(term: _Term, *, has_colon: bool) -> bool:
    """By the grammar of RFC 7208 12, as far as a name or a network can be wrong."""
    if term.name in _NETWORKS:
        return _is_network(term)
    if term.name == "all":
        return not has_colon and not term.cidr
    if term.name not in _ASKING or (has_colon and not _NAME.fullmatch(term.target)):
        return False
    if term.name in ("a", "mx"):
        lengths = _CIDR.fullmatch(term.cidr)
        return lengths is not None and int(lengths[1] or 0) <= _LONGEST[4] and int(lengths[2] or 0) <= _LONGEST[6]
    return not term.cidr and (has_colon or term.name == "ptr")


def _is_network(term: _Term) -> bool:
    try:
        _NETWORKS[term.name](f"{term.target}{term.cidr}", strict=False)
    except ValueError:
        return False
    return True
