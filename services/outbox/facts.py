"""How a mail of the log, and each attempt at it, reads: its facts, with a word and a level for how it stands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from database.attempt_db import LONGEST_REPLY, EmailAttempt
from database.outbox_db import SETTLED, WAITING, OutboxMail, Priority, Recipient, RecipientState, State
from services.diagnosis import diagnosis
from services.outbox.reasons import words
from utils import clock
from utils.errors import Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary
from utils.log_utils import printable

__all__ = ["State"]  # for the blueprints, which never import the database

# A level for the shape and the colour, and the word beside it.
STATES: Final = {
    State.QUEUED: ("pending", "Queued"),
    State.LEASED: ("info", "Taken up"),
    State.TRANSMITTING: ("info", "Being sent"),
    State.DEFERRED: ("warning", "Deferred"),
    State.UNCERTAIN: ("warning", "Uncertain"),
    State.SENT: ("ok", "Sent"),
    State.FAILED: ("error", "Failed"),
    State.EXPIRED: ("error", "Expired"),
    State.CANCELLED: ("skipped", "Cancelled"),
    State.SUPPRESSED: ("skipped", "Suppressed"),
}
_SENT_IN_PART: Final = ("warning", "Sent in part")
_RECIPIENTS: Final = {
    RecipientState.PENDING: ("pending", "Not yet"),
    RecipientState.ACCEPTED: ("ok", "Accepted"),
    RecipientState.DEFERRED: ("warning", "Deferred"),
    RecipientState.REFUSED: ("error", "Refused"),
}
_STILL_TO_GO: Final = (RecipientState.PENDING, RecipientState.DEFERRED)
_NOT_SENT: Final = ("skipped", "Not sent")
_NOBODY_KNOWS: Final = ("warning", "Unknown")
_OUTCOMES: Final = {
    "accepted": ("ok", "Accepted"),
    Temporary.outcome: ("warning", "Not now"),
    Permanent.outcome: ("error", "Refused"),
    Misconfigured.outcome: ("error", "Settings at fault"),
    OutcomeUnknown.outcome: ("warning", "Never confirmed"),
    "not_configured": ("error", "No server"),
    "suppressed": ("skipped", "Suppressed"),
}
_ACCEPTED_IN_PART: Final = ("warning", "Accepted in part")
_NO_SERVER: Final = "Add a server, test it and activate it."


@dataclass(frozen=True, kw_only=True)
class RecipientFacts:
    """One recipient's own result."""

    address: str
    state: RecipientState
    code: int | None
    enhanced: str | None
    level: str
    word: str


@dataclass(frozen=True, kw_only=True)
class MailFacts:
    """A queued mail; ``id`` is its place in the log, to go on from."""

    id: int
    mail_id: str
    message_id: str
    kind: str
    priority: str
    state: State
    level: str
    word: str
    reason: str
    recipients: list[RecipientFacts]
    attempts: int
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    account_id: int | None

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def is_due(self) -> bool:
        """Whether it goes as soon as a worker is free."""
        return self.due_at <= clock.now()


@dataclass(frozen=True, kw_only=True)
class AttemptAdvice:
    """What a failure means, and what to do about it."""

    title: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class AttemptFacts:
    """One server tried for one mail; ``recipients`` are masked, ``reply`` is the server's own text."""

    id: int
    at: datetime
    ms: int
    kind: str
    message_id: str
    recipients: str
    refused: list[dict[str, Any]]
    server: str
    outcome: str
    level: str
    word: str
    phase: str | None
    fault: str | None
    code: int | None
    enhanced: str | None
    reply: str
    worker: str | None
    account_id: int | None
    advice: AttemptAdvice | None


def mail_facts(row: OutboxMail) -> MailFacts:
    state = State(row.state)
    recipients = [_recipient(each, row) for each in row.recipients]
    in_part = state is State.SENT and any(each.state is not RecipientState.ACCEPTED for each in recipients)
    level, word = _SENT_IN_PART if in_part else STATES[state]
    return MailFacts(
        id=row.id,
        mail_id=row.mail_id,
        message_id=row.message_id,
        kind=row.kind,
        priority=Priority(row.priority).name.lower(),
        state=state,
        level=level,
        word=word,
        reason=words(row.reason),
        recipients=recipients,
        attempts=row.attempts,
        created_at=row.created_at,
        due_at=row.due_at,
        expires_at=row.expires_at,
        settled_at=row.settled_at,
        account_id=row.account_id,
    )


