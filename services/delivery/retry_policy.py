"""Whose fault it is that a mail did not go through, and what to do: a pure table from a server's answer to a verdict.

This is the one place that decides it: retry, failover, circuit, pool and what is shown all follow the verdict. The
table is RFC 5321 4.2.1 and RFC 3463, with what providers are known to mean otherwise.
"""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from services.delivery import reply_words
from services.diagnosis import diagnosis, known_names, reply_rules
from services.diagnosis.known_names import Listing
from services.diagnosis.retry_hints import reply_hint_seconds
from services.outbox import reasons
from services.outbox.reasons import Reason
from services.smtp import grammar
from services.smtp.wire import Reply
from utils.errors import ENVELOPE, LINK_FAULTS, DeliveryError, Fault, Misconfigured, Permanent, Phase

STEPS: Final = (1, 5, 15, 30, 60)  # minutes from one attempt to the next
LAST_STEP: Final = 120
JITTER: Final = 0.2
SOON: Final = 60.0  # seconds
RECIPIENT_WAIT: Final = 5 * 60.0  # greylisting wants no less
NO_ROOM_WAIT: Final = 5 * 60.0
ALLOWANCE_WAIT: Final = 60 * 60.0  # a daily allowance comes back bit by bit
MAILBOX_FULL_FOR: Final = timedelta(hours=48)
DOUBTED_FOR: Final = timedelta(hours=24)
_TEMPORARY: Final = 4  # RFC 5321 4.2.1: what a reply begins with that may fare better later
LONGEST_TEXT: Final = 500  # characters of a reply that are looked at


class Whose(StrEnum):
    """At whom to look for the failure. SETTINGS lasts until a person mends something here or at the server."""

    MAIL = "mail"
    RECIPIENT = "recipient"
    SERVER = "server"
    SETTINGS = "settings"
    OURS = "ours"


