"""How an alert goes from pending to firing to resolved: pure, and by what was seen, not by what a clock says.

Seconds are those in which somebody looked. So a clock that jumps lets nothing fire and nothing resolve.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.alerts.bodies import AlertChange

AT_ONCE: Final = 60.0  # the most seconds that one look counts for, however long ago the one before it was
CALM: Final = 60.0  # seconds without trouble, after which an alert is resolved
LONGEST_CALM: Final = 3600.0  # the same of one that comes back again and again
REMEMBERED: Final = 3600.0  # for how long a resolved one counts as one that came back


class AlertStage(StrEnum):
    """PENDING: there is trouble, and not for long enough. RESOLVED: there was, within the hour."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Trouble that was found, in a sentence, and what to do."""

    headline: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class AlertStanding:
    """How one alert stands; ``since`` is when its trouble was first seen. See ``AlertState`` for the rest."""

    stage: AlertStage
    headline: str
    remedy: str
    since: datetime
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    lasted: float = 0.0
    clear: float = 0.0
    flaps: int = 0

    @property
    def calm(self) -> float:
        """For how many seconds it must be quiet: longer each time that it came back soon."""
        return float(min(CALM * 2**self.flaps, LONGEST_CALM))


_Judged = tuple[AlertStanding | None, AlertChange | None]


def step(
    before: AlertStanding | None, found: Sighting | None, seconds: float, *, hold: float, now: datetime
) -> _Judged:
    """How it stands after a look, ``seconds`` after the one before, and what there is to tell.

    It fires once the trouble was there for ``hold`` seconds without a break.
    """
    seconds = min(max(seconds, 0.0), AT_ONCE)
    if found is None:
        return _quiet(before, seconds, now)
    if before is None:
        before = AlertStanding(stage=AlertStage.PENDING, headline="", remedy="", since=now)
    elif before.stage is AlertStage.RESOLVED:
        before = replace(before, stage=AlertStage.PENDING, since=now, lasted=0.0)
    else:
        before = replace(before, lasted=before.lasted + seconds)
    after = replace(before, headline=found.headline, remedy=found.remedy, clear=0.0)
    if after.stage is AlertStage.FIRING or after.lasted < hold:
        return after, None
    came_back = after.flaps + 1 if after.resolved_at is not None else 0
    return replace(after, stage=AlertStage.FIRING, fired_at=now, resolved_at=None, flaps=came_back), AlertChange.FIRING


def _quiet(before: AlertStanding | None, seconds: float, now: datetime) -> _Judged:
    if before is None:
        return None, None
    after = replace(before, clear=before.clear + seconds)
    if before.stage is AlertStage.FIRING:
        if after.clear < before.calm:
            return after, None
        return replace(after, stage=AlertStage.RESOLVED, resolved_at=now, clear=0.0), AlertChange.RESOLVED
    if before.stage is AlertStage.PENDING:
        # What never fired is forgotten, unless it is one that has come back.
        return (replace(after, stage=AlertStage.RESOLVED) if before.resolved_at else None), None
    return (after if after.clear < REMEMBERED else None), None
