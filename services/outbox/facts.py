"""How a mail of the log, and each attempt at it, reads: its facts, and for people a look, which says how it stands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from database.attempt_db import LONGEST_REPLY, EmailAttempt, MailTries
from database.outbox_db import SETTLED, STILL_TO_GO, WAITING, OutboxMail, Priority, Recipient, RecipientState, State
from database.outbox_turn_db import OutboxRest
from services.delivery.outcome import ACCEPTED, DELETED_SERVER, NOT_CONFIGURED, SUPPRESSED, THROTTLED
from services.diagnosis import diagnosis
from services.outbox.reasons import Reason, words
from services.settings.personal_route import OWN_NAME
from utils import clock
from utils.addresses import HIGHEST_PORT
from utils.errors import Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary
from utils.json_shapes import Moment
from utils.log_utils import printable
from utils.numbers import whole_number
from utils.same_names import shared

__all__ = ["SETTLED", "State"]  # for the blueprints, which never import the database


class Look(NamedTuple):
    """A level for the shape and the colour, and the word beside it."""

    level: str
    word: str


STATES: Final = {
    State.QUEUED: Look("pending", "Queued"),
    State.LEASED: Look("info", "Sending"),
    State.TRANSMITTING: Look("info", "Sending"),
    State.DEFERRED: Look("warning", "Waiting"),
    State.UNCERTAIN: Look("warning", "Uncertain"),
    State.HELD: Look("warning", "Held"),
    State.SENT: Look("ok", "Sent"),
    State.FAILED: Look("error", "Failed"),
    State.EXPIRED: Look("error", "Expired"),
    State.CANCELLED: Look("skipped", "Cancelled"),
    State.SUPPRESSED: Look("skipped", "Suppressed"),
}
SENT_IN_PART: Final = Look("warning", "Partly sent")
_RECIPIENTS: Final = {
    RecipientState.PENDING: Look("pending", "Waiting"),
    RecipientState.ACCEPTED: Look("ok", "Accepted"),
    RecipientState.DEFERRED: Look("warning", "Waiting"),
    RecipientState.REFUSED: Look("error", "Refused"),
    RecipientState.SUPPRESSED: Look("skipped", "Suppressed"),
}
_NOT_SENT: Final = Look("skipped", "Not sent")
_NOBODY_KNOWS: Final = Look("warning", "Uncertain")
_OUTCOMES: Final = {
    ACCEPTED: Look("ok", "Accepted"),
    Temporary.outcome: Look("warning", "Temporary failure"),
    Permanent.outcome: Look("error", "Refused"),
    Misconfigured.outcome: Look("error", "Check settings"),
    OutcomeUnknown.outcome: Look("warning", "Uncertain"),
    NOT_CONFIGURED: Look("error", "No mail server"),
    SUPPRESSED: Look("skipped", "Suppressed"),
    THROTTLED: Look("warning", "Over the limit"),
}
_ACCEPTED_IN_PART: Final = Look("warning", "Partly accepted")
_SEND_LATER: Final = (
    "Send it later, or queue it: queued email waits until there is room. The limit is part of the server’s settings."
)
_SEND_LATER_FOR_ACCOUNT: Final = (
    "Send it later, or queue it: queued email waits until there is room. An administrator "
    "can change the account’s limit."
)
_A_SECOND: Final = 1000
UNENCRYPTED: Final = "none"
_LEAST_REFUSAL: Final = 400  # of a server's codes (RFC 5321 4.2.1)
_SOMEWHERE: Final = ("the server", 0)  # of which its host is not told
GLOBAL_SERVER: Final = "Global server"  # what whoever is no administrator knows it by
_OFF_THE_LIST: Final = "If the address is right after all, remove it from the suppression list."
_NO_SERVER: Final = "Add a mail server, test it, then activate it."


def is_in_part(state: str, recipients: Iterable[str]) -> bool:
    """Whether a mail was sent, but not for all its recipients, of which these are the states."""
    return state == State.SENT and any(each != RecipientState.ACCEPTED for each in recipients)


@dataclass(frozen=True, kw_only=True)
class RecipientData:
    """One recipient's own result; ``state`` is pending, accepted, deferred, refused or suppressed.

    ``meaning`` is what a refusal means by its codes, or why the address gets no mail; "" for all else.
    """

    address: str
    state: RecipientState
    code: int | None
    enhanced: str | None
    meaning: str


@dataclass(frozen=True, kw_only=True)
class RecipientFacts(RecipientData):
    look: Look


@dataclass(frozen=True, kw_only=True)
class MessageData:
    """A queued mail; ``id`` is what queue_email returned, ``attempts`` is what it is charged with.

    Its properties are for people, and of no other interface.
    """

    id: str
    message_id: str
    kind: str
    priority: str
    state: State
    reason: str
    recipients: Sequence[RecipientData]
    attempts: int
    created_at: Moment
    due_at: Moment
    expires_at: Moment
    settled_at: Moment | None
    account_id: int | None
    tag: str | None

    @property
    def look(self) -> Look:
        in_part = is_in_part(self.state, [each.state for each in self.recipients])
        return SENT_IN_PART if in_part else STATES[self.state]

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def is_held(self) -> bool:
        return self.state is State.HELD

    @property
    def is_over(self) -> bool:
        """Whether it may not be sent any more."""
        return self.expires_at <= clock.now()

    @property
    def is_due(self) -> bool:
        """Whether it goes as soon as a worker is free."""
        return self.due_at <= clock.now()


@dataclass(frozen=True, kw_only=True)
class MailFacts(MessageData):
    """A queued mail for people; ``tries`` are all that were made of it at servers, charged or not.

    ``server`` is the one of the last of them, as the log names it, or ""; ``subject`` is kept if LOG_SUBJECTS says so.
    """

    recipients: Sequence[RecipientFacts]
    tries: int
    server: str
    subject: str | None


@dataclass(frozen=True, kw_only=True)
class DiagnosisData:
    """What a failure means, and what to do about it."""

    title: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class AttemptData:
    """One server tried; ``refused`` are the recipients, masked, that it refused although it took the mail.

    ``tls`` is the version of TLS, whose certificate was verified, like TLSv1.3; "none" if the email was said without
    encryption, null if it did not come to that or is not known. ``queue_id`` is the server's own name for the email.
    """

    at: Moment
    ms: int
    server: str
    outcome: str
    phase: str | None
    fault: str | None
    code: int | None
    enhanced: str | None
    reply: str  # the server's own text
    worker: str | None
    refused: list[dict[str, str | int | None]]
    diagnosis: DiagnosisData | None
    tls: str | None
    queue_id: str | None


@dataclass(frozen=True, kw_only=True)
class DirectData(AttemptData):
    """A mail that was sent directly, in one attempt; ``recipients`` are masked.

    ``subject`` is null unless LOG_SUBJECTS is on.
    """

    id: int
    message_id: str
    kind: str
    recipients: str
    account_id: int | None
    tag: str | None
    subject: str | None

    @property
    def look(self) -> Look:
        if self.outcome == ACCEPTED and self.refused:
            return _ACCEPTED_IN_PART
        return _OUTCOMES.get(self.outcome) or Look("info", self.outcome.replace("_", " ").capitalize())


@dataclass(frozen=True, kw_only=True)
class ConversationLine:
    """A line of a conversation, ``ms`` after its first: C: we said, S: the server said, * happened beside it."""

    ms: int
    text: str


@dataclass(frozen=True, kw_only=True)
class AttemptFacts(DirectData):
    """An attempt for people. ``conversation`` is what was said, None if that is not kept; empty: it cannot be read."""

    conversation: Sequence[ConversationLine] | None = None

    @property
    def is_unencrypted(self) -> bool:
        return self.tls == UNENCRYPTED

    @property
    def tls_version(self) -> str:
        """As people write it; "" where there is none."""
        return "" if self.tls is None or self.is_unencrypted else self.tls.replace("TLSv", "TLS ")

    @property
    def took(self) -> str:
        """How long it took, in the unit that fits."""
        return f"{self.ms} ms" if self.ms < _A_SECOND else f"{self.ms / _A_SECOND:.1f} s"


def mail_facts(row: OutboxMail, tried: MailTries, rest: OutboxRest | None = None) -> MailFacts:
    """The facts of a mail, and of what was tried with it; where its account rests, it waits as long as that does,
    and for its reason.
    """
    told: dict[str, Any] = {
        "id": row.mail_id,
        "priority": Priority(row.priority).name.lower(),
        "state": State(row.state),
        "reason": words(row.reason),
        "recipients": [_recipient(each, row) for each in row.recipients],
    }
    if rest and row.state in WAITING and row.due_at < rest.until and row.priority != Priority.SECURITY:
        told["reason"], told["due_at"] = words(rest.reason), rest.until
    told |= {"tries": tried.tries, "server": tried.server, "subject": row.subject}
    return MailFacts(**shared(MessageData, row) | told)


def attempt_facts(
    row: EmailAttempt, *, is_for_owner: bool = False, said: Sequence[ConversationLine] | None = None
) -> AttemptFacts:
    """An attempt for administrators; for the mail's owner without what servers say, and where the global one is."""
    is_ours = row.outcome in (THROTTLED, SUPPRESSED)
    reply = "" if is_ours or is_for_owner else printable(row.reply, LONGEST_REPLY)
    place = _place(row)
    told: dict[str, Any] = {"at": row.started_at, "reply": reply}
    if is_for_owner:
        is_own = row.server.startswith(f"{OWN_NAME} (")
        others = row.server if row.server in ("", DELETED_SERVER) else GLOBAL_SERVER
        told |= {"server": OWN_NAME if is_own else others, "worker": None, "queue_id": None}
        place = place if is_own else _SOMEWHERE
    told["diagnosis"] = _diagnosis(row, *place)
    return AttemptFacts(**shared(DirectData, row) | told, conversation=said)


