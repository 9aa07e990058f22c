"""What a queued mail is after an attempt: sent, waiting again, of unknown fate, or a dead letter. Reads nothing."""

import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from database.outbox_claim_db import Claim, Settlement
from database.outbox_db import STILL_TO_GO, Priority, Recipient, RecipientState, State
from services.delivery import retry_policy
from services.delivery.outcome import Outcome
from services.delivery.retry_policy import MailAction, Verdict
from services.outbox.reasons import Reason, coded
from services.smtp import our_faults
from services.smtp.client import Receipt
from services.smtp.wire import Reply
from utils.errors import DeliveryError

MOST_UNCERTAIN: Final = 3
_SOON: Final = 30.0  # seconds that a mail waits at least for a server that is at fault


class _Answer(NamedTuple):
    """What a server said about a recipient; no verdict means that it took the mail for them."""

    verdict: Verdict | None
    code: int | None
    enhanced: str | None

    def as_recipient(self, address: str, age: timedelta, attempts: int) -> Recipient:
        state = RecipientState.ACCEPTED
        if self.verdict:
            is_final = self.verdict.action_at(age, attempts) is MailAction.REFUSE
            state = RecipientState.REFUSED if is_final else RecipientState.DEFERRED
        return {"address": address, "state": state, "code": self.code, "enhanced": self.enhanced}


def _answer_of(reply: Reply, *, is_about_it: bool) -> _Answer:
    """What the server said about a recipient when it took nobody: at once would be for ever."""
    verdict = replace(retry_policy.of_recipient(reply), at_once=False)
    return _Answer(retry_policy.for_one(verdict) if is_about_it else verdict, reply.code, reply.enhanced)


def pending(claim: Claim) -> tuple[str, ...]:
    """The recipients who have not got the mail and have not been refused for good."""
    return tuple(recipient["address"] for recipient in claim.recipients if recipient["state"] in STILL_TO_GO)


def snoozed(claim: Claim, until: datetime, reason: str) -> Settlement:
    """The mail waits, uncharged: it has not been tried, or the server was at fault."""
    waiting = State.UNCERTAIN if claim.pinned_to else State.DEFERRED
    return _unchanged(claim, waiting, reason)._replace(due_at=until, attempts=claim.attempts - 1)


def given_back(claim: Claim, now: datetime) -> Settlement:
    """The mail goes on at once, uncharged: the work on it was ended before a server had taken it."""
    return snoozed(claim, now, Reason.GIVEN_BACK)


def met_our_fault(claim: Claim, error: DeliveryError, now: datetime) -> Settlement:
    """The mail rests, uncharged: we failed before anything of it was said."""
    return snoozed(claim, now + timedelta(seconds=our_faults.PAUSE), coded(Reason.FAILED_BEFORE_SENDING, error.text))


def dead(claim: Claim, now: datetime, reason: str) -> Settlement:
    """A dead letter. Its content stays, so that it can be sent again, unless it is a link that must not lie around."""
    keep = claim.priority != Priority.SECURITY
    return _unchanged(claim, State.FAILED, reason)._replace(settled_at=now, keep=keep, pinned_to=None)


def expired(claim: Claim, now: datetime, reason: str) -> Settlement:
    """A dead letter whose time is over."""
    return dead(claim, now, reason)._replace(state=State.EXPIRED, attempts=claim.attempts - 1)


def suppressed(claim: Claim, now: datetime) -> Settlement:
    """The mail was queued where nothing is to be sent."""
    return _unchanged(claim, State.SUPPRESSED, Reason.NOTHING_IS_SENT)._replace(settled_at=now, keep=False)


def without(claim: Claim, held_back: Mapping[str, Reason]) -> Claim:
    """The mail without these recipients, who are on the suppression list."""
    recipients: list[Recipient] = [
        {"address": each["address"], "state": RecipientState.SUPPRESSED, "why": held_back[each["address"]]}
        if each["address"] in held_back and each["state"] in STILL_TO_GO
        else each
        for each in claim.recipients
    ]
    return replace(claim, recipients=recipients)


def for_nobody(claim: Claim, now: datetime) -> Settlement:
    """The mail whose recipients still to go are all on the suppression list: the others have it, or nobody gets it.

    Its content stays in that case, so that it can be sent once they are off the list.
    """
    states = {recipient["state"] for recipient in claim.recipients}
    if RecipientState.ACCEPTED in states:
        state, reason = State.SENT, _reason_of_part(states)
    else:
        reasons = [each["why"] for each in claim.recipients if "why" in each]
        state, reason = State.SUPPRESSED, reasons[0]
    is_kept = state is State.SUPPRESSED
    return _unchanged(claim, state, reason)._replace(settled_at=now, keep=is_kept, pinned_to=None)