class MailAction(StrEnum):
    """RETRY is charged and backs off. SNOOZE is not: the server or its allowance is at fault, not the mail."""

    RETRY = "retry"
    SNOOZE = "snooze"
    REFUSE = "refuse"
    UNCERTAIN = "uncertain"  # the final dot is out and no answer came


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do about a mail, or about one of its recipients, and the ``reason`` for it.

    ``seconds`` is the least time to wait, from the reply's own hint or the table. ``trips`` counts against the
    server's circuit, ``opens`` opens it for long at once. ``is_doubtful``: it may be about this mail alone, and is the
    server's only where no other mail fares better. ``slows``: it was too much mail, so no more is said for now;
    ``paces``: what went within the last minute is what the server takes in one. ``crowds``: it was a connection too
    many. ``goes_on``: another server may do better, and has nothing to double; ``is_unreachable``: and this one cannot
    be connected or signed in to at all. ``at_once``: this recipient goes in a new transaction now, since the
    server has taken others. After ``final_after`` or ``most_attempts`` a RETRY is a refusal.
    """

    action: MailAction
    reason: Reason
    whose: Whose = Whose.MAIL
    seconds: float | None = None
    trips: bool = False
    opens: bool = False
    is_doubtful: bool = False
    slows: bool = False
    paces: bool = False
    crowds: bool = False
    goes_on: bool = False
    is_unreachable: bool = False
    at_once: bool = False
    is_hard_bounce: bool = False  # the address itself is bad
    final_after: timedelta | None = None
    most_attempts: int | None = None

    @property
    def is_an_answer(self) -> bool:
        """Whether it shows that the server works, be it that it refuses this mail."""
        return self.action in (MailAction.RETRY, MailAction.REFUSE)

    def action_at(self, age: timedelta, attempts: int) -> MailAction:
        """The action for a mail that has been due for ``age`` and was charged ``attempts``, this one included."""
        is_old = self.final_after is not None and age >= self.final_after
        is_worn = self.most_attempts is not None and attempts >= self.most_attempts
        return MailAction.REFUSE if self.action is MailAction.RETRY and (is_old or is_worn) else self.action


class _Row(NamedTuple):
    """A line of the table. ``status`` is matched with "code enhanced" ("550 5.1.1", or "550 -" without one).

    So an enhanced code, where there is one, beats the basic code.
    """

    phases: tuple[Phase, ...]
    status: re.Pattern[str]
    verdict: Verdict
    words: re.Pattern[str] | None


def _row(phases: tuple[Phase, ...], status: str, verdict: Verdict, words: str = "") -> _Row:
    return _Row(phases, re.compile(status), verdict, re.compile(words) if words else None)


_S, _R, _D, _M = Phase.SENDER, Phase.RECIPIENT, Phase.DATA, Phase.MESSAGE
_ALL: Final = (*ENVELOPE, _M)


def _later(reason: Reason, seconds: float | None = None, final_after: timedelta | None = None) -> Verdict:
    return Verdict(action=MailAction.RETRY, reason=reason, seconds=seconds, final_after=final_after)


def _to_recipient(reason: Reason, seconds: float = RECIPIENT_WAIT, final_after: timedelta | None = None) -> Verdict:
    return replace(_later(reason, seconds, final_after), whose=Whose.RECIPIENT)


def _server(reason: Reason, seconds: float) -> Verdict:
    return Verdict(action=MailAction.SNOOZE, reason=reason, seconds=seconds, trips=True, whose=Whose.SERVER)


def _settings(reason: Reason) -> Verdict:
    return Verdict(action=MailAction.SNOOZE, reason=reason, seconds=SOON, opens=True, whose=Whose.SETTINGS)


def _refused(reason: Reason, whose: Whose = Whose.MAIL) -> Verdict:
    return Verdict(action=MailAction.REFUSE, reason=reason, whose=whose)


_LINK_LOST: Final = replace(_server(Reason.LINK_LOST, 0), action=MailAction.RETRY, seconds=None, is_doubtful=True)
_UNKNOWN: Final = replace(_LINK_LOST, action=MailAction.UNCERTAIN, reason=Reason.NOT_CONFIRMED)
_DOWN: Final = _server(Reason.DOWN, SOON)
_GOES_AWAY: Final = replace(_DOWN, is_doubtful=True)  # what one mail asked of it may be why
_NOT_HEARD: Final = replace(_DOWN, reason=Reason.NOT_HEARD, trips=False)
_FULL: Final = _server(Reason.NO_ROOM, NO_ROOM_WAIT)
_USED_UP: Final = replace(_server(Reason.ALLOWANCE, ALLOWANCE_WAIT), slows=True)
_TOO_FAST: Final = replace(_server(Reason.TOO_MANY_MAILS, SOON), slows=True, paces=True)
_TOO_FAST_A_SECOND: Final = replace(_TOO_FAST, paces=False)
_CROWDED: Final = replace(_server(Reason.TOO_MANY_CONNECTIONS, 0), crowds=True)
_BARRED: Final = _server(Reason.BARRED, SOON)
_LOGIN: Final = _settings(Reason.LOGIN_WANTED)
_NO_RELAY: Final = _settings(Reason.NO_RELAY)
_NOT_OWNER: Final = _settings(Reason.NOT_OWNER)
_BAD_NAME: Final = _settings(Reason.NAME_REFUSED)
_BAD_HOST: Final = _settings(Reason.HOST_REFUSED)
_BLOCKED: Final = _settings(Reason.BLOCK_LISTED)
_BLOCKED_FOR_NOW: Final = _server(Reason.BLOCK_LISTED, ALLOWANCE_WAIT)
_NO_LIST: Final = _server(Reason.SERVER_FAULT, ALLOWANCE_WAIT)  # it may not ask its list about anyone
_OUR_FAULT: Final = Verdict(action=MailAction.SNOOZE, reason=Reason.OUR_FAULT, seconds=RECIPIENT_WAIT, whose=Whose.OURS)
_NOT_UNDERSTOOD: Final = replace(_later(Reason.NOT_UNDERSTOOD), most_attempts=2, whose=Whose.OURS)
_GREYLISTED: Final = _later(Reason.GREYLISTED, RECIPIENT_WAIT)
_FLOODED: Final = _to_recipient(Reason.FLOODED)
_TOO_MANY: Final = replace(_to_recipient(Reason.TOO_MANY_RECIPIENTS), at_once=True)
_MAILBOX_FULL: Final = _to_recipient(Reason.MAILBOX_FULL)
_MAILBOX_STAYS_FULL: Final = replace(_MAILBOX_FULL, final_after=MAILBOX_FULL_FOR)
_DOUBTFUL_RECIPIENT: Final = _to_recipient(Reason.RECIPIENT_FORBIDDEN, final_after=DOUBTED_FOR)
_FROM_DOMAIN: Final = _later(Reason.FROM_DOMAIN, RECIPIENT_WAIT, DOUBTED_FOR)
_NO_RECIPIENT: Final = replace(_refused(Reason.NO_RECIPIENT, Whose.RECIPIENT), is_hard_bounce=True)
_RECIPIENT_REFUSED: Final = _refused(Reason.RECIPIENT_REFUSED, Whose.RECIPIENT)
_SENDER_REFUSED: Final = _refused(Reason.SENDER_REFUSED)
_MESSAGE_LATER: Final = _later(Reason.MESSAGE_LATER)
_HELD: Final = _settings(Reason.ACCOUNT_HELD)
_OF_REASON: Final = {  # what to do about what the rules of diagnosis recognise, whatever the server's status says
    verdict.reason: verdict
    for verdict in (
        _USED_UP, _TOO_FAST, _CROWDED, _FLOODED, _GREYLISTED, _MAILBOX_STAYS_FULL, _TOO_MANY,
        _LOGIN, _NO_RELAY, _NOT_OWNER, _BAD_NAME, _BAD_HOST, _BARRED,
        _BLOCKED, replace(_BAD_HOST, reason=Reason.NO_HOST_NAME),
        _HELD, _settings(Reason.ENCRYPTION_WANTED), _settings(Reason.OWN_MAILBOX_FULL),
        _FROM_DOMAIN, _DOUBTFUL_RECIPIENT, _NO_RECIPIENT, _RECIPIENT_REFUSED, _SENDER_REFUSED,
        _refused(Reason.CONTENT_REFUSED), _refused(Reason.TOO_LARGE), _later(Reason.SERVER_FAULT),
    )
}  # fmt: skip
# Where a server limits the rate because of one of these, it is no rate that is at fault.
_CAUSES: Final = (Reason.FROM_DOMAIN, Reason.NO_HOST_NAME, Reason.BLOCK_LISTED, Reason.ENCRYPTION_WANTED)
# Said of a message that was handed over, it is about this one: the server may well take the next.
_OF_ONE_MESSAGE: Final = (
    Reason.NAME_REFUSED, Reason.HOST_REFUSED, Reason.BLOCK_LISTED, Reason.NO_HOST_NAME, Reason.BARRED,
    Reason.FROM_DOMAIN, Reason.RECIPIENT_FORBIDDEN, Reason.NO_RECIPIENT,
)  # fmt: skip

# Why a configuration is left alone until a person mends it, where its server lets us sign in and refuses the mails.
PAUSE_REASONS: Final = tuple(each.reason for each in (_LOGIN, _NO_RELAY, _NOT_OWNER, _BAD_NAME, _BAD_HOST, _BLOCKED))

_CROWDED_STATUSES: Final = ("4.3.2", "4.7.652")  # RFC 3463; Microsoft's "too many connections"
# A status that names the recipient, its mailbox, or the size of the message says more than words.
_NOT_THE_RECIPIENTS: Final = r"[45].. (?!.\.1\.(?:[1236]|10)$|.\.2\.[0-4]$|.\.3\.4$)"

# The first row that matches decides.
_TABLE: Final = (
    _row((_R,), r"4", _GREYLISTED, reply_words.GREY),  # whatever else it says, and even with 421
    # The server, or its account.
    _row(_ALL, r"... 4\.3\.1$", _FULL),
    _row(_ALL, r"... 5\.(4\.5|1\.90|7\.236)$", _USED_UP),
    _row(_ALL, r"... 5\.7\.705$", _HELD),  # Microsoft: the whole organisation
    _row(_ALL, r"", _HELD, r"sending (?:is |has been )?paused"),
    _row((_R, _M), r"", _FLOODED, reply_words.FLOODED),
    _row((_R,), r"... 5\.2\.122$", _FLOODED),
    _row((_S, _D), r"", _USED_UP, reply_words.ALLOWANCE),
    _row((_M,), r"... (?!.\.2\.2$)", _USED_UP, reply_words.ALLOWANCE),
    _row(_ALL, r"... (?!.\.2\.2$)", _USED_UP, reply_words.OUR_ALLOWANCE),
    _row(ENVELOPE, r"", _CROWDED, reply_words.CROWDED),
    _row(_ALL, r"", _TOO_FAST_A_SECOND, r"sending rate exceeded|per second"),
    _row(_ALL, r"", _TOO_FAST, reply_words.TOO_FAST),
    _row(_ALL, r"... 4\.4\.5$", _FULL),
    # Us: Postfix and others say at RCPT what they hold against the client, its name, its login and its From address.
    _row((_R,), r"... 5\.7\.(12|124|13\d)$", _DOUBTFUL_RECIPIENT),  # takes mail from inside only
    _row((_R,), r"5.. (5\.7\.\d+|-)$", _DOUBTFUL_RECIPIENT, reply_words.OWN_RULE),
    _row((_R,), r"55. (5\.1\.\d+|5\.[047]\.[01]|-)$", _NO_RECIPIENT, reply_words.NOBODY),
    _row((_R,), r"50[0-4] ", _RECIPIENT_REFUSED, r"recipient address rejected"),
    _row((_S, _R), r"50[0-4] ", _SENDER_REFUSED, r"sender address rejected: (?:need fully|bad|syntax)"),
    _row((_S, _R), r"5.. (5\.7\.\d+|5\.[01]\.0|-)$", _FROM_DOMAIN, r"\b(?:spf|dkim|dmarc)\b"),
    _row((_R,), r"5.. (5\.7\.\d+|-)$", _BARRED, r"\bsender\b.{0,60}\b(?:block|black|deny)|badmailfrom"),
    _row(ENVELOPE, _NOT_THE_RECIPIENTS, _BAD_NAME, reply_words.NAME),
    _row(ENVELOPE, _NOT_THE_RECIPIENTS, _BAD_HOST, reply_words.HOST),
    _row(_ALL, r"... 5\.7\.(25|60[6-9]|6[1-4]\d|708)$", _BAD_HOST),  # RFC 7372; Microsoft's banned machines
    _row(_ALL, r"... (5\.2\.25\d|5\.7\.60)$", _NOT_OWNER),  # Microsoft: may not send as this sender
    _row(_ALL, r"5", _NOT_OWNER, r"sendasdenied"),  # the same, under statuses that mean other things as well
    _row(_ALL, _NOT_THE_RECIPIENTS, _NOT_OWNER, reply_words.OWNER),
    _row(ENVELOPE, _NOT_THE_RECIPIENTS, _NOT_OWNER, reply_words.MISMATCH),
    _row(_ALL, r"53[0458] ", _LOGIN),
    _row((_S, _R), r"503 ", _LOGIN, r"\bauth"),
    _row(ENVELOPE, r"[45].. (.\.[04]\.0|.\.5\.\d|.\.7\.\d+|-)$", _NO_RELAY, r"\brelay(?!=)|rcpthosts"),
    _row(ENVELOPE, r"5.. (5\.[05]\.\d|5\.7\.(?!2\d$)\d+|-)$", _LOGIN, reply_words.LOGIN),
    _row((_R,), r"5.. (5\.7\.\d+|-)$", _BARRED, r"sender (?:address )?rejected"),
    _row((_S,), r"5.. 5\.1\.[78]$", _SENDER_REFUSED),
    _row((_R,), r"5.. 5\.2\.1$", _NO_RECIPIENT, r"^(?!.*(?:content|spam|black|filter|polic(?:y|ies)))"),
)
# Where no row above knows the words, the rules of diagnosis may. Where they do not either, the status decides.
_REST: Final = (
    # It ends the connection without a word that tells more.
    _row(ENVELOPE, r"421 ", _GOES_AWAY),
    _row((_M,), r"421 ", replace(_GOES_AWAY, action=MailAction.RETRY)),
    # The recipient.
    _row((_R,), rf"... (?:{'|'.join(map(re.escape, grammar.TOO_MANY_STATUSES))})$", _TOO_MANY),
    _row((_R,), r"[45]", _TOO_MANY, grammar.TOO_MANY_WORDS),
    _row((_R, _M), r"... 4\.2\.2$", _MAILBOX_FULL),
    _row((_R, _M), r"... 5\.2\.2$", _MAILBOX_STAYS_FULL),
    _row((_R,), r"5.. -$", _MAILBOX_STAYS_FULL, reply_words.FULL),
    _row((_R,), r"552 -$", _MAILBOX_STAYS_FULL),  # RFC 5321 4.5.3.1.10 asks not to take it for final
    _row((_R,), r"... 5\.7\.\d+$", _DOUBTFUL_RECIPIENT),  # often about us, though no word says so
    _row((_R,), r"5.. (?:5\.1\.[78]|5\.0\.0|-)$", _SENDER_REFUSED, r"\bsender\b|envelope from"),
    _row((_R,), r"... 5\.1\.(?:1|2|3|6|10)$", _NO_RECIPIENT),
    # These codes stand for every rule that a server may have: only words can tell that the address is bad.
    _row((_R,), r"... 5\.1\.0$|55[013] -$", _NO_RECIPIENT, reply_words.NO_MAILBOX),
    # The conversation, and the message.
    _row(_ALL, r"50[0-4] (-|5\.5\.\d+)$", _NOT_UNDERSTOOD),
    _row((_S, _R), r"... 5\.6\.7$", _refused(Reason.NO_SMTPUTF8, Whose.RECIPIENT)),
    _row((_S, _D, _M), r"... 5\.3\.4$", _refused(Reason.TOO_LARGE)),
    _row((_S, _D, _M), r"552 -$", _refused(Reason.TOO_LARGE), reply_words.TOO_MUCH),
    _row((_D, _M), r"5.. -$", replace(_MESSAGE_LATER, final_after=DOUBTED_FOR), r"try again later"),
    # What is left.
    _row(_ALL, r"4", _GREYLISTED, reply_words.GREY),
    _row((_R,), r"45[01] 4\.7\.1$", _GREYLISTED),
    _row((_S,), r"5", _SENDER_REFUSED),
    _row((_R,), r"5", _RECIPIENT_REFUSED),
    _row((_D, _M), r"5", _refused(Reason.MESSAGE_REFUSED)),
    _row((_S,), r"", _later(Reason.SENDER_LATER)),
    _row((_R,), r"", _to_recipient(Reason.RECIPIENT_LATER)),
    _row((_D, _M), r"", _MESSAGE_LATER),
)
OF_SERVERS: Final = (Whose.SERVER, Whose.SETTINGS)  # the others are of one mail, one recipient, or us


def of_error(error: DeliveryError) -> Verdict:
    """What to do about a mail that the server took for no recipient, or of which nobody knows."""
    verdict = _judged(error)
    is_answered = error.phase is _M and error.fault is Fault.REPLY  # the message was handed over, and refused
    others = (of_recipient(reply) for reply in error.refused.values())
    goes_on = (
        verdict.whose in OF_SERVERS
        and verdict.action is not MailAction.UNCERTAIN
        and not is_answered
        and all(other.whose in OF_SERVERS for other in others)
    )
    is_opening = error.phase not in _ALL or error.fault is Fault.CLIENT_CERTIFICATE
    return replace(verdict, goes_on=goes_on, is_unreachable=goes_on and is_opening and not verdict.slows)


def of_recipient(reply: Reply) -> Verdict:
    """What to do about a recipient that was refused while the server took, or refused, the others."""
    return _of_answer(Phase.RECIPIENT, reply.code, reply.enhanced, reply.text)


def for_one(verdict: Verdict) -> Verdict:
    """The verdict where the server serves other mails all the while, so that it is about this one: charged."""
    if not verdict.is_doubtful:
        return verdict
    calm = replace(verdict, trips=False, opens=False)
    if verdict.action is not MailAction.SNOOZE:
        return calm
    if verdict.reason == _GOES_AWAY.reason:
        return replace(calm, action=MailAction.RETRY)
    # Words that the server would repeat for ever, and that are no reason why other mail waits.
    reason = _DOUBTFUL_RECIPIENT.reason if verdict.opens else verdict.reason
    return replace(calm, action=MailAction.RETRY, reason=reason, final_after=DOUBTED_FOR)


def message_of(error: DeliveryError) -> str:
    """A short closed-set text that says what is wrong, without a word of the server's."""
    return reasons.words(_reason_of(error))


