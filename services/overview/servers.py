"""How the servers are, for the start page: those of the route, and what will end of any."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.settings import configs, state
from services.settings.health import HealthState
from services.settings.sealing import StoredConfig
from services.settings.state import ConfigFacts, EnvLine

MOST: Final = 50  # that are looked at
SHOWN: Final = 6
_RANKS: Final = ("error", "warning", "ok", "empty")


@dataclass(frozen=True, kw_only=True)
class ServersFacts:
    """``shown`` are the active server and those with trouble first; ``looked_at`` all whose ends are told."""

    shown: tuple[ConfigFacts, ...]
    looked_at: tuple[ConfigFacts, ...]
    total: int
    env: EnvLine

    @property
    def has_any(self) -> bool:
        """Whether there is a server that mail could leave through."""
        return bool(self.total) or self.env.can_be_tested

    @property
    def has_worked(self) -> bool:
        """Whether one has passed a test, or accepted an email."""
        stored = any(
            each.verified_at or each.verified_for_own_domain or each.health.last_success for each in self.looked_at
        )
        known = self.env.health
        return stored or (known is not None and known.state is HealthState.WORKING)


def stored() -> list[StoredConfig]:
    """All that are stored, the active one first."""
    return configs.search()


def look(found: Sequence[StoredConfig], env: EnvLine) -> ServersFacts:
    """How these are, and that of `.env`."""
    facts = tuple(state.facts_of(found[:MOST]))
    order = sorted(facts, key=lambda each: (not each.is_active, _RANKS.index(each.level)))
    return ServersFacts(shown=tuple(order[:SHOWN]), looked_at=facts, total=len(found), env=env)
