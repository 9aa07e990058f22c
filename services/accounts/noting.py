"""When a session was seen and a token used: noted if it can be, and nobody who asks for a page waits for it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from database.engine import transaction
from utils import clock
from utils.env_utils import get_settings

log = structlog.get_logger(__name__)

_REST: Final = timedelta(minutes=1)
_failed_at: Final[dict[str, datetime]] = {}  # by the database's address


def note(event: str, write: Callable[[Session], object], **facts: object) -> None:
    """Write it, unless that failed within the last minute. Why it cannot be written is logged as this event.

    A database that is full, read-only or held by another process must still be readable, and as fast as ever.
    """
    database, now = get_settings().database_url, clock.now()
    failed_at = _failed_at.get(database)
    if failed_at and timedelta(0) <= now - failed_at < _REST:
        return
    try:
        with transaction(durable=False, is_spare=True) as session:
            write(session)
    except DBAPIError as error:
        _failed_at[database] = now
        log.warning(event, kind=type(error.orig).__name__, **facts)
    else:
        _failed_at.pop(database, None)