def is_crowded(error: DeliveryError) -> bool:
    """Whether a server that refused a connection has too many of ours."""
    return of_error(error).crowds


def back_off(attempts: int, *, at_least: float | None = None, spread: float) -> timedelta:
    """How long to wait after ``attempts`` charged attempts: 1, 5, 15, 30, 60 minutes, then 2 hours, ± 20 %.

    ``spread`` from -1 to 1 is the place within the jitter; never less than ``at_least`` seconds.
    """
    minutes = STEPS[max(attempts, 1) - 1] if attempts <= len(STEPS) else LAST_STEP
    return timedelta(seconds=max(minutes * 60 * (1 + JITTER * spread), at_least or 0))


def _reason_of(error: DeliveryError) -> Reason:
    verdict = _judged(error) if error.phase in _ALL else None
    is_told = verdict is not None and (
        verdict.whose in OF_SERVERS or verdict.reason in (Reason.SENDER_REFUSED, Reason.GREYLISTED)
    )
    return verdict.reason if verdict and is_told else diagnosis.reason(error)


def _judged(error: DeliveryError) -> Verdict:
    if error.may_have_been_sent:
        return _UNKNOWN
    if error.fault is Fault.OURS:
        return _OUR_FAULT
    if error.not_taken:
        return _NOT_HEARD
    if error.phase not in _ALL or error.fault is Fault.CLIENT_CERTIFICATE:
        return _of_opening(error)
    if error.fault in LINK_FAULTS:
        return _LINK_LOST
    is_final = isinstance(error, Permanent)
    code = error.code or (550 if is_final else 450)  # our own refusals carry none
    verdict = _of_answer(error.phase, code, error.enhanced, error.text)
    if verdict.action is MailAction.REFUSE and not is_final:
        verdict = replace(_later(verdict.reason), whose=verdict.whose)  # said unasked, or to something else
    return replace(verdict, at_once=False)  # nobody was accepted: at once would be for ever


