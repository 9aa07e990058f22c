"""What a server has shown of itself in one conversation, as short facts to compare with those of later ones."""

from typing import Final

from services.smtp import grammar, sasl
from services.smtp.seen import Seen
from services.smtp.settings import Security

STARTTLS: Final = "STARTTLS"
SIZE: Final = "SIZE"
TLS: Final = "TLS"  # the version
CERTIFICATE: Final = "certificate"  # the day on which it ends, as 2026-12-31
AUTH: Final = "AUTH "  # before the name of a mechanism
# Of all that a server may say, only names that stand here are kept, and numbers: no words of its own.
_KEYWORDS: Final = ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "REQUIRETLS")
_MECHANISMS: Final = (*sasl.KNOWN, *sasl.BY_TOKEN)

Offers = dict[str, str]  # "" where there is no more to say than that it is there


def of(seen: Seen, security: Security, last_day: str) -> tuple[Offers, frozenset[str] | None]:
    """What was offered, and which of it was looked at: None where all was, as after a whole conversation.

    ``last_day`` is that of the certificate, as far as it is known.
    """
    found: Offers = {}
    if security is Security.STARTTLS and seen.plain_offers is not None and STARTTLS in seen.plain_offers:
        found[STARTTLS] = ""
    if security is not Security.NONE and not seen.encrypted:
        return found, frozenset((STARTTLS,)) if seen.plain_offers is not None else frozenset()
    offered = seen.plain_offers if security is Security.NONE else seen.offers
    if offered is None:
        return found, frozenset((STARTTLS,)) if STARTTLS in found else frozenset()
    if security is Security.NONE and STARTTLS in offered:
        found[STARTTLS] = ""
    found |= {keyword: "" for keyword in _KEYWORDS if keyword in offered}
    found |= {f"{AUTH}{name}": "" for name in offered.get("AUTH", "").split() if name in _MECHANISMS}
    if SIZE in offered:
        found[SIZE] = str(grammar.size_limit(offered) or "")
    if seen.tls:
        found[TLS] = seen.tls
    if seen.encrypted and last_day:
        found[CERTIFICATE] = last_day
    return found, None


def changed(before: Offers, after: Offers, looked_at: frozenset[str] | None) -> list[str]:
    """The names of what is another than it was, among those that were looked at."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if (looked_at is None or name in looked_at) and before.get(name) != after.get(name)]