def _recipient(stored: Recipient, row: OutboxMail) -> RecipientFacts:
    state, (code, enhanced) = stored["state"], _codes(stored)
    look = _RECIPIENTS[state]
    if state in STILL_TO_GO and row.uncertain:
        look = _NOBODY_KNOWS
    elif state in STILL_TO_GO and row.state in SETTLED:
        look = _NOT_SENT
    return RecipientFacts(
        address=stored["address"],
        state=state,
        code=code,
        enhanced=enhanced,
        meaning=words(_why(stored)) if state is RecipientState.SUPPRESSED else _meaning(code, enhanced),
        look=look,
    )


def _codes(stored: Recipient) -> tuple[int | None, str | None]:
    """The codes of a recipient, whose row somebody may have edited by hand."""
    code, enhanced = stored.get("code"), stored.get("enhanced")
    return code if isinstance(code, int) else None, enhanced if isinstance(enhanced, str) else None


def _why(stored: Recipient) -> str:
    why = stored.get("why", "")
    return why if isinstance(why, str) else ""


def _meaning(code: int | None, enhanced: str | None) -> str:
    if code is None or code < _LEAST_REFUSAL:
        return ""
    found = diagnosis.explain(phase=Phase.RECIPIENT, fault=Fault.REPLY, code=code, enhanced=enhanced)
    return found.title


