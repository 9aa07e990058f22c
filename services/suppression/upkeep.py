"""What is done for the suppression list now and then, by whichever worker comes first."""

from typing import Final

from database import suppression_db
from database.engine import transaction
from utils import clock

_BATCH: Final = 1000  # rows in one transaction


def tidy() -> None:
    """Forget entries, and refusals that were counted, whose time is over."""
    deleted = _BATCH
    while deleted == _BATCH:
        with transaction() as session:
            deleted = suppression_db.delete_ended(session, clock.now(), _BATCH)