def _reason_of_part(states: Collection[RecipientState]) -> str:
    """Why a mail that was sent has not reached all."""
    if RecipientState.REFUSED in states:
        return Reason.SOME_REFUSED
    return Reason.SOME_SUPPRESSED if RecipientState.SUPPRESSED in states else ""


def after(
    claim: Claim, outcome: Outcome, owner: str, now: datetime, cool_down: timedelta, *, is_about_it: bool = False
) -> Settlement:
    """What the mail is after its last attempt, which was through the server named ``owner``.

    ``is_about_it``: the server serves others meanwhile, so that what leaves a doubt is about this mail.
    """
    if outcome.receipt:
        return _accepted(claim, outcome.receipt, now)
    verdict = outcome.verdict
    if outcome.error is None or verdict is None:
        raise ValueError("an outcome with neither a receipt nor an error")
    if is_about_it:
        verdict = retry_policy.for_one(verdict)
    refused = outcome.error.refused.items()
    answers = {address: _answer_of(reply, is_about_it=is_about_it) for address, reply in refused}
    if any(answer.verdict and answer.verdict.action is not verdict.action for answer in answers.values()):
        return _told(claim, answers, now)  # all are refused, but not all for good
    if verdict.action is MailAction.UNCERTAIN:
        return _uncertain(claim, owner, now + cool_down, now, verdict.reason)
    if verdict.action is MailAction.SNOOZE:
        asked = [told.seconds or 0 for told in (verdict, *(answer.verdict for answer in answers.values())) if told]
        return snoozed(claim, now + timedelta(seconds=max(_SOON, *asked)), verdict.reason)
    answer = _Answer(verdict, outcome.error.code, outcome.error.enhanced)
    return _told(claim, {**dict.fromkeys(pending(claim), answer), **answers}, now)


def _accepted(claim: Claim, receipt: Receipt, now: datetime) -> Settlement:
    accepted = _Answer(None, receipt.reply.code, receipt.reply.enhanced)
    told = dict.fromkeys(receipt.accepted, accepted)
    for address, reply in receipt.refused.items():
        verdict = retry_policy.of_recipient(reply)
        verdict = replace(verdict, reason=retry_policy.for_one(verdict).reason)  # the server took the mail for others
        told[address] = _Answer(verdict, reply.code, reply.enhanced)
    return _told(claim, told, now)


def _told(claim: Claim, told: Mapping[str, _Answer], now: datetime) -> Settlement:
    """The mail after an answer about each recipient that it was for."""
    age = now - claim.created_at
    recipients = [
        told[address].as_recipient(address, age, claim.attempts) if (address := each["address"]) in told else each
        for each in claim.recipients
    ]
    states = {recipient["state"] for recipient in recipients}
    verdicts = [answer.verdict for answer in told.values() if answer.verdict]
    if not states.isdisjoint({RecipientState.DEFERRED, RecipientState.PENDING}):
        waiting = [verdict for verdict in verdicts if verdict.action_at(age, claim.attempts) is not MailAction.REFUSE]
        return _waits(claim, recipients, waiting, now)
    if RecipientState.ACCEPTED in states:
        sent = _unchanged(claim, State.SENT, _reason_of_part(states))
        return sent._replace(recipients=recipients, settled_at=now, keep=False, pinned_to=None)
    return dead(claim, now, verdicts[0].reason)._replace(recipients=recipients)


def _waits(claim: Claim, recipients: list[Recipient], verdicts: list[Verdict], now: datetime) -> Settlement:
    if all(verdict.at_once for verdict in verdicts):  # of one whom no answer names, nobody has told anything
        delay = timedelta(0)
    else:
        longest = max(verdict.seconds or 0 for verdict in verdicts)
        delay = retry_policy.back_off(claim.attempts, at_least=longest, spread=random.uniform(-1, 1))  # noqa: S311
    waiting = _unchanged(claim, State.DEFERRED, verdicts[0].reason if verdicts else "")
    return waiting._replace(recipients=recipients, due_at=now + delay)


def _uncertain(claim: Claim, owner: str, again_at: datetime, now: datetime, reason: str) -> Settlement:
    times = claim.uncertain + 1
    if times >= MOST_UNCERTAIN:
        return dead(claim, now, Reason.UNKNOWN_FATE)._replace(uncertain=times)
    return _unchanged(claim, State.UNCERTAIN, reason)._replace(due_at=again_at, uncertain=times, pinned_to=owner)


def _unchanged(claim: Claim, state: State, reason: str) -> Settlement:
    """All but the state and its reason as it was claimed, and no server is due it."""
    return Settlement(
        mail=claim.id,
        token=claim.lease_token,
        state=state,
        recipients=claim.recipients,
        keep=True,
        due_at=claim.due_at,
        settled_at=None,
        attempts=claim.attempts,
        uncertain=claim.uncertain,
        pinned_to=claim.pinned_to,
        reason=reason,
    )
