"""The way a message took, from its Received fields (RFC 5321 4.4): each hop, how it was protected, how long it took."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from services.domain.header_fields import split_comments

MOST_HOPS: Final = 100
_LONGEST_DATE: Final = 100
_CLAUSES: Final = ("from", "by", "via", "with", "id", "for")
_ADDRESS: Final = re.compile(r"\[(?:IPv6:)?([0-9a-fA-F.:]{2,45})\]")
_TLS: Final = re.compile(r"\b(?:TLS|SSL)[ _]?v?\d", re.IGNORECASE)
_ENCRYPTED: Final = re.compile(r"(?:UTF8)?(?:E?SMTP|LMTP)SA?|HTTPS", re.IGNORECASE)  # RFC 3848, RFC 6531
_CLEAR: Final = re.compile(r"(?:UTF8)?E?SMTPA?", re.IGNORECASE)


@dataclass(frozen=True)
class Hop:
    """One server's stamp. ``encrypted`` is None where the mail did not cross a network, or it is not said.

    ``seconds`` is the time since the stamp before, negative if the clocks disagree, None if one is unreadable.
    """

    by: str
    sender: str
    address: str
    protocol: str
    encrypted: bool | None
    at: datetime | None
    seconds: float | None = None


@dataclass(frozen=True)
class Path:
    """The hops in the order of the journey."""

    hops: list[Hop]

    @property
    def seconds(self) -> float | None:
        """From the first stamp to the last; None if there are not two."""
        stamps = [hop.at for hop in self.hops if hop.at]
        return (stamps[-1] - stamps[0]).total_seconds() if len(stamps) > 1 else None

    @property
    def slowest(self) -> Hop | None:
        """The hop that took longest, if any took time."""
        waited = [hop for hop in self.hops if hop.seconds and hop.seconds > 0]
        return max(waited, key=lambda hop: hop.seconds or 0, default=None)

    @property
    def skewed(self) -> list[Hop]:
        """Those stamped before the hop before them by more than a second of rounding: a clock is wrong."""
        return [hop for hop in self.hops if hop.seconds is not None and hop.seconds < -1]


def path(fields: list[tuple[str, str]]) -> Path:
    """Read the newest MOST_HOPS stamps; what cannot be read of one stays empty."""
    stamps = [value for name, value in fields if name == "received"][:MOST_HOPS]
    hops: list[Hop] = []
    before: datetime | None = None
    for value in reversed(stamps):
        hop = _hop(value, before)
        hops.append(hop)
        before = hop.at or before
    return Path(hops)


def moment(text: str) -> datetime | None:
    """A date of RFC 5322 3.3 in UTC, or None."""
    try:
        found = parsedate_to_datetime(text[:_LONGEST_DATE])
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _hop(value: str, before: datetime | None) -> Hop:
    stamp, _, date = value.rpartition(";")
    plain, comments = split_comments(stamp or value)
    clauses = _clauses(plain)
    at = moment(split_comments(date)[0].strip())
    found = next(filter(None, map(_ADDRESS.search, [*comments, plain])), None)
    return Hop(
        by=clauses.get("by", ""),
        sender=clauses.get("from", ""),
        address=found[1] if found else "",
        protocol=clauses.get("with", clauses.get("via", "")),
        encrypted=_is_encrypted(clauses.get("with", ""), comments),
        at=at,
        seconds=(at - before).total_seconds() if at and before else None,
    )


def _clauses(plain: str) -> dict[str, str]:
    """The words behind each keyword; of ``from`` and ``by`` only the first, which is the name."""
    clauses: dict[str, list[str]] = {}
    current = ""
    for word in plain.split():
        keyword = word.lower()
        if keyword in _CLAUSES and keyword not in clauses:
            current = keyword
            clauses[current] = []
        elif current:
            clauses[current].append(word)
    return {name: " ".join(words[:1] if name in ("from", "by") else words) for name, words in clauses.items()}


def _is_encrypted(protocol: str, comments: list[str]) -> bool | None:
    if _ENCRYPTED.fullmatch(protocol) or any(_TLS.search(comment) for comment in comments):
        return True
    return False if _CLEAR.fullmatch(protocol) else None