def _of_opening(error: DeliveryError) -> Verdict:
    """The server cannot be used at all; where only a person can mend that, it is left alone for long."""
    words, is_reply = words_of(error.text), error.fault is Fault.REPLY
    listing = known_names.listing_in(error.text[:LONGEST_TEXT]) if is_reply else None
    told = (reply_words.NAME, reply_words.HOST)
    is_about_us = any(re.search(each, words) for each in told) or listing is not None
    is_heard = is_reply and listing is None  # a list is why, whatever else is said
    verdict = replace(_DOWN, reason=diagnosis.reason(error))
    if is_heard and re.search(reply_words.OUR_ALLOWANCE, words):
        verdict = _USED_UP
    elif is_heard and re.search(reply_words.CROWDED, words):
        verdict = replace(_CROWDED, trips=False)  # those of ours that are there serve
    elif is_heard and error.enhanced in _CROWDED_STATUSES:
        verdict = replace(verdict, crowds=True)
    elif is_heard and re.search(reply_words.TOO_FAST, words):
        verdict = _TOO_FAST
    elif listing is Listing.QUERY:
        verdict = replace(_NO_LIST, reason=verdict.reason)
    elif isinstance(error, Misconfigured) and (not is_reply or error.phase is Phase.SIGN_IN or is_about_us):
        verdict = replace(verdict, trips=False, opens=True, whose=Whose.SETTINGS)
    return _hinted(verdict, words)


