"""A database that fails at the n-th thing that it is asked, and a worker that goes on where it can."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from database.engine import transaction
from database.outbox_db import Priority
from services import email_service
from services.worker import groups
from services.worker.lease import Pace
from tests.faults.storm import open_mails
from tests.statements import heard

KINDS: Final = ("database is locked", "database or disk is full", "disk I/O error")

TURNS: Final = 10
TurnClock = Callable[[], None]  # lets an hour pass


@dataclass
class Sabotage:
    """Counts statements and commits from here on; the n-th is not done, but answered by an error."""

    nth: int
    kind: str
    asked: int = 0

    @property
    def is_done(self) -> bool:
        return self.asked >= self.nth

    def count(self, *_: Any) -> None:
        self.asked += 1
        if self.asked == self.nth:
            raise OperationalError(self.kind, None, Exception(self.kind))


class Death(Sabotage):
    """The n-th statement or commit is not done, for the process ends there."""

    def count(self, *_: Any) -> None:
        self.asked += 1
        if self.asked == self.nth:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def sabotaged(engine: Engine, nth: int, kind: str) -> Iterator[Sabotage]:
    """While a ``with`` block runs, let the n-th statement or commit of this engine fail."""
    sabotage = Sabotage(nth, kind)
    with heard(engine, sabotage.count):
        yield sabotage


@contextmanager
def doomed(engine: Engine, nth: int) -> Iterator[None]:
    """Let this process die at the n-th statement or commit of this engine within a ``with`` block."""
    with heard(engine, Death(nth, "").count):
        yield


def work(pace: Pace) -> None:
    """One turn of a worker: sweep, then send all that is due; whatever fails is left for the next turn."""
    with suppress(SQLAlchemyError):
        groups.sweep(pace)
    with suppress(SQLAlchemyError):
        group = groups.claim_group("worker", pace)
        while group:
            group = groups.work_off(group, pace, lambda: Priority).next_group


def finish(turn_clock: TurnClock) -> None:
    """Let workers take turns, an hour from one to the next, until nothing is left to do."""
    for _ in range(TURNS):
        turn_clock()
        work(Pace())
        if not open_mails():
            return
    raise AssertionError("a mail is stuck")


def queue(number: int) -> str | None:
    """The mail's id if it is promised; every other one beside something else in the caller's transaction."""
    with suppress(SQLAlchemyError):
        if number % 2:
            return email_service.queue_email("to@example.com", f"Number {number}", "Text")
        with transaction() as session:
            return email_service.queue_email("to@example.com", f"Number {number}", "Text", session=session)
    return None
