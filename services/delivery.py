"""One attempt to deliver a mail: through which server, and with what outcome."""

import re
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final, NamedTuple, cast

from services import attempts, recording, server_habits, smtp_diagnosis
from services.composing import Draft, Sender, serialise
from services.outcome import ACCEPTED, NOT_CONFIGURED, NOTHING_IS_SENT, SUPPRESSED, Outcome
from services.smtp_client import Envelope, Parcel, Policy, Receipt
from services.smtp_pool import pool
from services.smtp_route import RouteStep
from services.smtp_settings import SmtpSettings, mail_host
from utils import clock
from utils.addresses import mask_address
from utils.env_utils import get_settings
from utils.errors import LINK_FAULTS, DeliveryError, Fault, Phase, Temporary

TOTAL_SECONDS: Final = 20.0  # what a caller who waits for the answer can bear
WORKER_SECONDS: Final = 600.0  # for the answer to a message, where nobody waits (RFC 5321 4.5.3.2.6)
CONNECT_SECONDS: Final = 5.0
BEFORE_ENVELOPE: Final = (Phase.DNS, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.ENCRYPTION, Phase.SIGN_IN)
GOING_AWAY: Final = 421
# The server's or its account's allowance is used up, in the codes of RFC 3463, Google and Microsoft.
QUOTA_STATUSES: Final = ("4.3.1", "4.4.5", "5.4.5", "5.1.90", "5.7.236", "5.7.705")
# Others have only words. At RCPT a quota may be the recipient's own, of which another server knows no more.
QUOTA_WORDS: Final = re.compile(
    r"\b(?:daily|hourly|monthly|sending|quota)\b.*\b(?:exceeded|reached)|exceeded .*\bquota"
)
QUOTA_PHASES: Final = (Phase.SENDER, Phase.DATA)


class Consignment(NamedTuple):
    """A mail for some of its recipients; ``skipped`` are the outcomes at servers that were down."""

    draft: Draft
    recipients: tuple[str, ...]
    skipped: Sequence[Outcome]


def deliver(draft: Draft, servers: Iterable[RouteStep], account_id: int | None = None) -> Outcome:
    """Try once to send a mail: through the first server, or the next one where the first is down.

    Never raises for a mail problem: the outcome says what happened. The next server is tried only before the
    message was handed over, never for a refused recipient or message.
    """
    if recording.take(draft):
        return Outcome(kind=ACCEPTED, message="Recorded", ms=0)
    if get_settings().mail_suppress_send:
        outcome = Outcome(kind=SUPPRESSED, message=NOTHING_IS_SENT, ms=0)
        attempts.record(draft, outcome, clock.now(), account_id)
        return outcome
    return _along(servers, draft, account_id)


def _along(servers: Iterable[RouteStep], draft: Draft, account_id: int | None) -> Outcome:
    skipped: list[Outcome] = []
    outcome: Outcome | None = None
    for server in servers:
        started_at, started = clock.now(), time.monotonic()
        outcome = replace(_attempt(server, draft, started, skipped), skipped=tuple(skipped))
        attempts.record(draft, outcome, started_at, account_id)
        if not (server.failover and outcome.error and is_server_down(outcome.error)):
            break
        skipped.append(outcome)
    if outcome is None:
        outcome = Outcome(kind=NOT_CONFIGURED, message=smtp_diagnosis.NOT_CONFIGURED, ms=0)
        attempts.record(draft, outcome, clock.now(), account_id)
    elif outcome.kind == ACCEPTED and skipped:
        attempts.note_failover(skipped, outcome)
    return outcome


def failure_to_reach(server: RouteStep) -> Outcome | None:
    """Open a connection unless one is kept; what becomes of every mail if that fails, before any is at stake."""
    settings, started = _settings_of(server), time.monotonic()
    server_habits.recall(settings.host, settings.port)
    try:
        pool.warm(settings, policy_for(settings, WORKER_SECONDS), owner=server.owner)
    except DeliveryError as error:
        return _outcome(server, error, started)
    return None


def attempt_all(server: RouteStep, mails: Sequence[Consignment], *, in_flight: int) -> Generator[tuple[int, Outcome]]:
    """Try mails through one server, over one connection if it lasts; the place of each and its outcome, once known."""
    settings = _settings_of(server)
    started = time.monotonic()
    parcels = [_parcel(settings, mail, place) for place, mail in enumerate(mails)]
    policy = policy_for(settings, WORKER_SECONDS)
    sending = pool.send_all(settings, policy, parcels, owner=server.owner, in_flight=in_flight)
    try:
        with closing(sending) as results:
            for parcel, result in results:
                yield cast(int, parcel.tag), _outcome(server, result, started)
    finally:
        server_habits.keep(settings.host, settings.port)


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
    settings = _settings_of(server)
    parcel = _parcel(settings, Consignment(draft, draft.recipients, skipped), None)
    result: Receipt | DeliveryError
    server_habits.recall(settings.host, settings.port)
    try:
        result = pool.send(settings, policy_for(settings), parcel.envelope, parcel.content, owner=server.owner)
    except DeliveryError as error:
        result = error
    server_habits.keep(settings.host, settings.port)
    return _outcome(server, result, started)


def _settings_of(server: RouteStep) -> SmtpSettings:
    if server.settings is None:
        raise ValueError("a server without settings cannot send")
    return server.settings


def _parcel(settings: SmtpSettings, mail: Consignment, tag: object) -> Parcel:
    first = mail.skipped[0].server.settings if mail.skipped and mail.skipped[0].server else None
    content = serialise(mail.draft, sender_of(settings, instead_of=first))
    return Parcel(envelope=Envelope(sender=settings.from_email, recipients=mail.recipients), content=content, tag=tag)


def _outcome(server: RouteStep, result: Receipt | DeliveryError | None, started: float) -> Outcome:
    if result is None:  # never said by the pool
        result = Temporary(Phase.CONNECT, Fault.CLOSED, "The connection ended before the mail was tried.")
    if isinstance(result, DeliveryError):
        message = smtp_diagnosis.message(result)
        return Outcome(kind=result.outcome, message=message, ms=_since(started), server=server, error=result)
    refused = [
        {"recipient": mask_address(address), "code": reply.code, "enhanced": reply.enhanced}
        for address, reply in result.refused.items()
    ]
    return Outcome(kind=ACCEPTED, message="Sent", ms=_since(started), server=server, receipt=result, refused=refused)


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