def _of_answer(phase: Phase, code: int, enhanced: str | None, text: str) -> Verdict:
    status, words = f"{code} {enhanced or '-'}", words_of(text)
    if listed := _listed(phase, status, text):
        return _hinted(listed, words)
    verdict = _in(_TABLE, phase, status, words)
    if verdict is None or verdict.slows:
        told = _of_rule(phase, code, enhanced, text)
        verdict = told if verdict is None or (told and told.reason in _CAUSES) else verdict
    verdict = verdict or _in(_REST, phase, status, words)
    if verdict is None:
        raise AssertionError("the last rows match everything")
    # Whether it passes mail on, or wants a login, a server may decide by the recipient's domain.
    by_domain = phase is Phase.RECIPIENT and verdict in (_NO_RELAY, _LOGIN, _BARRED)
    return _hinted(replace(verdict, is_doubtful=True) if by_domain else verdict, words)


def _in(table: tuple[_Row, ...], phase: Phase, status: str, words: str) -> Verdict | None:
    """The verdict of the first row that matches."""
    return next(
        (
            row.verdict
            for row in table
            if phase in row.phases and row.status.match(status) and (row.words is None or row.words.search(words))
        ),
        None,
    )


def _of_rule(phase: Phase, code: int, enhanced: str | None, text: str) -> Verdict | None:
    """The verdict for what a rule of diagnosis recognises in the words; None if it says no more than the status."""
    rule = reply_rules.read(DeliveryError(phase, Fault.REPLY, text[:LONGEST_TEXT], code=code, enhanced=enhanced))
    verdict = _OF_REASON.get(rule.reason) if rule and rule.reason else None
    if rule is None or verdict is None:
        return None
    is_temporary = code // 100 == _TEMPORARY
    is_final = rule.retryable is False or not (rule.retryable or is_temporary)
    if phase in (_D, _M) and verdict.reason in _OF_ONE_MESSAGE:
        verdict = _refused(verdict.reason, Whose.RECIPIENT if verdict.whose is Whose.RECIPIENT else Whose.MAIL)
    if is_final and verdict.whose is Whose.SERVER:
        # What it says of itself is only a person's to change, or the end of this mail.
        held = replace(_settings(verdict.reason), seconds=verdict.seconds)
        return held if rule.retryable is False else _refused(verdict.reason)
    if verdict.action is MailAction.REFUSE and (is_temporary or not is_final):
        later = replace(_later(verdict.reason, RECIPIENT_WAIT if phase is _R else None), whose=verdict.whose)
        return replace(later, most_attempts=2) if is_final else later
    if is_temporary:
        return replace(verdict, final_after=None)
    return verdict


