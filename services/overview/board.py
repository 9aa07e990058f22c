"""All that the start page shows, each part by itself: what cannot be read now is left out, and the rest stands."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from database import overview_db
from database.engine import reading
from database.overview_db import WaitingMail
from services.alerts import channels
from services.overview import attention, causes, checklist, hourly, servers
from services.overview.attention import Attention
from services.overview.causes import FailureCauses
from services.overview.checklist import Checklist
from services.overview.hourly import Column, Counted, Tally
from services.overview.servers import ServersFacts
from utils import clock

HOURS: Final = "24h"
CHARTS: Final = {HOURS: 1, "14d": 14, "30d": 30}  # and of how many days each is
log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class MailFigures:
    """``today`` is since midnight in UTC; ``counted_until`` when the figures end, if some of today are missing."""

    today: Tally
    midnight: datetime
    columns: tuple[Column, ...]
    counted_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Board:
    """The parts of the start page; each is None if it could not be read."""

    chart: str
    looked_at: datetime
    attention: Attention | None
    waiting: WaitingMail | None
    figures: MailFigures | None
    causes: FailureCauses | None
    servers: ServersFacts | None
    checklist: Checklist | None


def look(chart: str) -> Board:
    """How everything is now; ``chart`` is one of CHARTS, and any other text the first of them."""
    chart = chart if chart in CHARTS else HOURS
    stored = _part(servers.stored)
    found = _part(lambda: attention.look(has_configs=None if stored is None else bool(stored)))
    known = _part(lambda: hourly.read(CHARTS[chart]))
    of_servers = None
    if stored is not None and found is not None:
        of_servers = _part(lambda: servers.look(stored, found.verdict.state.env))
    return Board(
        chart=chart,
        looked_at=clock.now(),
        attention=found,
        waiting=_part(_waiting),
        figures=_figures(known, chart) if known else None,
        causes=_part(lambda: causes.of(known.sums, hourly.first_of_last_hours(known.now))) if known else None,
        servers=of_servers,
        checklist=_part(lambda: checklist.look(of_servers, channels.every())) if of_servers else None,
    )


def _figures(known: Counted, chart: str) -> MailFigures:
    columns = hourly.last_hours(known) if chart == HOURS else hourly.last_days(known, CHARTS[chart])
    midnight = hourly.day_of(known.now)
    return MailFigures(
        today=known.tally(midnight),
        midnight=midnight,
        columns=tuple(columns),
        counted_until=None if known.is_complete else known.until,
    )


def _waiting() -> WaitingMail:
    with reading() as session:
        return overview_db.waiting(session)


def _part(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except SQLAlchemyError as failure:
        log.warning("part_not_read", kind=type(failure).__name__)
        return None
