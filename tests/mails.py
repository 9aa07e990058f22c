"""Mails of the log in every state that a test may ask for, as workers leave them there."""

from datetime import timedelta
from typing import Any, Final, cast

from sqlalchemy import update

from database import attempt_db
from database.attempt_db import AttemptRow
from database.engine import driver_transaction, transaction
from database.mail_facets import key_of
from database.outbox_db import SETTLED, OutboxMail, State
from services.message.draft import draft
from services.outbox import promise
from services.outbox.promise import Terms
from utils import clock

SUBJECT: Final = "The subject of a m4il"
BODY: Final = "The b0dy of a mail"
REFUSAL: Final[dict[str, Any]] = {
    "outcome": "permanent",
    "phase": "recipient",
    "fault": "reply",
    "code": 550,
    "enhanced": "5.1.1",
    "reply": "No such user here",
}


def queued(*to: str, kind: str = "other", **terms: Any) -> str:
    """Queue a mail; its id."""
    addresses = list(to or ["jane@example.com"])
    mail = draft(addresses, SUBJECT, BODY, kind=kind, message_id_domain="example.com")
    return promise.enqueue(mail, Terms(**terms))


def in_state(state: State, *to: str, days_ago: float = 0, **columns: Any) -> str:
    """A mail that workers have left in this state, so many days ago."""
    mail_id = queued(*to)
    moment = clock.now() - timedelta(days=days_ago)
    values: dict[str, Any] = {"state": state, "created_at": moment, **columns}
    if state in SETTLED:
        values.setdefault("settled_at", moment)
        if state is not State.FAILED:
            values.setdefault("content", None)
    if state is State.SENT:
        accepted = {"state": "accepted", "code": 250, "enhanced": None}
        values.setdefault("recipients", [{"address": address, **accepted} for address in to or ["jane@example.com"]])
    change(mail_id, **values)
    return mail_id


def change(mail_id: str, **values: Any) -> None:
    """Write into the mail's row."""
    with transaction() as session:
        session.execute(update(OutboxMail).where(OutboxMail.mail_id == mail_id).values(**values))


def attempted(mail_id: str | None = None, *, days_ago: float = 0, **columns: Any) -> None:
    """Add an attempt at a queued mail, or at one that was sent directly: accepted, unless the columns say otherwise."""
    row: AttemptRow = {
        "mail_id": mail_id,
        "account_id": None,
        "started_at": clock.now() - timedelta(days=days_ago),
        "ms": 42,
        "kind": "other",
        "recipients": "j***@example.com",
        "refused": [],
        "message_id": f"<{mail_id or '0' * 32}@example.com>",
        "config_id": None,
        "server": "Primary (smtp.example.com:587)",
        "outcome": "accepted",
        "phase": None,
        "fault": None,
        "code": 250,
        "enhanced": "2.0.0",
        "reply": "Ok: queued as 4Xyz",
        "worker": None,
        "reason": "",
        "server_key": None,
    }
    row = cast(AttemptRow, row | columns)
    row["server_key"] = key_of(row["server"]) if row["server"] else None
    with driver_transaction() as driver:
        attempt_db.add_all(driver, [row])
    if mail_id:
        change(mail_id, server_key=row["server_key"])
