"""One attempt to deliver one mail: through which server, with what outcome, written down once."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from database import smtp_db
from database.attempt_db import EmailAttempt
from database.engine import transaction
from services import smtp_diagnosis
from services.composing import Draft, Sender, serialise
from services.smtp_client import Envelope, Policy, Receipt, SmtpClient
from services.smtp_route import RouteStep
from services.smtp_settings import SmtpSettings, mail_host
from utils import clock
from utils.addresses import mask_address
from utils.env_utils import get_settings
from utils.errors import DeliveryError, Fault, Phase

log = structlog.get_logger(__name__)

ACCEPTED: Final = "accepted"
NOT_CONFIGURED: Final = "not_configured"
TOTAL_SECONDS: Final = 20.0  # what a caller who waits for the answer can bear
CONNECT_SECONDS: Final = 5.0
BEFORE_ENVELOPE: Final = (Phase.DNS, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.ENCRYPTION, Phase.SIGN_IN)
LINK_FAULTS: Final = (Fault.TIMEOUT, Fault.CLOSED, Fault.NOT_SMTP)
GOING_AWAY: Final = 421
# The server's or its account's allowance is used up, in the codes of RFC 3463, Google and Microsoft.
QUOTA_STATUSES: Final = ("4.3.1", "4.4.5", "5.4.5", "5.1.90", "5.7.236", "5.7.705")
# Others have only words. At RCPT a quota may be the recipient's own, of which another server knows no more.
QUOTA_WORDS: Final = re.compile(
    r"\b(?:daily|hourly|monthly|sending|quota)\b.*\b(?:exceeded|reached)|exceeded .*\bquota"
)
QUOTA_PHASES: Final = (Phase.SENDER, Phase.DATA)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a mail. ``message`` is from a closed set; ``ms`` counts the whole attempt."""

    kind: str
    message: str
    ms: int
    server: RouteStep | None = None
    receipt: Receipt | None = None
    error: DeliveryError | None = None
    refused: list[dict[str, Any]] = field(default_factory=list)
    skipped: tuple["Outcome", ...] = ()  # servers tried before, which were down

    @property
    def is_complete(self) -> bool:
        """Whether every recipient was accepted."""
        return self.kind == ACCEPTED and not self.refused


def deliver(draft: Draft, servers: Iterable[RouteStep], account_id: int | None = None) -> Outcome:
    """Try once to send a mail: through the first server, or the next one where the first is down.

    Never raises for a mail problem: the outcome says what happened. The next server is tried only before the
    message was handed over, never for a refused recipient or message.
    """
    skipped: list[Outcome] = []
    outcome: Outcome | None = None
    for server in servers:
        started_at, started = clock.now(), time.monotonic()
        outcome = replace(_attempt(server, draft, started, skipped), skipped=tuple(skipped))
        _record(draft, outcome, EmailAttempt(started_at=started_at, account_id=account_id))
        if not (server.failover and outcome.error and is_server_down(outcome.error)):
            break
        skipped.append(outcome)
    if outcome is None:
        outcome = Outcome(kind=NOT_CONFIGURED, message=smtp_diagnosis.NOT_CONFIGURED, ms=0)
        _record(draft, outcome, EmailAttempt(started_at=clock.now(), account_id=account_id))
    elif outcome.kind == ACCEPTED and skipped:
        _note_failover(skipped, outcome)
    return outcome


def is_server_down(error: DeliveryError) -> bool:
    """Whether the server, and not the mail, is at fault, and the message has not been handed over."""
    if error.may_have_been_sent:
        return False
    if error.phase is Phase.MESSAGE:
        return error.fault in LINK_FAULTS  # before the final dot; an answer is about the message
    return (
        error.phase in BEFORE_ENVELOPE
        or error.fault in LINK_FAULTS
        or error.code == GOING_AWAY
        or error.enhanced in QUOTA_STATUSES
        or (error.phase in QUOTA_PHASES and QUOTA_WORDS.search(error.text.lower()) is not None)
    )