def _listed(phase: Phase, status: str, text: str) -> Verdict | None:
    """The verdict if a block list or a reputation is why; a listed link is the mail's own, and no reason here."""
    listing = known_names.listing_in(text[:LONGEST_TEXT])
    if listing in (None, Listing.LINK):
        return None
    if listing is Listing.QUERY:
        return _NO_LIST
    # A reputation that only delays mail comes back by itself.
    is_for_now = listing is Listing.REPUTATION and status.startswith("4")
    # Said of the message, it may be about this one alone, and so may what is held against the sender's domain.
    is_doubtful = phase is _M or listing is Listing.DOMAIN
    return replace(_BLOCKED_FOR_NOW if is_for_now else _BLOCKED, is_doubtful=is_doubtful)


def words_of(text: str) -> str:
    """The reply without the addresses that it repeats: who is written to may not choose the words that decide."""
    rest = re.sub(r"<[^<>]*>", " ", text[:LONGEST_TEXT].lower())
    return " ".join(word for word in rest.split() if "@" not in word)


def _hinted(verdict: Verdict, words: str) -> Verdict:
    """The verdict, with at least the wait that the server asks for; whom it asks to wait does not go at once."""
    asked = reply_hint_seconds(words) if verdict.action in (MailAction.RETRY, MailAction.SNOOZE) else None
    return verdict if asked is None else replace(verdict, seconds=max(asked, verdict.seconds or 0), at_once=False)