def attempt_facts(row: EmailAttempt) -> AttemptFacts:
    level, word = _OUTCOMES.get(row.outcome, ("info", row.outcome.replace("_", " ").capitalize()))
    if row.outcome == "accepted" and row.refused:
        level, word = _ACCEPTED_IN_PART
    return AttemptFacts(
        id=row.id,
        at=row.started_at,
        ms=row.ms,
        kind=row.kind,
        message_id=row.message_id,
        recipients=row.recipients,
        refused=row.refused,
        server=row.server,
        outcome=row.outcome,
        level=level,
        word=word,
        phase=row.phase,
        fault=row.fault,
        code=row.code,
        enhanced=row.enhanced,
        reply=printable(row.reply, LONGEST_REPLY),
        worker=row.worker,
        account_id=row.account_id,
        advice=_advice(row),
    )


def public_dict(mail: MailFacts) -> dict[str, Any]:
    """A queued mail as the API and the commands show it."""
    return {
        "id": mail.mail_id,
        "message_id": mail.message_id,
        "kind": mail.kind,
        "priority": mail.priority,
        "state": mail.state,
        "reason": mail.reason,
        "recipients": [
            {"address": each.address, "state": each.state, "code": each.code, "enhanced": each.enhanced}
            for each in mail.recipients
        ],
        "attempts": mail.attempts,
        "created_at": mail.created_at.isoformat(),
        "due_at": mail.due_at.isoformat(),
        "expires_at": mail.expires_at.isoformat(),
        "settled_at": mail.settled_at.isoformat() if mail.settled_at else None,
        "account_id": mail.account_id,
    }


def attempt_dict(attempt: AttemptFacts) -> dict[str, Any]:
    """An attempt as the API and the commands show it."""
    names = ("ms", "server", "outcome", "phase", "fault", "code", "enhanced", "reply", "worker", "refused")
    advice = attempt.advice
    return {
        "at": attempt.at.isoformat(),
        **{name: getattr(attempt, name) for name in names},
        "diagnosis": {"title": advice.title, "remedy": advice.remedy} if advice else None,
    }


def direct_dict(attempt: AttemptFacts) -> dict[str, Any]:
    """A mail that was sent directly: its attempt, and what else is known of it."""
    names = ("message_id", "kind", "recipients", "account_id")
    return {**{name: getattr(attempt, name) for name in names}, **attempt_dict(attempt)}


def _recipient(stored: Recipient, row: OutboxMail) -> RecipientFacts:
    state = RecipientState(stored["state"])
    level, word = _RECIPIENTS[state]
    if state in _STILL_TO_GO and row.uncertain:
        level, word = _NOBODY_KNOWS
    elif state in _STILL_TO_GO and row.state in SETTLED:
        level, word = _NOT_SENT
    return RecipientFacts(
        address=stored["address"],
        state=state,
        code=stored.get("code"),
        enhanced=stored.get("enhanced"),
        level=level,
        word=word,
    )


def _advice(row: EmailAttempt) -> AttemptAdvice | None:
    """What a failed attempt means; None if it did not fail, or not in a way that this version knows."""
    if row.outcome == "not_configured":
        return AttemptAdvice(title=diagnosis.NOT_CONFIGURED, remedy=_NO_SERVER)
    if row.phase not in list(Phase) or row.fault not in list(Fault):
        return None
    found = diagnosis.explain(
        phase=row.phase,
        fault=row.fault,
        code=row.code,
        enhanced=row.enhanced,
        text=row.reply,
        host=row.server.rpartition("(")[2].partition(":")[0],
        may_have_been_sent=row.outcome == "unknown",
    )
    return AttemptAdvice(title=found.title, remedy=found.remedy)
