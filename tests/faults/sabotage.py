"""A database that fails at the n-th thing that it is asked, and a worker that goes on where it can."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from services import outbox_work
from services.outbox_work import Pace
from tests.statements import heard

KINDS: Final = ("database is locked", "database or disk is full", "disk I/O error")


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


@contextmanager
def sabotaged(engine: Engine, nth: int, kind: str) -> Iterator[Sabotage]:
    """While a ``with`` block runs, let the n-th statement or commit of this engine fail."""
    sabotage = Sabotage(nth, kind)
    with heard(engine, sabotage.count):
        yield sabotage


def work(pace: Pace) -> None:
    """One turn of a worker: sweep, then send all that is due; whatever fails is left for the next turn."""
    with suppress(SQLAlchemyError):
        outbox_work.sweep(pace)
    with suppress(SQLAlchemyError):
        while group := outbox_work.claim_group("worker", pace):
            outbox_work.work_off(group, pace)
