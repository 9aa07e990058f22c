"""The DMARC policy (RFC 7489) that holds for a From domain."""

from typing import Final

from services.domain.records import DnsRecord, Finding, Grade, tags_of
from services.smtp.dns import Questions

_NEW: Final = "v=DMARC1; p=none; rua=mailto:postmaster@{domain}"
_POLICIES: Final = {
    "none": "Failing mail is delivered and only reported, which is right to start with. Once the reports are clean, "
    "set p=quarantine.",
    "quarantine": "Mail that passes neither SPF nor DKIM goes to spam.",
    "reject": "Mail that passes neither SPF nor DKIM is refused.",
}
_FEWEST_LABELS: Final = 2  # example.com; what is above belongs to a registry
_MOST_ABOVE: Final = 6  # the nearest of them; a name has up to 127 labels


def check(domain: str, questions: Questions) -> Finding:
    """The policy at the domain or, if it has none, at the nearest name above it. Raises LookupFailed."""
    for name in (domain, *_names_above(domain)):
        host = f"_dmarc.{name}"
        seen = [text for text in questions.txt(host) if tags_of(text).get("v") == "dmarc1"]
        if seen:
            return _found(name, host, seen, is_own=name == domain)
    host = f"_dmarc.{domain}"
    text = (
        "There is no DMARC policy. Gmail, Yahoo and Microsoft require one from bulk senders; without it anyone can "
        "send as you."
    )
    add = (DnsRecord(host, "TXT", _NEW.format(domain=domain), instead=""),)
    return Finding(subject="DMARC", outcome=Grade.CHANGE, text=text, host=host, seen=(), add=add)


def _names_above(domain: str) -> list[str]:
    labels = domain.split(".")
    return [".".join(labels[above:]) for above in range(1, len(labels) - _FEWEST_LABELS + 1)][-_MOST_ABOVE:]


def _found(domain: str, host: str, seen: list[str], *, is_own: bool) -> Finding:
    tags = tags_of(seen[0])
    policy = tags.get("p", "") if is_own else tags.get("sp", tags.get("p", ""))
    outcome = Grade.GOOD
    add: tuple[DnsRecord, ...] = ()
    if len(seen) > 1:
        outcome, text = (
            Grade.CHANGE,
            f"There are {len(seen)} policies. Only one is allowed, so receiving servers ignore them all. "
            "Delete all but one.",
        )
    elif policy not in _POLICIES:
        outcome, text = Grade.CHANGE, "The record has no valid policy: p is none, quarantine or reject."
        add = (DnsRecord(host, "TXT", _NEW.format(domain=domain), instead=seen[0]),)
    else:
        text = _POLICIES[policy] + _strictness(tags)
        text = text if is_own else f"{domain} has a valid policy. {text}"
    return Finding(subject="DMARC", outcome=outcome, text=text, host=host, seen=tuple(seen), add=add)


def _strictness(tags: dict[str, str]) -> str:
    strict = [name for name, tag in (("DKIM", "adkim"), ("SPF", "aspf")) if tags.get(tag) == "s"]
    return f" The domain of {' and '.join(strict)} must be exactly the From domain." if strict else ""
