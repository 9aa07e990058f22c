"""The mail log, searched by what its rows hold."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, cast, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from database.attempt_db import EmailAttempt
from database.outbox_db import OutboxMail, State

_OUTCOMES: Final[dict[State, tuple[str, ...]]] = {
    State.SENT: ("accepted",),
    State.FAILED: ("temporary", "permanent", "misconfigured", "not_configured", "throttled"),
    State.UNCERTAIN: ("unknown",),
    State.SUPPRESSED: ("suppressed",),
}


@dataclass(frozen=True, kw_only=True)
class SearchTerms:
    """What is true of the rows that are wanted; what is empty is true of all."""

    recipient: str
    message_id: str
    tag: str
    states: Sequence[State]
    server: str
    account_id: int | None
    since: datetime | None
    until: datetime | None
    cause: str


def page(session: Session, wanted: SearchTerms, before: int | None, limit: int) -> list[OutboxMail]:
    """The newest mails first, without content."""
    query = select(OutboxMail).options(defer(OutboxMail.content)).where(*_of_mails(wanted), *_older(before))
    return list(session.scalars(query.order_by(OutboxMail.id.desc()).limit(limit)))


def ids(session: Session, wanted: SearchTerms, before: int, limit: int) -> list[tuple[int, str]]:
    """The numbers and the ids of the newest mails."""
    query = select(OutboxMail.id, OutboxMail.mail_id).where(*_of_mails(wanted), *_older(before))
    return [(row[0], row[1]) for row in session.execute(query.order_by(OutboxMail.id.desc()).limit(limit))]


def count(session: Session, wanted: SearchTerms) -> int:
    return session.scalar(select(func.count()).select_from(OutboxMail).where(*_of_mails(wanted))) or 0


def newest(session: Session) -> int:
    """The highest number of a mail."""
    return session.scalar(select(func.max(OutboxMail.id))) or 0


def direct(session: Session, wanted: SearchTerms, before: int | None, limit: int) -> list[EmailAttempt]:
    """The newest attempts at mails that were sent directly."""
    query = select(EmailAttempt).where(EmailAttempt.mail_id.is_(None), *_of_attempts(wanted))
    if before is not None:
        query = query.where(EmailAttempt.id < before)
    return list(session.scalars(query.order_by(EmailAttempt.id.desc()).limit(limit)))


def _older(before: int | None) -> list[ColumnElement[bool]]:
    return [] if before is None else [OutboxMail.id < before]


def _of_mails(wanted: SearchTerms) -> list[ColumnElement[bool]]:
    found = _of_both(wanted, OutboxMail)
    if wanted.recipient:
        found.append(_names(wanted.recipient))
    if wanted.tag:
        found.append(OutboxMail.tag == wanted.tag)
    if wanted.states:
        found.append(OutboxMail.state.in_(wanted.states))
    if wanted.server:
        tried = EmailAttempt.mail_id == OutboxMail.mail_id, EmailAttempt.server == wanted.server
        found.append(exists().where(*tried))
    return found + _within(wanted, OutboxMail.created_at)


def _of_attempts(wanted: SearchTerms) -> list[ColumnElement[bool]]:
    found = _of_both(wanted, EmailAttempt)
    if wanted.recipient:
        domain = wanted.recipient.rpartition("@")[2]
        found.append(EmailAttempt.recipients.icontains(f"@{domain}", autoescape=True))
    if wanted.states:
        outcomes = [outcome for state in wanted.states for outcome in _OUTCOMES.get(state, ())]
        found.append(EmailAttempt.outcome.in_(outcomes))
    if wanted.server:
        found.append(EmailAttempt.server == wanted.server)
    return found + _within(wanted, EmailAttempt.started_at)


def _of_both(wanted: SearchTerms, shape: Any) -> list[ColumnElement[bool]]:  # noqa: ANN401 - a table
    found: list[ColumnElement[bool]] = []
    if wanted.message_id:
        found.append(shape.message_id == wanted.message_id)
    if wanted.account_id is not None:
        found.append(shape.account_id == wanted.account_id)
    if wanted.cause:
        # A detail may stand behind the code.
        found.append(or_(shape.reason == wanted.cause, shape.reason.startswith(f"{wanted.cause}:", autoescape=True)))
    return found


def _within(wanted: SearchTerms, moment: InstrumentedAttribute[datetime]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.since:
        found.append(moment >= wanted.since)
    if wanted.until:
        found.append(moment < wanted.until)
    return found


def _names(recipient: str) -> ColumnElement[bool]:
    """Whether the recipients name this address, or one at this domain; as JSON holds them."""
    local, _, domain = recipient.rpartition("@")
    part = json.dumps(f"{local}@{domain}")[1:-1]
    before = '"address": "' if local else ""
    return cast(OutboxMail.recipients, Text).icontains(f'{before}{part}"', autoescape=True)
