"""What became of one mail at one server."""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from services.settings.route import RouteStep
from services.smtp.client import Receipt
from utils.errors import DeliveryError

ACCEPTED: Final = "accepted"
NOT_CONFIGURED: Final = "not_configured"
SUPPRESSED: Final = "suppressed"


class Withheld(NamedTuple):
    """A server that may not take over, and why."""

    server: RouteStep
    reason: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a mail. ``message`` is from a closed set; ``ms`` counts the whole attempt."""

    kind: str
    message: str
    ms: int
    server: RouteStep | None = None
    receipt: Receipt | None = None
    error: DeliveryError | None = None
    refused: list[dict[str, Any]] = field(default_factory=list)
    skipped: tuple["Outcome", ...] = ()  # servers tried before, which were down
    withheld: "Withheld | None" = None  # the next server, which would protect the mail less

    @property
    def is_complete(self) -> bool:
        """Whether every recipient was accepted, or nothing is to be sent here."""
        return self.kind in (ACCEPTED, SUPPRESSED) and not self.refused
