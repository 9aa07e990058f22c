"""What happened to a mail, in the order of time: who queued it, took it up, asked for what, and how it ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from database import api_token_db, audit_db, mail_deed_db, user_db
from database.attempt_db import EmailAttempt
from database.outbox_db import OutboxMail, State
from services import audit
from services.audit import Action
from services.outbox.facts import SENT_IN_PART, STATES, AttemptFacts, Look, is_in_part
from services.outbox.opens import OpensData
from services.outbox.reasons import Reason, code_of
from utils.json_shapes import Moment
from utils.numbers import whole_number

QUEUED, CLAIMED, ASKED, RELEASED, HELD, OPENED = "queued", "claimed", "asked", "released", "held", "opened"
CORRECTED, COPIED = "corrected", "copied"
_DEEDS: Final = {
    Action.MAIL_RETRIED: ASKED,
    Action.MAIL_RELEASED: RELEASED,
    Action.MAIL_CANCELLED: State.CANCELLED.value,
}
_ON_MANY: Final = {"retry": ASKED, "cancel": State.CANCELLED.value, "correct": CORRECTED}  # the codes of rows
_LOOKS: Final = {
    QUEUED: Look("info", "Queued"),
    CLAIMED: Look("info", "Claimed by a worker"),
    ASKED: Look("info", "Asked to send at once"),
    RELEASED: Look("info", "Released"),
    HELD: STATES[State.HELD],
    CORRECTED: Look("info", "Sent to a corrected address"),
    COPIED: Look("info", "Made to go to a corrected address"),
    OPENED: Look("ok", "Opened"),
}
_MAYBE_OPENED: Final = Look("info", "May have been opened")
# At one moment a mail is queued first, then claimed, then tried; how it ended stands behind all of that.
_ORDER: Final = (
    QUEUED,
    COPIED,
    HELD,
    RELEASED,
    ASKED,
    CLAIMED,
    "",
    *(state.value for state in STATES),
    CORRECTED,
    OPENED,
)


@dataclass(frozen=True, kw_only=True)
class MailEventData:
    """What happened beside the attempts: queued, claimed, asked (to send at once), released, held, corrected (it was
    sent to a corrected address, as another email), copied (it is that email), opened, or the state that it ended in.

    ``by`` is who did it, a worker's name if it was claimed; null if that is not known. ``other`` is the other email.
    """

    at: Moment
    what: str
    by: str | None
    other: str | None = None

    @property
    def look(self) -> Look:
        return _LOOKS.get(self.what) or STATES[State(self.what)]


@dataclass(frozen=True, kw_only=True)
class UnsureOpen(MailEventData):
    """An open that may have been a machine's."""

    @property
    def look(self) -> Look:
        return _MAYBE_OPENED


@dataclass(frozen=True, kw_only=True)
class SentInPart(MailEventData):
    """The end of a mail that some of its recipients have not got."""

    @property
    def look(self) -> Look:
        return SENT_IN_PART


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    """One line of the story: an attempt, or something else that happened."""

    at: datetime
    event: MailEventData | None = None
    attempt: AttemptFacts | None = None

    @property
    def place(self) -> tuple[datetime, int]:
        return self.at, _ORDER.index(self.event.what if self.event else "")


def history(
    session: Session, row: OutboxMail, attempts: Sequence[EmailAttempt], opened: OpensData | None, *, is_for_owner: bool
) -> list[MailEventData]:
    """All that is known to have happened, but for the attempts; its owner is not told who acts for the system."""
    events = [
        MailEventData(at=row.created_at, what=QUEUED, by=_promised_by(session, row)),
        *_claims(attempts),
        *_deeds(session, row),
        *_deeds_on_many(session, row),
        *_held(session, row),
    ]
    if is_for_owner:
        events = [each if each.what == QUEUED else replace(each, by=None) for each in events]
    if row.settled_at and not (row.state == State.CANCELLED and any(each.what == row.state for each in events)):
        shape = SentInPart if is_in_part(row.state, [each["state"] for each in row.recipients]) else MailEventData
        events.append(shape(at=row.settled_at, what=row.state, by=None))
    if opened and opened.first:
        seen = MailEventData if opened.reliable else UnsureOpen
        events.append(seen(at=opened.first, what=OPENED, by=None))
    return sorted(events, key=lambda each: (each.at, _ORDER.index(each.what)))


def entries(events: Iterable[MailEventData], attempts: Iterable[AttemptFacts]) -> list[TimelineEntry]:
    """Events and attempts in one row."""
    found = [TimelineEntry(at=each.at, event=each) for each in events]
    found += [TimelineEntry(at=each.at, attempt=each) for each in attempts]
    return sorted(found, key=lambda each: each.place)


def _promised_by(session: Session, row: OutboxMail) -> str | None:
    """Who queued it, as far as that was noted: an account, one of its API tokens, or how else."""
    account = user_db.find(session, row.account_id) if row.account_id is not None else None
    name = f"account {account.username}" if account else "an account that was deleted" if row.account_id else ""
    origin = row.queued_by or ""
    if origin.startswith(audit.OF_TOKEN):
        number = whole_number(origin.removeprefix(audit.OF_TOKEN))
        found = api_token_db.find(session, number) if number is not None else None
        token = f"API token “{found[0].name}”" if found else "an API token"
        return f"{name or 'an account'}, with {token}"
    how = {audit.ADMIN_TOKEN: "ADMIN_TOKEN", audit.COMMAND: "a command"}.get(origin, "")
    return ", with ".join(filter(None, (name, how))) or None


def _claims(attempts: Iterable[EmailAttempt]) -> list[MailEventData]:
    """One for each time that a worker took the mail up, which may be tried at several servers then."""
    claims = {(each.started_at, each.worker) for each in attempts if each.worker}
    return [MailEventData(at=at, what=CLAIMED, by=worker) for at, worker in claims]


def _deeds(session: Session, row: OutboxMail) -> list[MailEventData]:
    """What people did with this one mail, as long as the audit trail goes back."""
    found = audit_db.of_subject(session, f"mail {row.mail_id}")
    told = [(each, _DEEDS.get(Action(each.action)) if each.action in set(Action) else None) for each in found]
    return [MailEventData(at=each.at, what=what, by=each.actor) for each, what in told if what]


def _deeds_on_many(session: Session, row: OutboxMail) -> list[MailEventData]:
    """What people did with this mail and others at once."""
    found = []
    for each in mail_deed_db.of_mail(session, row.id, row.mail_id):
        is_copy = each.copy == row.mail_id
        what = COPIED if is_copy else _ON_MANY.get(each.action)
        if what:
            other = each.mail_id if is_copy else each.copy
            found.append(MailEventData(at=each.done_at, what=what, by=each.actor, other=other))
    return found


def _held(session: Session, row: OutboxMail) -> list[MailEventData]:
    """Since when a mail is held, and by whom, where that can be told."""
    if row.state != State.HELD:
        return []
    if code_of(row.reason) == Reason.ACCOUNT_DISABLED and row.account_id is not None:
        account = user_db.find(session, row.account_id)
        return [MailEventData(at=account.disabled_at, what=HELD, by=None)] if account and account.disabled_at else []
    if code_of(row.reason) != Reason.HELD:
        return []
    newest = [
        audit_db.find(session, action=action, before_id=None, limit=1)
        for action in (Action.MAIL_HELD, Action.DATABASE_RESTORED)
    ]
    holds = [each for found in newest for each in found if each.at >= row.created_at]
    return [MailEventData(at=each.at, what=HELD, by=each.actor) for each in holds[:1]]