def _place(row: EmailAttempt) -> tuple[str, int]:
    """Host and port; 0 where it is not known."""
    # It is kept as “name (host:port)”, and the name may hold brackets as well, an address colons.
    host, _, port = row.server.rpartition("(")[2].removesuffix(")").rpartition(":")
    return host, whole_number(port, 0, HIGHEST_PORT) or 0


def _diagnosis(row: EmailAttempt, host: str, port: int) -> DiagnosisData | None:
    """What a failed attempt means; None if it did not fail, or not in a way that this version knows."""
    if row.outcome == NOT_CONFIGURED:
        return DiagnosisData(title=diagnosis.NOT_CONFIGURED, remedy=_NO_SERVER)
    if row.outcome == THROTTLED:
        is_of_account = row.reply.startswith((Reason.ACCOUNT_LIMIT.text, Reason.GLOBAL_LIMIT.text))
        remedy = _SEND_LATER_FOR_ACCOUNT if is_of_account else _SEND_LATER
        return DiagnosisData(title=row.reply.removesuffix("."), remedy=remedy)
    if row.outcome == SUPPRESSED and row.reply:
        return DiagnosisData(title=row.reply.removesuffix("."), remedy=_OFF_THE_LIST)
    # The row may be of an older or a newer version than this.
    if row.phase not in list(Phase) or row.fault not in list(Fault):
        return None
    found = diagnosis.explain(
        phase=row.phase,
        fault=row.fault,
        code=row.code,
        enhanced=row.enhanced,
        text=row.reply,
        host=host,
        port=port,
        may_have_been_sent=row.outcome == OutcomeUnknown.outcome,
    )
    return DiagnosisData(title=found.title, remedy=found.remedy)
