"""Ours, durable: ``queue_email`` in the caller's transaction, a worker in this process and perhaps in another."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.application import environment, opened, prepare
from benchmarks.child import Child
from benchmarks.databases import bare
from benchmarks.message import HTML, SUBJECT, TEXT, TO, Target
from database.engine import transaction
from database.outbox_db import IS_IN_HAND, IS_WAITING, State
from services import email_service
from services.worker import threads

A_COMMIT: Final = 100  # mails that the caller's transaction promises
_WAITS: Final = f"SELECT state, reason FROM email_outbox WHERE {IS_WAITING} LIMIT 1"
_IS_HELD: Final = f"SELECT id FROM email_outbox WHERE {IS_IN_HAND} LIMIT 1"
Look = Callable[[str], Any]


@contextmanager
def sender(target: Target, database: str, workers: int = 0) -> Iterator[Callable[[int], None]]:
    """With so many worker processes; without any, the process that queues sends as well, as it does by default."""
    with tempfile.TemporaryDirectory(prefix="sealpost-benchmark-") as name, ExitStack() as held:
        variables = environment(target, Path(name), database)
        app = held.enter_context(opened(variables, Path(name)))
        look = held.enter_context(looking(database))
        prepare(target)
        settings = {"variables": variables, "folder": name}
        others = [held.enter_context(Child("benchmarks.mail_worker", settings=settings)) for _ in range(workers)]
        if not workers:
            held.callback(threads.start(app).stop)

        def send(count: int) -> None:
            for done in range(0, count, A_COMMIT):
                queue(min(A_COMMIT, count - done))
                for other in others:
                    other.ask("wake")
            wait_until_settled(look)

        yield send


def queue(count: int) -> None:
    """Promise so many mails in one transaction, as an order and its notification would be."""
    with transaction() as session:
        for _ in range(count):
            email_service.queue_email(TO, SUBJECT, TEXT, HTML, session=session)


def wait_until_settled(look: Look) -> None:
    """Wait until nothing is left in the outbox. Raises RuntimeError for a mail that did not go at once."""
    while True:
        waits = look(_WAITS)
        if waits and waits[0] != State.QUEUED:
            raise RuntimeError(f"An email is in state {waits[0]}: {waits[1]}")
        if waits is None and look(_IS_HELD) is None:
            return
        time.sleep(0.01)  # workers are in other processes as well


@contextmanager
def looking(database: str) -> Iterator[Look]:
    """What gives the first row of a statement, by the bare driver: a look must not count as the side's work."""
    with closing(bare(database)) as connection:
        yield lambda statement: connection.execute(statement).fetchone()
