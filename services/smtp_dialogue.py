"""Commands and answers on one connection: each failure learns its phase and class, each phase ends in a step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final

import structlog

from services.smtp_dial import Peer
from services.smtp_settings import Security, SmtpSettings
from services.smtp_transcript import Transcript
from services.smtp_wire import Deadline, Reply, Wire, WireError
from utils.errors import (
    DeliveryError,
    Fault,
    Misconfigured,
    OutcomeUnknown,
    Permanent,
    Phase,
    Temporary,
)
from utils.log_utils import printable

GOING_AWAY: Final = 421
_WANTS_LOGIN: Final = {530, 534, 535, 538}  # RFC 4954 6
_TLS_PORT: Final = 465
_LONGEST_TEXT: Final = 500
_BEFORE_MAIL: Final = {
    Phase.DNS,
    Phase.CONNECT,
    Phase.GREETING,
    Phase.EHLO,
    Phase.ENCRYPTION,
    Phase.SIGN_IN,
}
_SETTINGS_AT_FAULT: Final = {
    Fault.ADDRESS_REFUSED,
    Fault.TLS_EXPECTED,
    Fault.TLS_UNEXPECTED,
    Fault.TLS_CERTIFICATE,
    Fault.TLS_HANDSHAKE,
    Fault.TLS_INJECTION,
}
_ATTACKS: Final = {Fault.ADDRESS_REFUSED, Fault.TLS_INJECTION}

security_log = structlog.get_logger("security")


@dataclass(frozen=True)
class Step:
    """A phase that has ended: ``status`` is ok, warning, failed or skipped; ``fact`` is one printable line."""

    name: Phase
    status: str
    ms: int
    fact: str


Observer = Callable[[Step], None]


def refusal(phase: Phase, reply: Reply) -> DeliveryError:
    """The error that a refusing ``reply`` means in ``phase``.

    4yz is Temporary. Before any mail a 5yz is about the settings, and so is one that asks for a login.
    """
    kind: type[DeliveryError] = Temporary
    if reply.code in _WANTS_LOGIN or (phase in _BEFORE_MAIL and not reply.temporary):
        kind = Misconfigured
    elif reply.permanent:
        kind = Permanent
    text = reply.text[:_LONGEST_TEXT]
    return kind(phase, Fault.REPLY, text, code=reply.code, enhanced=reply.enhanced)


class Dialogue:
    """The connection of one client, its phase and its time; ``dot_sent`` once a message is out to its last octet.

    After a WireError or a 421 the connection is gone. ``ready`` says that mail can be sent on it; until it
    is set, any failure ends the connection. A transcript is kept where somebody observes.
    """

    def __init__(self, settings: SmtpSettings, observer: Observer | None) -> None:
        self.ready = False
        self.wire: Wire | None = None
        self.phase = Phase.DNS
        self.deadline = Deadline(0)
        self.dot_sent = False
        self.peer: Peer | None = None  # of the connection made last
        self.transcript = Transcript() if observer else None
        self._settings = settings
        self._observer = observer
        self._since = 0.0
        self._cancelled = False

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
            self.done(f"{error.code or ''} {error.text}", "failed")
            return error
        self.drop()
        self.note(error.text)
        self.done(error.text, "failed")
        return self._trouble(error)

    def begin(self, phase: Phase) -> None:
        self.phase = phase
        self._since = monotonic()

    def done(self, fact: str, status: str = "ok") -> None:
        """Tell the observer how the present phase ended."""
        if self._observer:
            ms = round((monotonic() - self._since) * 1000)
            self._observer(Step(self.phase, status, ms, printable(fact)))

    def answered(self, reply: Reply) -> None:
        """Tell the observer that the present phase ended well, and with what answer."""
        if self._observer:
            self.done(f"{reply.code} {reply.text}")

    def note(self, text: str) -> None:
        """Write into the transcript what happened and was not said."""
        if self.transcript:
            self.transcript.note(text)

    def cancel(self) -> None:
        """End the conversation, from any thread: what waits for the server fails at once, and so does the rest."""
        self._cancelled = True
        if wire := self.wire:
            wire.shut()

    def soon(self) -> Deadline:
        """The moment by which one answer, or one command, has to be through."""
        return self.deadline.sooner(self._settings.timeout_seconds)

    def live(self) -> Wire:
        """The open connection. Raises WireError if there is none."""
        if self.wire is None or self._cancelled:
            raise WireError(Fault.CLOSED, "The connection is closed.")
        return self.wire

    def ask(self, command: bytes) -> Reply:
        """Say one command, without its CRLF, and hear the answer."""
        self.say(command + b"\r\n")
        return self.hear()

    def say(self, data: bytes) -> None:
        """Write whole commands, once it is sure that no earlier answer could be taken for theirs."""
        self.refuse_unasked()
        self.live().send(data, self.soon())

    def hear(self, by: Deadline | None = None) -> Reply:
        """The next answer. Raises Temporary for 421, which a server may give to anything before it leaves."""
        reply = self.live().read_reply(by or self.soon())
        if reply.code == GOING_AWAY:
            self.drop()
            raise refusal(self.phase, reply)
        return reply

    def refuse_unasked(self) -> None:
        """Raise Temporary, and end the connection, if the server has said something that was not asked."""
        wire = self.live()
        if wire.pending():
            reply = wire.read_reply(self.soon())
            self.drop()
            fault = Fault.REPLY if reply.temporary or reply.permanent else Fault.NOT_SMTP
            text = reply.text[:_LONGEST_TEXT]
            raise Temporary(self.phase, fault, text, code=reply.code, enhanced=reply.enhanced)

    def drop(self) -> None:
        """Close the connection without a word."""
        if self.wire:
            self.wire.close()
        self.wire = None
        self.ready = False

    def _trouble(self, error: WireError) -> DeliveryError:
        fault, text = error.fault, error.text
        if self.dot_sent:
            return OutcomeUnknown(Phase.MESSAGE, fault, text, may_have_been_sent=True)
        if fault in _ATTACKS:
            security_log.warning(f"smtp_{fault}", host=self._settings.host, port=self._settings.port)
        silent = self.phase is Phase.GREETING and fault in (Fault.TIMEOUT, Fault.CLOSED)
        if silent and self._settings.port == _TLS_PORT and self._settings.security is not Security.TLS:
            fault, text = Fault.TLS_EXPECTED, "No greeting: port 465 wants TLS from the first byte."
        misread = fault is Fault.NOT_SMTP and self.phase in _BEFORE_MAIL
        kind = Misconfigured if misread or fault in _SETTINGS_AT_FAULT else Temporary
        return kind(self.phase, fault, text)