def policy_for(settings: SmtpSettings, total_seconds: float = TOTAL_SECONDS) -> Policy:
    """How the conversation with a server is to be held; the whole of it within ``total_seconds``."""
    ours = get_settings()
    return Policy(
        ehlo_name=settings.helo_hostname or mail_host(settings.from_email),
        ca_file=ours.smtp_ca_file,
        allow_plaintext_login=ours.smtp_allow_plaintext_login,
        total_seconds=total_seconds,
        connect_seconds=min(CONNECT_SECONDS, settings.timeout_seconds),
        dns_resolver=ours.dns_resolver,
    )


def sender_of(settings: SmtpSettings, instead_of: SmtpSettings | None = None) -> Sender:
    """Who the mail is from. Where this server stands in for another, replies still go to that one's From."""
    reply_to = settings.reply_to
    if instead_of and instead_of.from_email != settings.from_email:
        reply_to = instead_of.reply_to or instead_of.from_email
    return Sender(email=settings.from_email, name=settings.from_name, reply_to=reply_to)


def _attempt(server: RouteStep, draft: Draft, started: float, skipped: Sequence[Outcome]) -> Outcome:
    settings = server.settings
    if settings is None:
        raise ValueError("a server without settings cannot send")
    client = SmtpClient(settings, policy_for(settings))
    try:
        client.open()
        envelope = Envelope(sender=settings.from_email, recipients=draft.recipients)
        first = skipped[0].server.settings if skipped and skipped[0].server else None
        receipt = client.send(envelope, serialise(draft, sender_of(settings, instead_of=first)))
    except DeliveryError as error:
        return Outcome(
            kind=error.outcome,
            message=smtp_diagnosis.message(error),
            ms=_since(started),
            server=server,
            error=error,
        )
    finally:
        client.close()
    refused = [
        {"recipient": mask_address(address), "code": reply.code, "enhanced": reply.enhanced}
        for address, reply in receipt.refused.items()
    ]
    return Outcome(kind=ACCEPTED, message="Sent", ms=_since(started), server=server, receipt=receipt, refused=refused)


def _note_failover(skipped: Sequence[Outcome], outcome: Outcome) -> None:
    """Write on each configuration that was down where its mail went instead."""
    try:
        with transaction(durable=False) as session:
            for down in skipped:
                if down.server and down.server.config_id is not None:
                    smtp_db.note_failover(session, down.server.config_id, _server_label(outcome.server), clock.now())
    except SQLAlchemyError as failure:
        log.error("failover_not_recorded", kind=type(failure).__name__)


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _record(draft: Draft, outcome: Outcome, row: EmailAttempt) -> None:
    """Write the attempt's row and its one log line: never a subject, a body or an unmasked address."""
    error, server = outcome.error, outcome.server
    reply = outcome.receipt.reply if outcome.receipt else None
    noted = outcome.message if error else None
    row.kind, row.message_id, row.ms = draft.kind, draft.message_id, outcome.ms
    row.recipients = ", ".join(mask_address(address) for address in draft.recipients)
    row.refused, row.outcome = outcome.refused, outcome.kind
    row.server = _server_label(server)
    row.config_id = server.config_id if server else None
    row.phase, row.fault = (error.phase, error.fault) if error else (None, None)
    row.code = error.code if error else reply.code if reply else None
    row.enhanced = error.enhanced if error else reply.enhanced if reply else None
    log.info(
        "email_attempt",
        kind=row.kind,
        recipient=row.recipients,
        server=row.server,
        route=server.reason if server else None,
        config_id=row.config_id,
        outcome=row.outcome,
        phase=row.phase,
        fault=row.fault,
        code=row.code,
        enhanced=row.enhanced,
        ms=row.ms,
        message_id=row.message_id,
        refused=len(row.refused),
    )
    try:
        with transaction(durable=False) as session:
            session.add(row)
            if server and row.config_id is not None and server.last_error != noted:
                smtp_db.note_error(session, row.config_id, noted)
            if server and row.config_id is not None and server.has_failed_over and not error:
                smtp_db.clear_failover(session, row.config_id)
    except SQLAlchemyError as failure:
        # The mail's fate is decided already; only its record is lost, and the log line above has it.
        log.error("attempt_not_recorded", kind=type(failure).__name__, message_id=row.message_id)


def _server_label(server: RouteStep | None) -> str:
    if server is None or server.settings is None:
        return ""
    return f"{server.name} ({server.settings.host}:{server.settings.port})"
