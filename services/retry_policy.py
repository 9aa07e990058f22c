"""What to do about a mail that did not go through: a pure table from a server's answer to a verdict.

The table is RFC 5321 4.2.1 and RFC 3463, with what providers are known to mean otherwise.
"""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from services import smtp_diagnosis
from services.retry_hints import reply_hint_seconds
from services.smtp_wire import Reply
from utils.errors import LINK_FAULTS, DeliveryError, Fault, Misconfigured, Permanent, Phase

STEPS: Final = (1, 5, 15, 30, 60)  # minutes from one attempt to the next
LAST_STEP: Final = 120
JITTER: Final = 0.2
SOON: Final = 60.0  # seconds
RECIPIENT_WAIT: Final = 5 * 60.0  # greylisting wants no less
NO_ROOM_WAIT: Final = 5 * 60.0
ALLOWANCE_WAIT: Final = 60 * 60.0  # a daily allowance comes back bit by bit
MAILBOX_FULL_FOR: Final = timedelta(hours=48)
DOUBTED_FOR: Final = timedelta(hours=24)
LONGEST_TEXT: Final = 500  # characters of a reply that are looked at


class Action(StrEnum):
    """RETRY is charged and backs off. SNOOZE is not: the server or its allowance is at fault, not the mail."""

    RETRY = "retry"
    SNOOZE = "snooze"
    REFUSE = "refuse"
    UNCERTAIN = "uncertain"  # the final dot is out and no answer came


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do about a mail, or about one of its recipients; ``reason`` is from a closed set of words.

    ``seconds`` is the least time to wait, from the reply's own hint or the table. ``trips`` counts against the
    server's circuit, ``opens`` opens it for long at once. ``at_once``: this recipient goes in a new transaction
    now, since the server has taken others. After ``final_after`` or ``most_attempts`` a RETRY is a refusal.
    """

    action: Action
    reason: str
    seconds: float | None = None
    trips: bool = False
    opens: bool = False
    at_once: bool = False
    is_hard_bounce: bool = False  # the address itself is bad
    final_after: timedelta | None = None
    most_attempts: int | None = None

    def action_at(self, age: timedelta, attempts: int) -> Action:
        """The action for a mail that has been due for ``age`` and was charged ``attempts``, this one included."""
        is_old = self.final_after is not None and age >= self.final_after
        is_worn = self.most_attempts is not None and attempts >= self.most_attempts
        return Action.REFUSE if self.action is Action.RETRY and (is_old or is_worn) else self.action


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
_ALL: Final = (_S, _R, _D, _M)


def _later(reason: str, seconds: float | None = None, final_after: timedelta | None = None) -> Verdict:
    return Verdict(action=Action.RETRY, reason=reason, seconds=seconds, final_after=final_after)


def _server(reason: str, seconds: float) -> Verdict:
    return Verdict(action=Action.SNOOZE, reason=reason, seconds=seconds, trips=True)


def _refused(reason: str) -> Verdict:
    return Verdict(action=Action.REFUSE, reason=reason)


_UNKNOWN: Final = Verdict(action=Action.UNCERTAIN, reason="Server did not confirm the message", trips=True)
_LINK_LOST: Final = replace(_later("Connection broke off"), trips=True)
_DOWN: Final = _server("Server is not available", SOON)
_FULL: Final = _server("Server has no room now", NO_ROOM_WAIT)
_USED_UP: Final = _server("Server's allowance is used up", ALLOWANCE_WAIT)
_TOO_FAST: Final = _server("Server takes no more mails just now", SOON)
_BARRED: Final = _server("Server does not let us send this", SOON)
_LOGIN: Final = Verdict(action=Action.SNOOZE, reason="Server wants a login", seconds=SOON, opens=True)
_NOT_UNDERSTOOD: Final = replace(_later("Server did not understand us"), most_attempts=2)
_GREYLISTED: Final = _later("Server wants to be asked again later", RECIPIENT_WAIT)
_FLOODED: Final = _later("Recipient gets too much mail just now", RECIPIENT_WAIT)
_TOO_MANY: Final = replace(_later("Too many recipients", RECIPIENT_WAIT), at_once=True)
_MAILBOX_FULL: Final = _later("Recipient's mailbox is full", RECIPIENT_WAIT)
_MAILBOX_STAYS_FULL: Final = replace(_MAILBOX_FULL, final_after=MAILBOX_FULL_FOR)
_DOUBTFUL_RECIPIENT: Final = _later("Server's rules forbid this recipient", RECIPIENT_WAIT, DOUBTED_FOR)
_NO_RECIPIENT: Final = replace(_refused("Recipient does not exist"), is_hard_bounce=True)
_MESSAGE_LATER: Final = _later("Server does not take the message just now")

# What only words tell, in lower case.
_TOO_FAST_WORDS: Final = (
    r"too many (?:e?mails?|messages|connections|concurrent)|throttl|(?:sending|message|e?mail) rate|rate limit"
    r"|too fast|(?:send|peak smtp relay) limit exceeded|excessive volume"
)
_ALLOWANCE_WORDS: Final = r"\b(?:daily|hourly|monthly|sending|quota)\b.*\b(?:exceeded|reached)|exceeded .*\bquota"
# At RCPT a quota may be the recipient's own.
_OUR_ALLOWANCE_WORDS: Final = (
    r"\b(?:daily|hourly|monthly|sending|submission|24-?hour)\b.*\b(?:limit|quota)|submissionquota|credits exceeded"
    r"|(?:e?mails?|messages?) per (?:minute|hour|day)|sending (?:is |has been )?paused"
)
_FULL_WORDS: Final = r"mailbox (?:is )?full|over ?quota|quota exceeded|out of storage|storage allocation"
_BARRED_WORDS: Final = (
    r"\brelay|authenticat|log ?in\b|client host|sender (?:address )?rejected|(?:block|black) ?list|spamhaus|dnsbl"
)

# The first row that matches decides.
_TABLE: Final = (
    # The server, or its account.
    _row((_S, _R, _D), r"421 ", _DOWN),
    _row((_M,), r"421 ", replace(_DOWN, action=Action.RETRY)),  # may be about this message
    _row(_ALL, r"... 4\.(3\.1|4\.5)$", _FULL),
    _row(_ALL, r"... 5\.(4\.5|1\.90|7\.236|7\.705)$", _USED_UP),
    _row((_R, _M), r"", _FLOODED, r"receiving mail (?:at a rate|too quickly)"),
    _row((_S, _D), r"", _USED_UP, _ALLOWANCE_WORDS),
    _row((_M,), r"... (?!.\.2\.2$)", _USED_UP, _ALLOWANCE_WORDS),
    _row(_ALL, r"... (?!.\.2\.2$)", _USED_UP, _OUR_ALLOWANCE_WORDS),
    _row(_ALL, r"", _TOO_FAST, _TOO_FAST_WORDS),
    _row(_ALL, r"53[0458] ", _LOGIN),
    _row((_S, _R), r"503 ", _LOGIN, r"\bauth"),
    _row(_ALL, r"... 5\.2\.25\d$", _BARRED),  # Microsoft: may not send as this sender
    # The recipient.
    _row((_R,), r"452 4\.5\.3$|... 5\.5\.3$", _TOO_MANY),
    _row((_R,), r"4|55", _TOO_MANY, r"too many recipients"),
    _row((_R, _M), r"... 4\.2\.2$", _MAILBOX_FULL),
    _row((_R, _M), r"... 5\.2\.2$", _MAILBOX_STAYS_FULL),
    _row((_R,), r"5.. -$", _MAILBOX_STAYS_FULL, _FULL_WORDS),
    _row((_R,), r"552 -$", _MAILBOX_STAYS_FULL),  # RFC 5321 4.5.3.1.10 asks not to take it for final
    _row((_R,), r"5.. (5\.7\.\d+|-)$", _BARRED, _BARRED_WORDS),
    _row((_R,), r"... 5\.7\.\d+$", _DOUBTFUL_RECIPIENT),  # often about us, though no word says so
    _row((_R,), r"... 5\.(1\.(0|1|2|3|6|10)|2\.1)$|55[013] -$", _NO_RECIPIENT),
    # The conversation, and the message.
    _row(_ALL, r"50[0-4] (-|5\.5\.\d+)$", _NOT_UNDERSTOOD),
    _row((_S, _R), r"... 5\.6\.7$", _refused("Server cannot take this address")),
    _row((_S, _D, _M), r"... 5\.3\.4$|552 -$", _refused("Message too large")),
    _row((_D, _M), r"5.. -$", replace(_MESSAGE_LATER, final_after=DOUBTED_FOR), r"try again later"),
    _row((_M,), r"... 5\.7\.\d+$", _refused("Server refused the message's content")),
    # What is left.
    _row(_ALL, r"4", _GREYLISTED, r"gr[ae]y ?list"),
    _row((_R,), r"45[01] 4\.7\.1$", _GREYLISTED),
    _row((_S,), r"5", _refused("Sender address refused")),
    _row((_R,), r"5", _refused("Recipient refused")),
    _row((_D, _M), r"5", _refused("Message refused")),
    _row((_S,), r"", _later("Server does not take the sender just now")),
    _row((_R,), r"", _later("Recipient cannot be reached just now", RECIPIENT_WAIT)),
    _row((_D, _M), r"", _MESSAGE_LATER),
)


def of_error(error: DeliveryError) -> Verdict:
    """What to do about a mail that the server took for no recipient, or of which nobody knows."""
    if error.may_have_been_sent:
        return _UNKNOWN
    if error.phase not in _ALL or error.fault is Fault.CLIENT_CERTIFICATE:
        return _of_opening(error)
    if error.fault in LINK_FAULTS:
        return _LINK_LOST
    is_final = isinstance(error, Permanent)
    code = error.code or (550 if is_final else 450)  # our own refusals carry none
    verdict = _of_answer(error.phase, code, error.enhanced, error.text)
    if verdict.action is Action.REFUSE and not is_final:
        verdict = _later(verdict.reason)  # the server said it unasked, or to something else
    return replace(verdict, at_once=False)  # nobody was accepted: at once would be for ever


def of_recipient(reply: Reply) -> Verdict:
    """What to do about a recipient that was refused while the server took, or refused, the others."""
    return _of_answer(Phase.RECIPIENT, reply.code, reply.enhanced, reply.text)


def back_off(attempts: int, *, at_least: float | None = None, spread: float) -> timedelta:
    """How long to wait after ``attempts`` charged attempts: 1, 5, 15, 30, 60 minutes, then 2 hours, ± 20 %.

    ``spread`` from -1 to 1 is the place within the jitter; never less than ``at_least`` seconds.
    """
    minutes = STEPS[max(attempts, 1) - 1] if attempts <= len(STEPS) else LAST_STEP
    return timedelta(seconds=max(minutes * 60 * (1 + JITTER * spread), at_least or 0))


def _of_opening(error: DeliveryError) -> Verdict:
    """The server cannot be used at all; where only a person can mend that, it is left alone for long."""
    words, is_reply = _words_of(error.text), error.fault is Fault.REPLY
    verdict = replace(_DOWN, reason=smtp_diagnosis.message(error))
    if is_reply and re.search(_OUR_ALLOWANCE_WORDS, words):
        verdict = _USED_UP
    elif is_reply and re.search(_TOO_FAST_WORDS, words):
        verdict = _TOO_FAST
    elif isinstance(error, Misconfigured) and (not is_reply or error.phase is Phase.SIGN_IN):
        verdict = replace(verdict, trips=False, opens=True)
    return _hinted(verdict, words)


def _of_answer(phase: Phase, code: int, enhanced: str | None, text: str) -> Verdict:
    status, words = f"{code} {enhanced or '-'}", _words_of(text)
    for row in _TABLE:
        if phase in row.phases and row.status.match(status) and (row.words is None or row.words.search(words)):
            return _hinted(row.verdict, words)
    raise AssertionError("the last rows match everything")


def _words_of(text: str) -> str:
    """The reply without the addresses that it repeats: who is written to may not choose the words that decide."""
    rest = re.sub(r"<[^<>]*>", " ", text[:LONGEST_TEXT].lower())
    return " ".join(word for word in rest.split() if "@" not in word)


def _hinted(verdict: Verdict, words: str) -> Verdict:
    """The verdict, with at least the wait that the server asks for."""
    asked = reply_hint_seconds(words) if verdict.action in (Action.RETRY, Action.SNOOZE) else None
    return verdict if asked is None else replace(verdict, seconds=max(asked, verdict.seconds or 0))
