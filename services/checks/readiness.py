"""Whether this process is fit to serve: a few questions, each answered without a host, an address or a secret."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from database import schema_db
from database.engine import reading
from services.outbox import log
from services.settings import configs
from services.worker import threads

NO_DATABASE: Final = "The database cannot be used."
CANNOT_OPEN: Final = "The active configuration cannot be used. Sign in and look at it."


class Level(StrEnum):
    """READY serves and sends; DEGRADED serves, and mail is late; NOT_READY should get no requests."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not ready"


@dataclass(frozen=True)
class Check:
    ok: bool
    detail: str


@dataclass(frozen=True)
class Readiness:
    level: Level
    checks: dict[str, Check]


def look(app: Flask) -> Readiness:
    """Ask everything once: a handful of small queries, however much mail there is. Never raises."""
    checks = {name: _answer(ask) for name, ask in _DATABASE_CHECKS.items()}
    checks["worker"] = _worker(app)
    wrong = {name for name, check in checks.items() if not check.ok}
    # Mail that is late is late for every process: turning all of them away would only add to the trouble.
    level = Level.READY if not wrong else Level.DEGRADED if wrong == {"queue"} else Level.NOT_READY
    return Readiness(level, checks)


def is_database_ready() -> bool:
    """Whether the database answers and no migration is missing. Never raises."""
    return _answer(_migrations).ok


def _answer(ask: Callable[[], Check]) -> Check:
    try:
        return ask()
    except SQLAlchemyError:
        return Check(False, NO_DATABASE)


def _database() -> Check:
    with reading() as session:
        session.connection().exec_driver_sql("SELECT 1")
    return Check(True, "It answers.")


def _migrations() -> Check:
    with reading() as session:
        behind = schema_db.is_behind(session)
    return Check(not behind, "Run: flask db upgrade" if behind else "None is missing.")


def _key() -> Check:
    active = configs.find_active()
    if active is None:
        return Check(True, "No configuration is active, so there is nothing to open.")
    return Check(active.is_usable, "It opens the active configuration." if active.is_usable else CANNOT_OPEN)


def _queue() -> Check:
    if log.is_behind():
        minutes = int(log.BEHIND.total_seconds() // 60)
        return Check(False, f"Mail waits for more than {minutes} minutes.")
    return Check(True, "No mail is late.")


def _worker(app: Flask) -> Check:
    alive = threads.is_alive(app)
    if alive is None:
        return Check(True, "None belongs to this process.")
    return Check(alive, "It runs." if alive else "It has stopped. Restart this process.")


_DATABASE_CHECKS: Final[dict[str, Callable[[], Check]]] = {
    "database": _database,
    "migrations": _migrations,
    "key": _key,
    "queue": _queue,
}
