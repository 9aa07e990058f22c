"""The record of an attempt: a row, one log line, a note on the configuration; never a subject, a body, an address."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import attempt_db, conversation_db, smtp_db
from database.attempt_db import LONGEST_QUEUE_ID, LONGEST_REPLY, LONGEST_SERVER, AttemptRow, EmailAttempt
from database.conversation_db import ConversationRow
from database.engine import driver_transaction, transaction
from database.mail_facets import key_of
from database.outbox_db import OutboxMail
from services import address_key, conversations, tracing
from services.delivery import standing
from services.delivery.outcome import DELETED_SERVER, Outcome
from services.message.draft import Draft
from services.outbox.reasons import Reason
from services.settings import health, sealing
from services.settings.health import Meeting, What
from services.settings.route import RouteStep
from services.smtp.habits import habits_of
from services.smtp.settings import SmtpSettings
from utils import clock
from utils.addresses import mask_address
from utils.errors import Fault, OutcomeUnknown, Phase
from utils.log_utils import logged, printable

log = structlog.get_logger(__name__)


_LOGGED: Final = frozenset("kind server config_id outcome phase fault code enhanced ms message_id".split())


class RecordedAttempt(NamedTuple):
    """What is written of an attempt: its row, and the conversation that the row names, if it is kept."""

    row: AttemptRow
    conversations: Sequence[ConversationRow]


def record(draft: Draft, outcome: Outcome, started_at: datetime, account_id: int | None = None) -> None:
    """Write the attempt's row and its one log line, and on the configuration what is news of it."""
    try:
        attempt = told(draft, outcome, started_at, account_id)
        found = address_key.numbers_now(draft.recipients)
        row = attempt.row
        row |= {"recipient_key": found.recipient_key, "domain_key": found.domain_key}
        row |= {"tag": draft.tag or None, "subject": draft.kept_subject}
        with driver_transaction(durable=False) as driver:
            attempt_db.add_direct(driver, row, found.names)
            conversation_db.add_all(driver, attempt.conversations)
        _note_news([outcome])
        tracing.sent([attempt.row])
    except Exception as failure:
        # The mail's fate is decided already, whatever this is: only its record is lost, and the log line above has it.
        log.error("attempt_not_recorded", kind=type(failure).__name__, message_id=draft.message_id)


def note(outcomes: Sequence[Outcome]) -> None:
    """Write on the configurations what these attempts at queued mails showed, in a transaction of its own."""
    try:
        _note_news(outcomes)
    except SQLAlchemyError as failure:
        log.error("attempts_not_noted", kind=type(failure).__name__)
    over = {each.skipped[0].server: each for each in outcomes if each.receipt and each.skipped}
    for outcome in over.values():
        note_failover(outcome.skipped, outcome)


def note_met(server: RouteStep, meeting: Meeting) -> None:
    """Write down what was met at a server without an attempt at a mail."""
    with logged(log.error, "attempts_not_noted", SQLAlchemyError), transaction(durable=False) as session:
        health.note(session, server.owner, server.config_id, server.fingerprint, [meeting])
        if meeting.what is What.ANSWERED and server.config_id is not None:
            smtp_db.note_error(session, server.config_id, None)
            smtp_db.clear_failover(session, server.config_id)


def told(
    draft: Draft,
    outcome: Outcome,
    started_at: datetime,
    account_id: int | None,
    *,
    mail_id: str | None = None,
    worker: str | None = None,
) -> RecordedAttempt:
    """Write the one line that the log gets for an attempt.

    Gives what is kept of it: never a subject, a body or an unmasked address, but in a conversation, which is sealed.
    """
    error, server = outcome.error, outcome.server
    answered = error or (outcome.receipt.reply if outcome.receipt else None)
    mark = error.token_mark if error else ""
    conversation = _conversation(outcome, started_at)
    label = _server_label(server)
    row: AttemptRow = {
        "mail_id": mail_id,
        "account_id": account_id,
        "started_at": started_at,
        "ms": outcome.ms,
        "kind": draft.kind,
        "recipients": ", ".join([mask_address(address) for address in draft.recipients]),
        "refused": outcome.refused,
        "message_id": draft.message_id,
        "config_id": server.config_id if server else None,
        "server": label,
        "server_key": key_of(label) if label else None,
        "outcome": outcome.kind,
        "phase": error.phase if error else None,
        "fault": error.fault if error else None,
        "code": answered.code if answered else None,
        "enhanced": answered.enhanced if answered else None,
        "reply": printable(answered.text, LONGEST_REPLY - len(mark)) + mark if answered else outcome.own_reason,
        "worker": worker,
        "reason": outcome.cause,
        "tls": outcome.tls,
        "queue_id": printable(outcome.queue_id, LONGEST_QUEUE_ID) if outcome.queue_id else None,
        "conversation": conversation["id"] if conversation else None,
    }
    log.info(
        "email_attempt",
        recipient=row["recipients"],
        route=server.reason if server else None,
        refused=len(outcome.refused),
        **({"reason": outcome.own_reason} if outcome.own_reason else {}),
        **{name: value for name, value in row.items() if name in _LOGGED},
        **_habits(server),
    )
    return RecordedAttempt(row, [conversation] if conversation else [])


def _conversation(outcome: Outcome, started_at: datetime) -> ConversationRow | None:
    if not conversations.are_recorded() or not conversations.is_kept(has_failed=not outcome.is_complete):
        return None
    spoken = outcome.spoken
    return conversations.sealed(spoken, started_at) if spoken else None


