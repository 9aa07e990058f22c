"""Whose a domain is: one of a mailbox provider is in nobody else's hands, and no advice asks to change its DNS."""

from services.providers import registry
from services.providers.registry import Provider


def listed(domain: str) -> Provider | None:
    """The provider whose mailboxes have this very domain."""
    name = domain.lower()
    return registry.for_domain(name) if registry.is_listed(name) else None


def what_else(owner: Provider) -> str:
    """What to do instead of changing the records of a domain of ``owner``."""
    or_there = "" if owner["obstacle"] else f", or through {owner['house']}"
    return f"Send from an address at your own domain{or_there}."


def remedy(domain: str, otherwise: str) -> str:
    """What to do about the records of a domain: ``otherwise``, unless it is a mailbox provider's."""
    owner = listed(domain)
    if not owner:
        return otherwise
    return f"{domain} belongs to {owner['house']}, so you cannot add records there. {what_else(owner)}"
