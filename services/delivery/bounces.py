"""What an attempt shows of addresses: those that a server says do not exist, and those that it has accepted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from services.delivery import retry_policy
from services.delivery.outcome import Outcome
from services.delivery.retry_policy import MailAction
from services.outbox.reasons import Reason
from services.smtp.wire import Reply
from services.suppression import counting
from services.suppression.counting import DeadAddress, LiveAddress, scope_of
from services.suppression.listing import KnownAddresses
from utils.errors import DeliveryError, Fault, Phase

_FOR_GOOD: Final = 5  # RFC 5321 4.2.1: with what such a reply begins


class TriedMail(NamedTuple):
    """A mail, whom it was to go to, and what became of it at each server."""

    mail_id: str
    recipients: Sequence[str]
    outcomes: Sequence[Outcome]


def note(mails: Iterable[TriedMail], listing: KnownAddresses) -> None:
    """Count what attempts showed of addresses; ``listing`` is what was known of them before."""
    dead, live = list[DeadAddress](), list[LiveAddress]()
    for mail in mails:
        theirs = _shown(mail, listing)
        dead += theirs[0]
        live += theirs[1]
    counting.note(dead, live)


def _shown(mail: TriedMail, listing: KnownAddresses) -> tuple[list[DeadAddress], list[LiveAddress]]:
    dead, live = list[DeadAddress](), list[LiveAddress]()
    for outcome in mail.outcomes:
        if outcome.server is None or outcome.server.is_local_inbox:
            continue
        scope = scope_of(outcome.server.account_id)
        dead += [
            DeadAddress(address, scope, mail.mail_id, code, enhanced)
            for address, (code, enhanced) in dead_in(outcome, mail.recipients).items()
        ]
        if outcome.receipt and listing:
            live += [LiveAddress(to, scope) for to in outcome.receipt.accepted if listing.knows(to, scope)]
    return dead, live


def dead_in(outcome: Outcome, recipients: Sequence[str]) -> dict[str, tuple[int | None, str | None]]:
    """The recipients that were refused for good since there is no such mailbox, with the codes of the refusal."""
    if outcome.receipt:
        return _dead_among(outcome.receipt.refused)
    error = outcome.error
    if error is None or error.may_have_been_sent or error.fault is not Fault.REPLY:
        return {}
    if error.refused:
        return _dead_among(error.refused)
    is_about_one = len(recipients) == 1 and error.phase in (Phase.RECIPIENT, Phase.MESSAGE)
    return {recipients[0]: (error.code, error.enhanced)} if is_about_one and _is_dead(error) else {}


def _dead_among(refused: Mapping[str, Reply]) -> dict[str, tuple[int | None, str | None]]:
    return {
        address: (reply.code, reply.enhanced)
        for address, reply in refused.items()
        if reply.code // 100 == _FOR_GOOD and retry_policy.of_recipient(reply).is_hard_bounce
    }


def _is_dead(error: DeliveryError) -> bool:
    """Of the only recipient, a server may say it as well of the message (RFC 5321 4.2.5)."""
    verdict = retry_policy.of_error(error)
    is_final = verdict.action is MailAction.REFUSE and error.code is not None and error.code // 100 == _FOR_GOOD
    return is_final and (verdict.is_hard_bounce or verdict.reason is Reason.NO_RECIPIENT)
