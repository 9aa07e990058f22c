"""To whom a server was seen to take mail: what a passed connection test proves."""

from enum import StrEnum


class Reach(StrEnum):
    """EVERYWHERE: it signed us in, or took a recipient elsewhere. OWN_DOMAIN: one that may be its own, unsigned."""

    EVERYWHERE = "everywhere"
    OWN_DOMAIN = "own_domain"
    UNSEEN = ""