def of_lost(session: Session, mail: OutboxMail, now: datetime, reason: str) -> EmailAttempt:
    """What is kept of an attempt that nobody can tell of, since the worker died in the middle of it."""
    kind, _, config_id = (mail.pinned_to or "").partition(":")
    # Pinned by the fence to “config:<id>” or “env”; that configuration may be deleted meanwhile.
    config = smtp_db.find(session, int(config_id)) if config_id else None
    label = f"{config.name} ({config.smtp_server}:{config.smtp_port})"[:LONGEST_SERVER] if config else ""
    server = label or (DELETED_SERVER if config_id else kind)
    return EmailAttempt(
        mail_id=mail.mail_id,
        worker=mail.leased_by,
        started_at=now,
        account_id=mail.account_id,
        ms=0,
        kind=mail.kind,
        recipients=", ".join(mask_address(recipient["address"]) for recipient in mail.recipients),
        refused=[],
        message_id=mail.message_id,
        config_id=config.id if config else None,
        server=server,
        server_key=key_of(server) if server else None,
        outcome=OutcomeUnknown.outcome,
        phase=Phase.MESSAGE,
        fault=Fault.CLOSED,
        reply=reason,
        reason=Reason.LOST_WORKER,
    )


def _falls(outcomes: Iterable[Outcome]) -> Counter[int]:
    """How many mails went by another server than their account's own, by that."""
    return Counter(fallen for outcome in outcomes if (fallen := outcome.fell_back_from) is not None)


def _at_fault(outcomes: Iterable[Outcome]) -> dict[int, SmtpSettings]:
    """The configurations that failed because of their settings, with these: they lose the mark of a passed test."""
    return {
        outcome.server.config_id: outcome.server.settings
        for outcome in outcomes
        if outcome.is_settings_fault and outcome.server and outcome.server.settings and outcome.server.config_id
    }


def _note_news(outcomes: Sequence[Outcome]) -> None:
    """Write down what these attempts showed of each server, where that is news, and how often mail fell back."""
    falls = _falls(outcomes)
    met: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.server is not None and outcome.meeting is not None and not outcome.server.is_local_inbox:
            met.setdefault(outcome.server.owner, []).append(outcome)
    news = [met[owner] for owner in sorted(met) if has_news(met[owner])]  # sorted: or two might wait for each other
    at_fault = _at_fault(outcomes)
    if not news and not falls and not at_fault:
        return
    with transaction(durable=False) as session:
        # What a power cut takes back, the next attempt shows again.
        for theirs in news:
            _note_met(session, theirs)
        for config_id, settings in at_fault.items():
            smtp_db.take_mark(session, config_id, sealing.marks_of(settings))
        for config_id, times in falls.items():
            smtp_db.count_falls(session, config_id, times)


def _note_met(session: Session, outcomes: Sequence[Outcome]) -> None:
    """Write down what mails met at one server; what broke with one connection is one failure."""
    by_error = {id(outcome.error) if outcome.error else id(outcome): outcome for outcome in outcomes}
    last, server = list(by_error.values())[-1], outcomes[-1].server
    if server is None:
        return
    pause = standing.pause_of(server)
    meetings = [
        replace(each.meeting, seconds=each.meeting.seconds or pause) for each in by_error.values() if each.meeting
    ]
    health.note(session, server.owner, server.config_id, server.fingerprint, meetings)
    if server.config_id is None:
        return
    if last.meeting and last.meeting.what is not What.ANSWERED:
        noted = last.message if last.error else None
        if server.last_error != noted:
            smtp_db.note_error(session, server.config_id, noted)
    if server.has_failed_over and not last.error:
        smtp_db.clear_failover(session, server.config_id)


def has_news(outcomes: Sequence[Outcome]) -> bool:
    """Whether these attempts at one server show anything of it that is not known yet."""
    if any(map(_is_news, outcomes)):
        return True
    seen = {each.server.owner: each.server for each in outcomes if each.server and each.meeting}
    try:
        return any(health.has_news(server) for server in seen.values() if not server.is_local_inbox)
    except SQLAlchemyError:  # whoever writes it down will tell
        return True


def _is_news(outcome: Outcome) -> bool:
    """Whether it is one by itself: a failure of the server, or the end of one that its configuration tells of."""
    server, meeting = outcome.server, outcome.meeting
    if outcome.fell_back_from is not None:
        return True
    if server is None or meeting is None or server.is_local_inbox:
        return False
    is_mended = server.has_failed_over or server.is_told_broken or server.last_error
    return meeting.what not in (What.WENT, What.ANSWERED) or bool(is_mended and not outcome.error)


def _habits(server: RouteStep | None) -> dict[str, list[str]]:
    """For the log line: what is odd about the server, if something is."""
    if server is None or server.settings is None:
        return {}
    lines = habits_of(server.settings.host, server.settings.port).lines()
    return {"habits": lines} if lines else {}


def _server_label(server: RouteStep | None) -> str:
    if server is None or server.settings is None:
        return ""
    return f"{server.name} ({server.settings.host}:{server.settings.port})"[:LONGEST_SERVER]


def note_failover(skipped: Sequence[Outcome], outcome: Outcome) -> None:
    """Write on each configuration that was down where its mail went instead."""
    with logged(log.error, "failover_not_recorded", SQLAlchemyError), transaction(durable=False) as session:
        for down in skipped:
            if not down.is_throttled and down.server and down.server.config_id is not None:
                smtp_db.note_failover(session, down.server.config_id, _server_label(outcome.server), clock.now())
