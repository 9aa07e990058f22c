"""What is found in the DNS about a From domain, and the records that would mend it."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """Good: nothing to do. Open: it cannot be told from here. Change: a record is missing or wrong."""

    GOOD = "good"
    OPEN = "open"
    CHANGE = "change"  # the worst is last


@dataclass(frozen=True)
class DnsRecord:
    """A record to have at ``host``, in place of ``instead`` if that is given; ``value`` is "" where only the provider's
    own pages can tell it.
    """

    host: str
    kind: str
    value: str
    instead: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one kind of record comes to: a sentence or two, the records seen, and those to add."""

    subject: str  # SPF, DKIM, DMARC or MX
    outcome: Grade
    text: str
    host: str  # where the records are
    seen: tuple[str, ...]
    add: tuple[DnsRecord, ...]


def tags_of(record: str) -> dict[str, str]:
    """The tag=value list of DKIM and DMARC records (RFC 6376 3.2), names and values in their plain form."""
    tags: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip().lower())
    return tags
