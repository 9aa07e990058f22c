"""Commands and answers on one connection: each failure learns its phase and class, each phase ends in a step."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Final

import structlog

from services.smtp import strangers
from services.smtp.dial import Peer
from services.smtp.grammar import GOING_AWAY
from services.smtp.patience import Patience, Span, unwatched
from services.smtp.seen import Seen
from services.smtp.settings import Security, SmtpSettings
from services.smtp.trace import UNENCRYPTED, Trace
from services.smtp.transcript import Portion, Transcript
from services.smtp.wire import Deadline, Reply, Wire, WireError, no_mail_server
from utils.errors import OPENING, DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary
from utils.log_utils import printable

_WANTS_LOGIN: Final = {530, 534, 535, 538}  # RFC 4954 6
_TLS_PORT: Final = 465
_ENDED: Final = "Sealpost ended the conversation."
_LONGEST_TEXT: Final = 500
_BEFORE_CONTENT: Final = (*OPENING, Phase.SENDER, Phase.RECIPIENT)
_WANTS_CERTIFICATE: Final = re.compile(
    r"client(?:'s)?(?: (?:ssl|tls|x\.?509))? cert(?:ificate)?\b|"
    r"\bno (?:valid |trusted |peer |ssl |tls )*certificate (?:was |is )?"
    r"(?:presented|sent|given|supplied|provided|offered)|"
    r"\b(?:requires?|present|provide|send|supply) (?:an? |valid |trusted |verified |ssl |tls |x\.?509 )*certificate|"
    r"\bcertificate (?:is )?required|\bmutual tls\b|\bmtls\b",
    re.IGNORECASE,
)
_NOT_GREETED: Final = (Phase.CONNECT, Phase.ENCRYPTION, Phase.GREETING)
_ATTACKS: Final = {Fault.ADDRESS_REFUSED, Fault.TLS_INJECTION, Fault.AUTH_UNPROVEN}
_SETTINGS_AT_FAULT: Final = {
    *_ATTACKS, Fault.TLS_EXPECTED, Fault.TLS_UNEXPECTED, Fault.TLS_CERTIFICATE, Fault.TLS_HANDSHAKE,
    Fault.CLIENT_CERTIFICATE, Fault.AUTH_ROUNDS,
}  # fmt: skip

security_log = structlog.get_logger("security")


class SideLook(StrEnum):
    """What is looked at beside the conversation, each in a step of its own."""

    TOKEN = "token"  # noqa: S105 - to sign in with, got before anybody waits for it
    ADDRESS = "address"  # another one of the host's
    OTHER_PORTS = "other_ports"
    CERTIFICATE = "certificate"  # that was refused
    MAIL_SERVERS = "mail_servers"  # of a domain that was taken for a server


StepName = Phase | SideLook


@dataclass(frozen=True)
class Step:
    """A phase or a look that has ended: ``status`` is ok, warning, failed or skipped; ``fact`` is one printable line.

    Of those of one name in a test, ``turn`` counts; the first has none in its ``key``.
    """

    name: StepName
    status: str
    ms: int
    fact: str
    turn: int = 1

    @property
    def key(self) -> str:
        """What no other step of the test is called."""
        return str(self.name) if self.turn == 1 else f"{self.name}_{self.turn}"


Observer = Callable[[Step], None]


def refusal(phase: Phase, reply: Reply) -> DeliveryError:
    """The error that a refusing ``reply`` means in ``phase``.

    4yz is Temporary. Before any mail a 5yz is about the settings, and so is one that asks for a login, or words that
    ask for a client certificate, whatever their code: Postfix says 421, and will say it again.
    """
    if wanted := _wanted_certificate(phase, reply):
        return wanted
    if reply.code in _WANTS_LOGIN or (phase in OPENING and not reply.temporary):
        return error_of(Misconfigured, phase, Fault.REPLY, reply)
    return error_of(Permanent if reply.permanent else Temporary, phase, Fault.REPLY, reply)


def error_of(kind: type[DeliveryError], phase: Phase, fault: Fault, reply: Reply) -> DeliveryError:
    """An error of this kind with the server's own words and codes."""
    return kind(phase, fault, reply.text[:_LONGEST_TEXT], code=reply.code, enhanced=reply.enhanced)


