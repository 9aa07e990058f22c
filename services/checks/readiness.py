"""Whether this process is fit to serve: a few questions, each answered without a host, an address or a secret."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from database import schema_db
from database.engine import reading
from services.checks import outlook
from services.checks.outlook import MailFitness
from services.connecting import calendar
from services.outbox import holding, log
from services.settings import configs, connections, endings, route
from services.worker import threads
from utils import clock
from utils.numbers import counted

NO_DATABASE: Final = "The database cannot be used."
CANNOT_OPEN: Final = "The active server cannot be used. Sign in and check its settings."


class Fitness(StrEnum):
    """READY serves and sends; DEGRADED serves, and mail is late; NOT_READY should get no requests."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not ready"


@dataclass(frozen=True)
class Answer:
    """``warns``: it is well now, and will not stay so unless somebody does something."""

    ok: bool
    detail: str
    warns: bool = False


@dataclass(frozen=True)
class Readiness:
    level: Fitness
    checks: dict[str, Answer]


def look(app: Flask) -> Readiness:
    """Ask everything once: a handful of small queries, however much mail there is. Never raises."""
    checks = {name: _answer(ask) for name, ask in _DATABASE_CHECKS.items()}
    checks["worker"] = _worker(app)
    wrong = {name for name, check in checks.items() if not check.ok}
    # Mail that is late is late for every process: turning all of them away would only add to the trouble.
    level = Fitness.READY if not wrong else Fitness.DEGRADED if wrong == {"queue"} else Fitness.NOT_READY
    return Readiness(level, checks)


def look_at_mail() -> tuple[MailFitness, Answer]:
    """Whether mail gets out, in a word and as a check; without a database it does not. Never raises."""
    try:
        return outlook.fitness(), _queue()
    except SQLAlchemyError as error:
        return MailFitness.DOWN, _unanswered(error)


def _answer(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except SQLAlchemyError as error:
        return _unanswered(error)


def _unanswered(error: SQLAlchemyError) -> Answer:
    return Answer(False, schema_db.UPGRADE if schema_db.lacks_something(error) else NO_DATABASE)


def _database() -> Answer:
    with reading() as session:
        session.connection().exec_driver_sql("SELECT 1")
    return Answer(True, "Responding.")


def _migrations() -> Answer:
    with reading() as session:
        behind = schema_db.is_behind(session)
    return Answer(not behind, "Run: flask db upgrade" if behind else "Up to date.")


def _key() -> Answer:
    active = configs.find_active()
    if active is None:
        return Answer(True, "No server is active, so there is nothing to open.")
    if not active.is_usable or connections.problem(active):
        return Answer(False, CANNOT_OPEN)
    what = "connection" if active.settings.is_by_token else "password"
    return Answer(True, f"It opens the active server’s {what}.")


def _queue() -> Answer:
    held, now = holding.told(holding.count()), outlook.look(has_configs=True)
    nobody = log.NOBODY_SENDS if now.is_unattended else ""
    since = now.state.since if now.is_outage and not route.is_suppressed() else None
    if since:
        waiting = f"{counted(now.waiting.mails, 'email')} waiting." if now.waiting.mails else ""
        return Answer(False, _sentences(f"No email gets out since {clock.readable(since)}.", waiting, nobody, held))
    if log.is_behind(known=now.due):
        minutes = int(log.BEHIND.total_seconds() // 60)
        return Answer(False, _sentences(f"Email is more than {minutes} minutes late.", nobody, held))
    if nobody:
        return Answer(True, _sentences(nobody, held))
    return Answer(True, _sentences(route.NOTHING_IS_SENT if route.is_suppressed() else "", held) or "No email is late.")


def _endings() -> Answer:
    """Of the servers that mail goes through, whoever runs Sealpost sees to them; accounts see to their own."""
    try:
        steps = [step for step in route.steps() if not step.is_local_inbox]
        near = [each for step in steps for each in endings.of_step(step) if each.is_near]
    except SQLAlchemyError:  # which the other checks tell
        return Answer(True, "Not known at the moment.")
    told = dict.fromkeys(each.sentence for each in calendar.in_order(near))
    if not told:
        return Answer(True, f"Nothing ends within {max(calendar.NOTICE_DAYS)} days.")
    return Answer(True, _sentences(*told), warns=True)


def _sentences(*texts: str) -> str:
    return " ".join(filter(None, texts))


def _worker(app: Flask) -> Answer:
    alive = threads.is_alive(app)
    if alive is None:
        return Answer(True, "Not run by this process.")
    return Answer(alive, "Running." if alive else "Stopped. Restart this process.")


_DATABASE_CHECKS: Final[dict[str, Callable[[], Answer]]] = {
    "database": _database,
    "migrations": _migrations,
    "key": _key,
    "queue": _queue,
    "endings": _endings,
}
