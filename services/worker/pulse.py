"""The workers' sign of life, for whoever watches: a row that says when one of them last took a turn."""

from typing import Final

from database import alert_db
from database.engine import transaction
from utils import clock

WORKER: Final = "worker"


def beat() -> None:
    """Note that a worker runs."""
    with transaction(durable=False) as session:
        alert_db.beat(session, WORKER, clock.now())