def unknown(fault: Fault, text: str) -> DeliveryError:
    """The error of a message that is out and was not answered: the server may have it (RFC 1047)."""
    return OutcomeUnknown(Phase.MESSAGE, fault, text, may_have_been_sent=True)


def _wanted_certificate(phase: Phase, reply: Reply) -> DeliveryError | None:
    """The error that it is to be asked for a client certificate, if ``reply`` says that."""
    # Who is written to does not choose the words that decide.
    words = " ".join(word for word in re.sub(r"<[^<>]*>", " ", reply.text).split() if "@" not in word)
    if phase not in _BEFORE_CONTENT or reply.ok or not _WANTS_CERTIFICATE.search(words[:_LONGEST_TEXT]):
        return None
    return error_of(Misconfigured, phase, Fault.CLIENT_CERTIFICATE, reply)


class Dialogue:
    """The connection of one client, its phase and its time; ``dot_sent`` once a message is out to its last octet.

    After a WireError or a 421 the connection is gone. Until ``is_open`` is
    set, and once an answer had no proper end, any failure ends the connection. A transcript is kept where
    somebody observes. ``deadline`` is for what is being done, a mail for example; without ``patience`` each answer in
    it has the settings' time, and a receipt all that is left.
    """

    def __init__(self, settings: SmtpSettings, observer: Observer | None) -> None:
        self.is_open = False  # it has been brought to where mail can be sent
        self.wire: Wire | None = None
        self.phase = Phase.DNS
        self.patience: Patience | None = None
        self.dot_sent = False
        self.content_is_out = False  # of several mails in flight, while the answer to an earlier command is awaited
        self.peer: Peer | None = None  # of the connection made last
        self.seen = Seen()
        self.transcript = Transcript() if observer else None
        self._settings = settings
        self.observer = observer
        self._since = monotonic()
        self.is_cancelled = False
        self._span: Span | None = None
        self._deadline = Deadline(0)
        self.is_under_way = False

    @property
    def ready(self) -> bool:
        """Whether mail can be sent on it, or the next command of one said."""
        return self.is_open and self.wire is not None and not self.wire.is_spoiled

    @property
    def deadline(self) -> Deadline:
        """The moment by which all of what is being done has to be over, but for a receipt; never after the span."""
        return self._deadline

    @deadline.setter
    def deadline(self, given: Deadline) -> None:
        self._deadline = given.sooner(self._span.deadline.remaining()) if self._span else given

    @property
    def tls(self) -> str:
        """The version of TLS on this connection, of which the certificate was verified; or UNENCRYPTED."""
        return self.seen.tls or UNENCRYPTED

    def turn_to(self, trace: Trace | None) -> None:
        """What is said and heard from here on is of this mail; of none, of the connection itself."""
        if self.transcript:
            self.transcript.turn_to(trace.page if trace else None)

    def expect(self, portions: Sequence[tuple[Trace | None, int, bool]]) -> None:
        """What is written next is of these mails, so many octets of each, which are a message or are commands."""
        if self.transcript:
            told = [Portion(trace.page if trace else None, octets, is_it) for trace, octets, is_it in portions]
            self.transcript.expect(told)

    def allow(self, patience: Patience | None, span: Span | None) -> None:
        """From here on the server is waited for like this, and the conversation is part of this span."""
        self.patience, self._span = patience, span

    def covered(self) -> AbstractContextManager[None]:
        """Within the block, the end of the span ends the conversation; without one, that of the process."""
        return (self._span or unwatched()).covers(self)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Do all of the block in ``seconds``; trouble in it is reported as a step and raised as a DeliveryError."""
        self.deadline = Deadline(seconds)
        self.dot_sent = False
        try:
            yield
        except (WireError, DeliveryError) as error:
            raise self.failure(error) from None
        except BaseException:
            self.drop()
            raise

    def failure(self, error: WireError | DeliveryError) -> DeliveryError:
        """What trouble in the present phase means; it is reported as a step, and ends the connection if it must."""
        if isinstance(error, DeliveryError):
            if not self.ready:
                self.drop()
            self._withhold(error.fault)
            self.done(f"{error.code or ''} {error.text}", "failed")
            return error
        self.drop()
        self._withhold(error.fault)
        self.told(error.text, "failed")
        return self._trouble(error)

    def pass_over(self, error: WireError | DeliveryError) -> DeliveryError:
        """Leave this connection for one to another address: tell why, and give what it means."""
        self.drop()
        place = f"{self.peer[0]}: " if self.peer and self.phase is not Phase.CONNECT else ""
        failure = self._trouble(error) if isinstance(error, WireError) else error
        self._withhold(failure.fault)
        self.told(f"{place}{failure.code or ''} {failure.text}", "warning")
        return failure

    def begin(self, phase: Phase) -> None:
        self.phase = phase
        self.is_under_way = True
        self._since = monotonic()

    @property
    def ms(self) -> int:
        """How long the present phase has taken so far."""
        return round((monotonic() - self._since) * 1000)

    def done(self, fact: str, status: str = "ok") -> None:
        """Tell the observer how the present phase ended."""
        self._tell(self.phase, self.ms, fact, status)

    def done_before(self, phase: Phase, ms: int, fact: str) -> None:
        """The same of an earlier phase, which took so long."""
        self._tell(phase, ms, fact, "ok")

    def done_beside(self, look: SideLook, fact: str, status: str) -> None:
        """The same of something that was looked at in the present phase."""
        self._tell(look, self.ms, fact, status)

    def _tell(self, name: StepName, ms: int, fact: str, status: str) -> None:
        if self.observer:
            self.observer(Step(name, status, ms, printable(fact)))

    def answered(self, reply: Reply) -> None:
        """Tell the observer that the present phase ended well, and with what answer."""
        if self.observer:
            self.done(f"{reply.code} {reply.text}")

    def told(self, fact: str, status: str) -> None:
        """The same, of something that the transcript does not show by itself."""
        self.note(fact)
        self.done(fact, status)

    def note(self, text: str) -> None:
        """Write into the transcript what happened and was not said."""
        if self.transcript:
            self.transcript.note(text)

    def cancel(self) -> None:
        """End the conversation, from any thread: what waits for the server fails at once, and so does the rest."""
        self.is_cancelled = True
        if wire := self.wire:
            wire.shut()

    def soon(self) -> Deadline:
        """The moment by which one answer, or one command, has to be through."""
        seconds = self.patience.of(self.phase) if self.patience else self._settings.timeout_seconds
        return self.deadline.sooner(seconds)

    def for_block(self) -> Deadline:
        """The moment by which the next part of a message has to be out; without a patience that is the deadline."""
        return self.deadline.sooner(self.patience.block) if self.patience else self.deadline

    def for_receipt(self) -> Deadline:
        """The moment by which the answer to a message that is out has to be there.

        It may be after the deadline: whoever hangs up too early sends the mail twice (RFC 1047).
        """
        if not self.patience:
            return self.deadline
        if self.patience.outlasts:
            return Deadline(self.patience.receipt)
        return self.deadline.sooner(self.patience.receipt)

    @property
    def seconds_in_phase(self) -> float:
        """For how long the present phase has been under way; seen from any thread."""
        return monotonic() - self._since

    @property
    def silent_seconds(self) -> float:
        """For how long the server has neither answered nor taken anything; seen from any thread."""
        wire = self.wire
        return monotonic() - (max(wire.moved_at, self._since) if wire else self._since)

    @property
    def is_waiting_for_receipt(self) -> bool:
        """Whether a message is on its way out, or out and not answered."""
        return self.content_is_out or self.phase is Phase.MESSAGE

    def live(self) -> Wire:
        """The open connection. Raises WireError if there is none."""
        self.go_on()
        if self.wire is None:
            raise WireError(Fault.CLOSED, "The connection is closed.")
        return self.wire

    def go_on(self) -> None:
        """Raise WireError if somebody has ended the conversation."""
        if self.is_cancelled:
            raise WireError(Fault.CLOSED, _ENDED)

    def ask(self, command: bytes) -> Reply:
        """Say one command, without its CRLF, and hear the answer."""
        self.say(command + b"\r\n")
        return self.hear()

    def say(self, data: bytes) -> None:
        """Write whole commands, once it is sure that no earlier answer could be taken for theirs."""
        self.refuse_unasked()
        self.live().send(data, self.soon())

    def hear(self, by: Deadline | None = None) -> Reply:
        """The next answer, to something after which more is to be said.

        Raises Temporary for 421, which a server may give to anything before it leaves, and WireError for a good
        answer behind which nobody could tell what the next belongs to. A message's own is read from the wire.
        """
        wire = self.live()
        reply = wire.read_reply(by or self.soon())
        if self.phase is Phase.GREETING and (kind := strangers.greets_as(reply.code, reply.text)):
            raise no_mail_server(kind)
        if reply.code == GOING_AWAY:
            self.drop()
            raise refusal(self.phase, reply)
        if not (reply.temporary or reply.permanent):
            wire.ensure_sound()
        return reply

    def refuse_unasked(self) -> None:
        """Raise, and end the connection, if the server has said something that was not asked: it is about no mail."""
        wire = self.live()
        if wire.pending():
            reply = wire.read_reply(self.soon())
            self.drop()
            fault = Fault.REPLY if reply.temporary or reply.permanent else Fault.BROKEN_REPLY
            raise _wanted_certificate(self.phase, reply) or error_of(Temporary, self.phase, fault, reply)

    def drop(self) -> None:
        """Close the connection without a word."""
        if self.wire:
            self.wire.close()
        self.wire = None
        self.is_open = False

    def _withhold(self, fault: Fault) -> None:
        """Keep nothing of what a service has said that is no mail server."""
        if fault is Fault.NOT_SMTP and self.transcript:
            self.transcript.withhold()

    def _trouble(self, error: WireError) -> DeliveryError:
        if self.is_cancelled:  # whatever the wire says of its end
            ended = unknown(Fault.CLOSED, _ENDED) if self.dot_sent else Temporary(self.phase, Fault.CLOSED, _ENDED)
            ended.ended_by_us = True
            return ended
        fault, text = error.fault, error.text
        if fault is Fault.NOT_SMTP and self.phase not in _NOT_GREETED:
            fault = Fault.BROKEN_REPLY  # a mail server it is: it has said so
        if self.dot_sent:  # before all else: whatever the trouble is, the server may have the message (RFC 1047)
            return unknown(fault, text)
        if fault in _ATTACKS:
            security_log.warning(f"smtp_{fault}", host=self._settings.host, port=self._settings.port)
        silent = self.phase is Phase.GREETING and fault in (Fault.TIMEOUT, Fault.CLOSED)
        if silent and self._settings.port == _TLS_PORT and self._settings.security is not Security.TLS:
            fault, text = Fault.TLS_EXPECTED, "No greeting: port 465 expects TLS from the start."
        misread = fault in (Fault.NOT_SMTP, Fault.BROKEN_REPLY) and self.phase in OPENING
        kind = Misconfigured if misread or fault in _SETTINGS_AT_FAULT else Temporary
        return kind(self.phase, fault, text)
