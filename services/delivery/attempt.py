"""One attempt to deliver a mail: through which server, and with what outcome."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeVar, cast

import structlog

from services import conversations
from services.delivery import account_limits, bounces, pace, record, retry_policy
from services.delivery import limits as sending_limits
from services.delivery.account_limits import Places
from services.delivery.bounces import TriedMail
from services.delivery.limits import Limits
from services.delivery.outcome import ACCEPTED, NOT_CONFIGURED, SUPPRESSED, THROTTLED, Outcome, Withheld
from services.delivery.pace import Place
from services.delivery.retry_policy import Whose
from services.diagnosis import diagnosis
from services.message import recording
from services.message.draft import Draft, Sender, serialise
from services.outbox import reasons
from services.outbox.reasons import Reason
from services.settings import protection, route, rules, server_habits, usable_senders
from services.settings.route import RouteStep
from services.smtp import grammar, our_faults
from services.smtp.client import Envelope, Parcel, Policy, Receipt
from services.smtp.patience import RFC_5321, Patience, Span
from services.smtp.pool import pool
from services.smtp.settings import SmtpSettings
from services.smtp.trace import Trace
from services.smtp.transcript import TracePage
from services.suppression import listing
from utils import clock, incidents
from utils.addresses import ascii_address, mask_address, parse_mailbox
from utils.env_utils import get_settings
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary

log = structlog.get_logger(__name__)

TOTAL_SECONDS: Final = 20.0  # for a receipt at least, and for the whole, where a caller waits for the answer
MOST_SECONDS: Final = 120.0  # for the whole, however long a step may take
STEPS: Final = 8  # that a conversation has, one answer each: a slow server may need the whole time for every one
CONNECT_SECONDS: Final = 5.0
_FOR_OWN: Final = replace(RFC_5321, command=30.0)  # of accounts' own servers there can be many

T = TypeVar("T")


def deliver(draft: Draft, servers: Iterable[RouteStep], account_id: int | None = None) -> Outcome:
    """Try once to send a mail: through the first server, or the next one where the first is down or has had enough.

    Never raises, whatever happens to the mail: the outcome says it. The next server is tried only before the
    message was handed over, never for a refused recipient or message, and never where it would protect the mail less.
    Recipients on the suppression list are left out, but not of security mail.
    """
    if recording.take(draft):
        return Outcome(kind=ACCEPTED, message="Recorded", ms=0)
    if get_settings().mail_suppress_send:
        outcome = Outcome(kind=SUPPRESSED, message=reasons.words(Reason.NOTHING_IS_SENT), ms=0)
        record.record(draft, outcome, clock.now(), account_id)
        return outcome
    known = listing.look_up(draft.recipients)
    is_security = draft.kind in protection.SECURITY_KINDS
    held_back = {} if is_security else known.held_back(draft.recipients, account_id)
    recipients = tuple(address for address in draft.recipients if address not in held_back)
    if not recipients:
        return _for_nobody(draft, held_back, account_id)
    outcome = _along(servers, draft, _Envelope(recipients, held_back), account_id)
    bounces.note([TriedMail(draft.mail_id, recipients, (*outcome.skipped, outcome))], known)
    return outcome


class _Envelope(NamedTuple):
    """Who is to get a mail, and who of its recipients is on the suppression list."""

    recipients: tuple[str, ...]
    held_back: Mapping[str, Reason]

    def told(self, outcome: Outcome) -> Outcome:
        """The outcome, with those who were left out among those who have not got the mail."""
        left_out = suppressed_in_words(self.held_back)
        return replace(outcome, refused=[*outcome.refused, *left_out]) if left_out else outcome


def suppressed_in_words(held_back: Mapping[str, Reason]) -> list[dict[str, Any]]:
    """Recipients on the suppression list, as an attempt tells of them."""
    return [
        {"recipient": mask_address(address), "code": None, "enhanced": None, "suppressed": why.value}
        for address, why in held_back.items()
    ]


def _for_nobody(draft: Draft, held_back: Mapping[str, Reason], account_id: int | None) -> Outcome:
    """What becomes of a mail whose recipients are all on the suppression list."""
    why = next(iter(held_back.values()))
    left_out = suppressed_in_words(held_back)
    outcome = Outcome(kind=SUPPRESSED, message=reasons.words(why), ms=0, refused=left_out)
    record.record(draft, outcome, clock.now(), account_id)
    return outcome


def _along(servers: Iterable[RouteStep], draft: Draft, envelope: _Envelope, account_id: int | None) -> Outcome:
    skipped: list[Outcome] = []
    outcome: Outcome | None = None
    withheld: Withheld | None = None
    places = account_limits.places_of(account_limits.of_account(account_id)) if account_id is not None else None
    for server in servers:
        down = [each.server for each in skipped if each.server]
        if reason := protection.refusal(server, down, is_security=draft.kind in protection.SECURITY_KINDS):
            withheld = withheld or told_withheld(server, down, reason)
            continue
        started_at, started = clock.now(), time.monotonic()
        tried = _over_limit(server, draft, started, places)
        tried = tried or _attempt(server, draft, envelope.recipients, started, skipped)
        outcome = envelope.told(replace(tried, skipped=tuple(skipped)))
        record.record(draft, outcome, started_at, account_id)
        if not outcome.goes_further:
            break
        skipped.append(outcome)
    if outcome is None:
        blocked_by = route.blocking(account_id)
        message = reasons.words(Reason.NO_OWN_SERVER) if blocked_by else diagnosis.NOT_CONFIGURED
        outcome = Outcome(kind=NOT_CONFIGURED, message=message, ms=0, blocked_by=blocked_by)
        record.record(draft, outcome, clock.now(), account_id)
    elif outcome.kind == ACCEPTED and skipped:
        record.note_failover(skipped, outcome)
    elif withheld:
        outcome = replace(outcome, withheld=withheld)
    return outcome


def told_withheld(server: RouteStep, down: Sequence[RouteStep], reason: str) -> Withheld:
    """Write into the log that this server may not take over."""
    log.warning("failover_withheld", server=server.name, down=down[0].name, reason=reason)
    return Withheld(server, reason)


def failure_to_reach(server: RouteStep, span: Span) -> Outcome | None:
    """Open a connection unless one is kept; what becomes of every mail if that fails, before any is at stake."""
    settings, started = _settings_of(server), time.monotonic()
    server_habits.recall(settings.host, settings.port)

    def warm() -> None:
        pool.warm(settings, _queue_policy(server, settings, span), owner=server.owner)

    error = _surely(warm, "server_not_reached", server=server.name)
    return _outcome(server, error, started) if error else None


def parcel_for(
    server: RouteStep,
    draft: Draft,
    recipients: tuple[str, ...],
    skipped: Sequence[Outcome],
    *,
    is_careful: bool = False,
) -> Parcel | Outcome:
    """The mail as this server gets it, for these of its recipients; what becomes of it instead if it cannot be made.

    ``skipped`` are the outcomes at servers that were down. ``is_careful``: its fate was unknown before, so it takes
    no chance of that again.
    """
    started = time.monotonic()

    def parcel() -> Parcel:
        sender = _sender(server, draft, skipped)
        content = serialise(draft, sender)
        for address in (sender.email, *recipients):
            grammar.path(address)  # one that cannot be said is found before anything is
        replies_to = draft.reply_to or (ascii_address(sender.reply_to) if sender.reply_to else "")
        if sender.is_as_written:
            replies_to = ""  # it says itself where they go
        envelope = Envelope(sender=sender.email, recipients=recipients, replies_to=replies_to)
        return Parcel(envelope=envelope, content=content, is_careful=is_careful)

    made = _surely(parcel, "mail_not_built", server=server.name, message_id=draft.message_id)
    return made if isinstance(made, Parcel) else _outcome(server, made, started)


def attempt_all(
    server: RouteStep, parcels: Sequence[Parcel], span: Span, *, in_flight: int
) -> Generator[tuple[int, Outcome]]:
    """Try mails through one server, over one connection if it lasts; the place of each and its outcome, once known.

    Every mail has an outcome, also where something goes wrong that nobody foresaw.
    """
    settings = _settings_of(server)
    started = time.monotonic()
    left = [parcel.marked(place, _trace()) for place, parcel in enumerate(parcels)]
    untold = set(range(len(left)))
    try:
        sending = pool.send_all(
            settings, _queue_policy(server, settings, span), left, owner=server.owner, in_flight=in_flight
        )
        with closing(sending) as results:
            for parcel, result in results:
                place = cast(int, parcel.tag)
                untold.discard(place)
                yield place, _outcome(server, result, started, parcel.trace)
    except incidents.STOPS:
        raise
    except BaseException as error:  # of those in a conversation the client has told
        ours = our_faults.told("mails_not_said", error, server=server.name, mails=len(untold))
        for place in sorted(untold):
            yield place, _outcome(server, ours, started)
    finally:
        server_habits.keep(settings.host, settings.port)


def policy_for(settings: SmtpSettings, total_seconds: float | None = None) -> Policy:
    """How the conversation with a server is to be held where somebody waits: each step as long as the settings say.

    The whole of it has ``total_seconds``, or else what that many steps come to.
    """
    ours, step = get_settings(), settings.timeout_seconds
    allowed, hello = rules.allowed_for(settings, ours), rules.hello_name(settings, ours)
    patience = Patience(command=step, data=step, block=max(step, TOTAL_SECONDS), receipt=max(step, TOTAL_SECONDS))
    return Policy(
        ehlo_name=hello,
        ca_file=ours.smtp_ca_file,
        allow_plaintext_login=ours.smtp_allow_plaintext_login,
        total_seconds=min(max(STEPS * step, TOTAL_SECONDS), MOST_SECONDS) if total_seconds is None else total_seconds,
        patience=patience,
        connect_seconds=min(CONNECT_SECONDS, step),
        dns_resolver=ours.dns_resolver,
        allowed=allowed,
        is_crowded=retry_policy.is_crowded,
        records=conversations.are_recorded(),
    )


def patient_policy(settings: SmtpSettings, span: Span) -> Policy:
    """The same where nobody waits: each step has what RFC 5321 asks for, within the span."""
    policy = policy_for(settings, 0.0)
    total = max(span.deadline.remaining(), 0.0)
    return replace(policy, total_seconds=total, patience=RFC_5321, span=span, connect_seconds=CONNECT_SECONDS)


def _sender(server: RouteStep, draft: Draft, skipped: Sequence[Outcome]) -> Sender:
    """Who a mail is from at this server: only an account's own lets the caller choose, and any other tells its own."""
    settings = _settings_of(server)
    if draft.is_whole and draft.sender and _keeps_from(server, draft.sender):
        return Sender(email=draft.sender if server.is_personal else settings.from_email, is_as_written=True)
    if behalf := server.behalf:
        return Sender(email=settings.from_email, name=behalf.name, reply_to=behalf.reply_to)
    if draft.sender and server.is_personal:
        name, address = parse_mailbox(draft.sender)
        if server.may_send_as(address):
            return Sender(email=address, name=name or settings.from_name, reply_to=settings.reply_to)
    return sender_of(settings, instead_of=skipped[0].server.settings if skipped and skipped[0].server else None)


