"""What the workers do, in the test's own thread: answer requests, and send until nothing is due."""

from database import outbox_db
from database.engine import reading
from database.outbox_db import OutboxMail
from services.accounts import password_reset
from services.worker import groups
from services.worker.lease import Pace


def drain(pace: Pace | None = None) -> int:
    """Claim and work off until nothing is due; how many claims that were."""
    pace, claims = pace or Pace(), 0
    while group := groups.claim_group("test", pace):
        groups.work_off(group, pace)
        claims += len(group.claims)
    return claims


def row_of(mail_id: str) -> OutboxMail:
    """A mail as the table has it."""
    with reading() as session:
        row = outbox_db.find(session, mail_id)
    assert row
    return row


def answer_requests() -> int:
    """Answer every request for a reset and send what that leads to; how many requests there were."""
    answered = password_reset.process_requests()
    drain()
    return answered
