"""What a conversation has shown of a server so far: facts for whoever has to say what is wrong, no words for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from utils.errors import Fault
from utils.net_guard import IPAddress


@dataclass(kw_only=True)
class Seen:
    """``addresses`` map to why each did not answer, None if it did; everything else is of the connection made last.

    ``plain_offers`` and ``offers`` are what EHLO listed without and with encryption, None if it was not heard there.
    ``mechanism`` was begun last. ``tls`` is the version that was agreed on, "" while nothing is encrypted.
    """

    addresses: dict[IPAddress, Fault | None] = field(default_factory=dict)
    plain_offers: Mapping[str, str] | None = None
    offers: Mapping[str, str] | None = None
    tls: str = ""
    mechanism: str = ""
    signed_in: bool = False

    @property
    def encrypted(self) -> bool:
        return bool(self.tls)

    @property
    def offered(self) -> Mapping[str, str] | None:
        """What EHLO listed last; None if it was not heard."""
        return self.plain_offers if self.offers is None else self.offers

    def connected(self) -> None:
        """A new connection: what the one before has shown holds no more."""
        self.plain_offers = self.offers = None
        self.signed_in = False
        self.tls = self.mechanism = ""
