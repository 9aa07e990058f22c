"""Undo of an activation: one click, for a minute, in the browser in which it was done."""

from dataclasses import astuple, dataclass
from typing import Final

from flask import session

from services.settings import activation, configs
from services.settings.activation import WayBack
from services.settings.sealing import StoredConfig
from utils import clock
from utils.errors import NotFound

SECONDS: Final = 60
_LATE: Final = 5  # that a click may be on its way
_KEY: Final = "undo"  # in the signed cookie of pages: the moment, and the way back


@dataclass(frozen=True)
class Offer:
    """What the page says; ``seconds`` is how long the button is good."""

    said: str
    consequence: str
    seconds: int


def offer(before: StoredConfig | None, after: StoredConfig) -> None:
    """Remember the way back from ``after``, which was just activated."""
    way = activation.way_back(before, after)
    if way is not None:
        session[_KEY] = [clock.now().timestamp(), *astuple(way)]


def offered() -> Offer | None:
    """What can still be undone, if nothing has changed since."""
    way, seconds = _remembered(SECONDS)
    active = configs.find_active() if way else None
    if way is None or active is None or (active.row.id, active.row.version) != (way.config_id, way.version):
        return None
    try:
        before = configs.get(way.before_id) if way.before_id is not None else None
    except NotFound:
        return None
    back = f"Back to “{before.row.name}”" if before else "Deactivate it again"
    return Offer(f"Mail now goes through “{active.row.name}”.", back, seconds)


def taken() -> WayBack | None:
    """The way back, once; None if there is none, or the minute is over."""
    way, _seconds = _remembered(SECONDS + _LATE)
    session.pop(_KEY, None)
    return way


def _remembered(longest: int) -> tuple[WayBack | None, int]:
    if _KEY not in session:
        return None, 0
    moment, *way = session[_KEY]
    left = longest - (clock.now().timestamp() - moment)
    return (WayBack(*way), int(left)) if 0 < left <= longest else (None, 0)
