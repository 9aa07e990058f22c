"""Which gateways run: each gives a sign of life, with where it listens, for pages and readiness."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import gateway_db
from database.engine import reading_in, transaction
from database.gateway_db import LONGEST_WORDS, GatewayProcess
from utils import clock
from utils.same_names import shared

BEAT_SECONDS: Final = 15.0
SILENT_AFTER: Final = timedelta(seconds=60)
_KEPT: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class RunningGateway:
    """A gateway: ``at`` is its last sign of life, ``addresses`` where it listens, like ``127.0.0.1:2525`` or
    ``smtps://0.0.0.0:465``. ``trouble`` is a sentence on what somebody has to mend, or "".
    """

    process_id: str
    started_at: datetime
    at: datetime
    addresses: tuple[str, ...]
    trouble: str

    @property
    def is_running(self) -> bool:
        """Whether it has given a sign of life within a minute."""
        return abs(clock.now() - self.at) <= SILENT_AFTER


def every(session: Session | None = None) -> list[RunningGateway]:
    """The gateways that run, or did within a day and never said that they end."""
    with reading_in(session) as own:
        return [_gateway(row) for row in gateway_db.processes(own)]


def running(session: Session | None = None) -> list[RunningGateway]:
    """Those that run now."""
    return [each for each in every(session) if each.is_running]


def beat(process_id: str, started_at: datetime, addresses: tuple[str, ...], trouble: str = "") -> None:
    """Note that this one runs."""
    now = clock.now()
    row = GatewayProcess(
        process_id=process_id,
        started_at=started_at,
        at=now,
        listens="\n".join(addresses),
        trouble=trouble[:LONGEST_WORDS],
    )
    with transaction(durable=False) as session:
        gateway_db.forget_processes(session, now - _KEPT, now + _KEPT)
        gateway_db.beat(session, row)


def leave(process_id: str) -> None:
    """Note that this one ends, as it was told to."""
    with transaction(durable=False) as session:
        gateway_db.end(session, process_id)


def _gateway(row: GatewayProcess) -> RunningGateway:
    return RunningGateway(
        **shared(RunningGateway, row) | {"addresses": tuple(row.listens.split())},
    )