def _keeps_from(server: RouteStep, address: str) -> bool:
    """Whether a message that says itself that it is from there may say so at this server."""
    if server.is_personal:
        return server.may_send_as(address)
    return usable_senders.key_of(address) == usable_senders.key_of(_settings_of(server).from_email)


def _queue_policy(server: RouteStep, settings: SmtpSettings, span: Span) -> Policy:
    """The same for a queued mail; an account's own server that is silent before the mail is out counts as down."""
    policy = patient_policy(settings, span)
    return replace(policy, patience=_FOR_OWN) if server.account_id is not None else policy


def sender_of(settings: SmtpSettings, instead_of: SmtpSettings | None = None) -> Sender:
    """Who the mail is from. Where this server stands in for another, replies still go to that one's From."""
    reply_to = settings.reply_to
    if instead_of and instead_of.from_email != settings.from_email:
        reply_to = instead_of.reply_to or instead_of.from_email
    return Sender(email=settings.from_email, name=settings.from_name, reply_to=reply_to)


def _over_limit(server: RouteStep, draft: Draft, started: float, places: Places | None) -> Outcome | None:
    """What becomes of the mail if as many have gone as may, through the server or of its account.

    None if it may go, which is then counted.
    """
    limits = account_limits.of_server(server)
    if limits == Limits() and not places:
        return None
    domains = sending_limits.domains_of(draft.recipients)
    if draft.kind in protection.SECURITY_KINDS:  # whoever waits for a link cannot ask again tomorrow
        sending_limits.charge(server.owner, limits, domains)
        account_limits.charge(server, places)
        return None
    refusal = account_limits.take(server, limits, domains, places)
    if not refusal:
        return None
    of_account = places.reason(refusal) if places else ""
    message = reasons.words(of_account or Reason.THROTTLED)
    ms = round((time.monotonic() - started) * 1000)
    return Outcome(kind=THROTTLED, message=message, ms=ms, server=server, of_account=bool(of_account))


