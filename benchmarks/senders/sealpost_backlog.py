"""Ours with many other mails in the queue: queue, claim, send and settle in one thread, so that nothing overlaps."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import insert, text

from benchmarks.application import application
from benchmarks.message import TO, Target
from benchmarks.senders.sealpost_durable import A_COMMIT, queue
from database.engine import db, transaction
from database.outbox_db import OutboxMail, Priority, State
from services.worker import groups, lease
from services.worker.lease import Pace
from utils import clock

ROWS_A_COMMIT: Final = 10_000
CONTENT: Final = secrets.token_bytes(2000)  # of about the size of the message's


@contextmanager
def sender(target: Target, database: str, rows: int) -> Iterator[Callable[[int], None]]:
    with application(target, database):
        for first in range(0, rows, ROWS_A_COMMIT):
            with transaction(durable=False) as session:
                session.execute(insert(OutboxMail), [waiting() for _ in range(min(ROWS_A_COMMIT, rows - first))])
        if db.engine.dialect.name == "postgresql":
            with db.engine.begin() as connection:
                connection.execute(text("ANALYZE"))  # as autovacuum would, some time later
        yield send


def waiting() -> dict[str, Any]:
    """A row of a mail that is due but comes after those that are measured."""
    now, mail_id = clock.now(), secrets.token_hex(16)
    return {
        "mail_id": mail_id,
        "message_id": f"<{mail_id}@example.com>",
        "kind": "other",
        "priority": Priority.BULK,
        "state": State.QUEUED,
        "recipients": [{"address": TO, "state": "pending"}],
        "content": CONTENT,
        "key_id": "00000000",
        "created_at": now,
        "due_at": now,
        "expires_at": now + timedelta(days=3),
    }


def send(count: int) -> None:
    name, pace, done = lease.worker_name(), Pace(), 0
    for first in range(0, count, A_COMMIT):
        queue(min(A_COMMIT, count - first))
    while done < count:
        group = groups.claim_group(name, pace)
        assert group
        groups.work_off(group, pace)
        done += len(group.claims)
