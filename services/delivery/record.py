"""The record of an attempt: a row, one log line, a note on the configuration; never a subject, a body, an address."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import attempt_db, smtp_db
from database.attempt_db import LONGEST_REPLY, LONGEST_SERVER, AttemptRow, EmailAttempt
from database.engine import driver_transaction, transaction
from database.outbox_db import OutboxMail
from services.delivery.outcome import Outcome
from services.message.draft import Draft
from services.settings import sealing
from services.settings.route import RouteStep
from services.smtp.habits import habits_of
from services.smtp.settings import SmtpSettings
from utils import clock
from utils.addresses import mask_address
from utils.errors import Fault, OutcomeUnknown, Phase
from utils.log_utils import printable

log = structlog.get_logger(__name__)


_LOGGED: Final = frozenset("kind server config_id outcome phase fault code enhanced ms message_id".split())


def record(draft: Draft, outcome: Outcome, started_at: datetime, account_id: int | None = None) -> None:
    """Write the attempt's row and its one log line, and on the configuration what is news of it."""
    try:
        row = told(draft, outcome, started_at, account_id)
        with driver_transaction(durable=False) as driver:
            attempt_db.add_all(driver, [row])
        _note_news([outcome], _falls([outcome]), _at_fault([outcome]))
    except Exception as failure:
        # The mail's fate is decided already, whatever this is: only its record is lost, and the log line above has it.
        log.error("attempt_not_recorded", kind=type(failure).__name__, message_id=draft.message_id)


def note(outcomes: Sequence[Outcome], about_mails: Sequence[Outcome] = ()) -> None:
    """Write on the configurations what these attempts at queued mails showed, in a transaction of its own.

    ``about_mails`` are those that failed for a reason of their mail, since the server serves others.
    """
    passed_over = {id(outcome) for outcome in about_mails}
    counting = [outcome for outcome in outcomes if id(outcome) not in passed_over]
    try:
        _note_news({outcome.server: outcome for outcome in outcomes}.values(), _falls(outcomes), _at_fault(counting))
    except SQLAlchemyError as failure:
        log.error("attempts_not_noted", kind=type(failure).__name__)
    over = {each.skipped[0].server: each for each in outcomes if each.receipt and each.skipped}
    for outcome in over.values():
        note_failover(outcome.skipped, outcome)


def told(
    draft: Draft,
    outcome: Outcome,
    started_at: datetime,
    account_id: int | None,
    *,
    mail_id: str | None = None,
    worker: str | None = None,
) -> AttemptRow:
    """Write the one line that the log gets for an attempt.

    Gives what is kept of it: never a subject, a body or an unmasked address.
    """
    error, server = outcome.error, outcome.server
    answered = error or (outcome.receipt.reply if outcome.receipt else None)
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
        "server": _server_label(server),
        "outcome": outcome.kind,
        "phase": error.phase if error else None,
        "fault": error.fault if error else None,
        "code": answered.code if answered else None,
        "enhanced": answered.enhanced if answered else None,
        "reply": printable(answered.text, LONGEST_REPLY) if answered else outcome.own_reason,
        "worker": worker,
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
    return row


def of_lost(session: Session, mail: OutboxMail, now: datetime, reason: str) -> EmailAttempt:
    """What is kept of an attempt that nobody can tell of, since the worker died in the middle of it."""
    kind, _, config_id = (mail.pinned_to or "").partition(":")
    # Pinned by the fence to “config:<id>” or “env”; that configuration may be deleted meanwhile.
    config = smtp_db.find(session, int(config_id)) if config_id else None
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
        server=f"{config.name} ({config.smtp_server}:{config.smtp_port})"[:LONGEST_SERVER] if config else kind,
        outcome=OutcomeUnknown.outcome,
        phase=Phase.MESSAGE,
        fault=Fault.CLOSED,
        reply=reason,
    )


def _falls(outcomes: Iterable[Outcome]) -> Counter[int]:
    """How many mails went by another server than their account's own, by that."""
    return Counter(fallen for outcome in outcomes if (fallen := outcome.fell_back_from) is not None)


def _at_fault(outcomes: Iterable[Outcome]) -> dict[int, SmtpSettings]:
    """The configurations that failed because of their settings, with these."""
    return {
        outcome.server.config_id: outcome.server.settings
        for outcome in outcomes
        if outcome.is_settings_fault and outcome.server and outcome.server.settings and outcome.server.config_id
    }


def _note_news(outcomes: Iterable[Outcome], falls: Counter[int], at_fault: Mapping[int, SmtpSettings]) -> None:
    """Write on each configuration what its last attempt showed, where that is news, and how often mail fell back.

    Those ``at_fault`` lose the mark of a test that these settings have passed.
    """
    news = [outcome for outcome in outcomes if is_news(outcome)]
    if not news and not at_fault:
        return
    with transaction(durable=False) as session:
        # What a power cut takes back, the next attempt shows again.
        for outcome in news:
            server, noted = outcome.server, outcome.message if outcome.error else None
            if server is None or server.config_id is None:
                continue
            if server.last_error != noted:
                smtp_db.note_error(session, server.config_id, noted)
            if server.has_failed_over and not outcome.error:
                smtp_db.clear_failover(session, server.config_id)
        for config_id, settings in at_fault.items():
            smtp_db.take_mark(session, config_id, sealing.marks_of(settings))
        for config_id, times in falls.items():
            smtp_db.count_falls(session, config_id, times)


def is_news(outcome: Outcome) -> bool:
    """Whether the configuration does not say yet what this attempt showed."""
    if outcome.was_ended:
        return False
    server, noted = outcome.server, outcome.message if outcome.error else None
    if outcome.is_throttled:  # which says nothing of the server
        return False
    if server is None:
        return False
    is_mended = (server.has_failed_over or server.is_told_broken) and not outcome.error
    return server.last_error != noted or is_mended or outcome.fell_back_from is not None


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
    try:
        with transaction(durable=False) as session:
            for down in skipped:
                if not down.is_throttled and down.server and down.server.config_id is not None:
                    smtp_db.note_failover(session, down.server.config_id, _server_label(outcome.server), clock.now())
    except SQLAlchemyError as failure:
        log.error("failover_not_recorded", kind=type(failure).__name__)