def _attempt(
    server: RouteStep, draft: Draft, recipients: tuple[str, ...], started: float, skipped: Sequence[Outcome]
) -> Outcome:
    settings = _settings_of(server)
    parcel = parcel_for(server, draft, recipients, skipped)
    if isinstance(parcel, Outcome):
        return parcel
    server_habits.recall(settings.host, settings.port)
    trace = _trace()
    traced = parcel.marked(None, trace)

    def send() -> Receipt:
        policy = policy_for(settings)
        return pool.send(settings, policy, traced, owner=server.owner)

    place = pace.place_of(server)
    pace.count(place)
    result = _surely(send, "mail_not_said", server=server.name, message_id=draft.message_id)
    outcome = _outcome(server, result, started, trace)
    _keep_pace(place, outcome)
    server_habits.keep(settings.host, settings.port)
    return outcome


def _keep_pace(place: Place, outcome: Outcome) -> None:
    """What one mail, which was counted, shows of how many the server takes: queued mail goes by that, too."""
    verdict = outcome.verdict
    if verdict and verdict.slows:
        pace.note_too_much(place, unsaid=0, is_by_minute=verdict.paces)
    elif outcome.receipt is None:
        pace.give_back(place, 1)


def _surely(work: Callable[[], T], event: str, **facts: object) -> T | DeliveryError:
    """What ``work`` gives, or why there is none, be it what nobody foresaw."""
    try:
        return work()
    except DeliveryError as error:
        return error
    except incidents.STOPS:
        raise
    except BaseException as error:
        return our_faults.told(event, error, **facts)


def _settings_of(server: RouteStep) -> SmtpSettings:
    if server.settings is None:
        raise ValueError("a server without settings cannot send")
    return server.settings


def _trace() -> Trace:
    return Trace(page=TracePage() if conversations.are_recorded() else None)


def _outcome(
    server: RouteStep, result: Receipt | DeliveryError | None, started: float, trace: Trace | None = None
) -> Outcome:
    ms = round((time.monotonic() - started) * 1000)
    if result is None:  # never said by the pool
        result = Temporary(Phase.CONNECT, Fault.CLOSED, "The connection ended before the email was sent.")
    if isinstance(result, DeliveryError):
        is_settings = retry_policy.of_error(result).whose is Whose.SETTINGS
        kind = Misconfigured.outcome if is_settings else result.outcome
        message = retry_policy.message_of(result)
        return Outcome(kind=kind, message=message, ms=ms, server=server, error=result, trace=trace)
    refused = [
        {"recipient": mask_address(address), "code": reply.code, "enhanced": reply.enhanced}
        for address, reply in result.refused.items()
    ]
    return Outcome(kind=ACCEPTED, message="Sent", ms=ms, server=server, receipt=result, refused=refused, trace=trace)
