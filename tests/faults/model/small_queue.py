"""The pool under a queue that needs no database: rounds an hour apart, and what the real one makes of each outcome."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any, Final

from services.delivery import retry_policy
from services.delivery.retry_policy import MailAction, Verdict
from services.outbox.reasons import Reason
from services.smtp.client import Envelope, Parcel, Policy, Receipt, Result
from services.smtp.pool import Pool
from services.smtp.settings import Security, SmtpSettings
from services.worker.settling import MOST_UNCERTAIN
from tests.faults.model.fates import Fate
from tests.faults.model.mails import SENDER, Mail
from tests.faults.model.server import BehavingServer
from utils.errors import DeliveryError

ROUNDS: Final = 10
AT_ONCE: Final = 3  # rounds
STEP: Final = 0.3  # seconds for an answer
LONGEST: Final = 30  # times the patience for an answer, after which no new round is begun
WHOLE: Final = 0.6  # seconds for the answer to a message

Send = Callable[[Pool, SmtpSettings, Policy, Sequence[Parcel]], Iterable[tuple[Parcel, Result]]]


def settings_of(server: BehavingServer, step: float) -> SmtpSettings:
    """Without encryption or login. The field counts whole seconds; nothing below the form does."""
    values: dict[str, Any] = {"timeout_seconds": step}
    return SmtpSettings(host=server.host, port=server.port, security=Security.NONE, from_email=SENDER, **values)


def policy_of(step: float) -> Policy:
    """The one place that says how patient senders are here; twice as long for the answer to a message."""
    return Policy(
        ehlo_name="app.example",
        total_seconds=WHOLE / STEP * step,
        connect_seconds=step,
        is_crowded=retry_policy.is_crowded,
    )


def as_group(
    pool: Pool, settings: SmtpSettings, policy: Policy, parcels: Sequence[Parcel]
) -> Iterable[tuple[Parcel, Result]]:
    """As a worker sends: all on one connection, as far as it lasts."""
    return pool.send_all(settings, policy, parcels, owner="model")


def one_by_one(
    pool: Pool, settings: SmtpSettings, policy: Policy, parcels: Sequence[Parcel]
) -> Iterable[tuple[Parcel, Result]]:
    """As `send_email` does."""
    for parcel in parcels:
        try:
            yield parcel, pool.send(settings, policy, parcel, owner="model")
        except DeliveryError as error:
            yield parcel, error


def rounds_for(server: BehavingServer, mails: Sequence[Mail]) -> int:
    """As many as it takes where each recipient needs a mail of his own, and few go in an hour."""
    rate = server.behaviour.rate
    return ROUNDS + (sum(len(mail.recipients) for mail in mails) // rate if rate else 0)


def deliver(
    server: BehavingServer, mails: Sequence[Mail], step: float, *, send: Send, rounds: int | None = None
) -> list[Fate]:
    """Try until nothing is open, or the rounds are over.

    A server of few connections is met by two senders at once, in the first rounds.
    """
    fates = [Fate(mail) for mail in mails]
    pool = Pool()
    to_server = partial(send, pool, settings_of(server, step), policy_of(step))
    halves = [fates[::2], fates[1::2]] if server.behaviour.most_connections and len(fates) > 1 else [fates]
    end = monotonic() + LONGEST * step
    try:
        with ThreadPoolExecutor(len(halves)) as senders:
            for hour in range(rounds or rounds_for(server, mails)):
                groups = halves if hour < AT_ONCE else [fates]
                list(senders.map(partial(_round, to_server, timedelta(hours=hour)), groups))
                if not any(fate.pending for fate in fates) or monotonic() > end:
                    break
                server.turn()
    finally:
        pool.close()
    return fates


def _round(
    send: Callable[[Sequence[Parcel]], Iterable[tuple[Parcel, Result]]], age: timedelta, fates: Sequence[Fate]
) -> None:
    going = {fate.mail.number: fate for fate in fates if fate.pending}
    parcels = [
        Parcel(
            envelope=Envelope(sender=SENDER, recipients=fate.pending),
            content=fate.mail.content,
            tag=number,
            is_careful=fate.unknowns > 0,
        )
        for number, fate in going.items()
    ]
    try:
        for parcel, result in send(parcels):
            settle(going[str(parcel.tag)], result, age)
    except Exception as error:
        for fate in going.values():
            fate.raised = fate.raised or repr(error)


def settle(fate: Fate, result: Result, age: timedelta) -> None:
    """Write down what the queue would make of this outcome."""
    fate.attempts += 1
    if isinstance(result, Receipt):
        fate.trail.append("accepted" + "".join(f" {reply.code}" for reply in result.refused.values()))
        fate.accepted.update(result.accepted)
        for to, reply in result.refused.items():
            _refuse(fate, [to], retry_policy.of_recipient(reply), age)
        return
    if result is None:
        fate.trail.append("not tried")
        fate.attempts -= 1
        return
    fate.trail.append(f"{result.outcome} {result.phase} {result.code or result.fault}")
    verdict = retry_policy.of_error(result)
    if verdict.action is MailAction.UNCERTAIN:
        fate.unknowns += 1
        if fate.unknowns >= MOST_UNCERTAIN:
            fate.dead |= dict.fromkeys(fate.pending, Reason.UNKNOWN_FATE)
    elif result.refused:
        for to, reply in result.refused.items():
            _refuse(fate, [to], retry_policy.of_recipient(reply), age)
    elif verdict.action is MailAction.SNOOZE:
        fate.attempts -= 1
    else:
        _refuse(fate, fate.pending, verdict, age)


def _refuse(fate: Fate, recipients: Iterable[str], verdict: Verdict, age: timedelta) -> None:
    if verdict.action_at(age, fate.attempts) is MailAction.REFUSE:
        fate.dead |= dict.fromkeys(recipients, verdict.reason)
