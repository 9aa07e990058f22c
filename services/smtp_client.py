"""The SMTP conversation (RFC 5321) and the only file that speaks it; it knows no Flask and no database."""

from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Final, Self

from services import smtp_grammar
from services.smtp_dialogue import GOING_AWAY, Dialogue, Observer, Step, refusal
from services.smtp_session import Opening, Policy
from services.smtp_settings import SmtpSettings
from services.smtp_wire import CHUNK, Deadline, Reply, WireError
from utils.errors import DeliveryError, Fault, Misconfigured, Permanent, Phase, Temporary

__all__ = ["Envelope", "Observer", "Policy", "Receipt", "SmtpClient", "Step"]

_FAREWELL: Final = 2.0  # seconds for QUIT
_STRETCH: Final = 256 * 1024  # octets of a message between two looks at whether the server has had enough
_DATA: Final = b"DATA"
# Our own answer, in the server's form, for a recipient that it could not even be told (RFC 6531 3.4).
_UNSAYABLE: Final = Reply(553, "5.6.7", ("The server takes no address that is not ASCII before the @ (no SMTPUTF8).",))


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Who sends to whom: bare addresses, which may be non-ASCII; the sender may be empty (a bounce)."""

    sender: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The server has taken the message for the accepted recipients; ``ms`` counts from the call of send."""

    reply: Reply
    refused: dict[str, Reply]
    accepted: tuple[str, ...]
    ms: int
    queue_id: str | None


class SmtpClient:
    """One connection to one server; it carries any number of messages, one after the other, in one thread.

    ``open``, ``send`` and ``check_envelope`` raise a DeliveryError for everything that a server or network
    can do, and ValueError for an address, EHLO name, login or content that should never have come here.
    Whoever wants more than observe, like end it from another thread, gives the dialogue.
    """

    def __init__(
        self, settings: SmtpSettings, policy: Policy, observer: Observer | None = None, talk: Dialogue | None = None
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._talk = talk or Dialogue(settings, observer)
        self._features: dict[str, str] = {}
        self._pipelining = False
        self._clean = True  # the server holds no half-done transaction that the next could add to
        self._seconds_left = policy.total_seconds

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether another message can be tried on this connection."""
        return self._talk.ready

    def open(self) -> None:
        """Connect, greet, encrypt and sign in as the settings demand; never less than they demand."""
        self.close()
        opening = Opening(self._talk, self._settings, self._policy)
        with self._talk.within(self._policy.total_seconds):
            self._features = opening.run()
            self._talk.ready = True
        self._clean = True
        self._pipelining = "PIPELINING" in self._features
        self._seconds_left = self._talk.deadline.remaining()

    def send(self, envelope: Envelope, content: bytes) -> Receipt:
        """Hand over one finished message (CRLF line ends). The receipt may name refused recipients."""
        started = monotonic()
        body = smtp_grammar.dot_stuffed(content)
        sender = smtp_grammar.path(envelope.sender)
        paths = {address: smtp_grammar.path(address) for address in envelope.recipients}
        if not paths or "" in paths:
            raise ValueError("A message needs recipients.")
        seconds, self._seconds_left = self._seconds_left, self._policy.total_seconds
        with self._talk.within(seconds):
            self._talk.begin(Phase.SENDER)
            refused = self._unsayable(sender, paths)
            mail = self._mail(sender, [paths[address] for address in paths if address not in refused], content)
            accepted = self._envelope(mail, paths, refused)
            reply = self._hand_over(body)
        return Receipt(
            reply=reply,
            refused=refused,
            accepted=accepted,
            ms=round((monotonic() - started) * 1000),
            queue_id=smtp_grammar.queue_id(reply.text),
        )

    def check_envelope(self, sender: str, recipient: str, *, recipient_is_ours: bool) -> None:
        """Ask whether the server would take mail from ``sender`` to ``recipient``; nothing is sent.

        A refusal of a recipient that we chose ourselves is a warning to the observer, not an error.
        """
        sender_path, path = smtp_grammar.path(sender), smtp_grammar.path(recipient)
        talk = self._talk
        with talk.within(self._seconds_left):
            talk.begin(Phase.SENDER)
            self._unsayable(sender_path, {})
            self._start_clean()
            reply = talk.ask(self._mail(sender_path, [path], b""))
            if not reply.ok:
                raise refusal(Phase.SENDER, reply)
            talk.done(f"{sender}: {reply.code} {reply.text}")
            talk.begin(Phase.RECIPIENT)
            reply = self._unsayable(b"", {recipient: path}).get(recipient) or talk.ask(b"RCPT TO:" + path)
            if not reply.ok and not recipient_is_ours:
                raise refusal(Phase.RECIPIENT, reply)
            talk.done(f"{recipient}: {reply.code} {reply.text}", "ok" if reply.ok else "warning")
            with suppress(WireError, DeliveryError):  # the answer is known; the next message cleans up again
                self._reset()
        self._seconds_left = talk.deadline.remaining()

    def close(self) -> None:
        """Say goodbye if the connection is fit for it, and close it. Never raises."""
        wire = self._talk.wire
        if wire and self._talk.ready:
            with suppress(WireError):
                deadline = Deadline(_FAREWELL)
                wire.send(b"QUIT\r\n", deadline)
                wire.read_reply(deadline)
        self._talk.drop()

    def _unsayable(self, sender: bytes, paths: dict[str, bytes]) -> dict[str, Reply]:
        """The recipients that cannot be named to this server. Raises if the sender cannot."""
        if "SMTPUTF8" in self._features:
            return {}
        if not sender.isascii():
            raise _no_smtputf8(Phase.SENDER)
        return {address: _UNSAYABLE for address, path in paths.items() if not path.isascii()}

    def _mail(self, sender: bytes, paths: list[bytes], content: bytes) -> bytes:
        """The MAIL command with the parameters that the server knows and the message needs."""
        command = b"MAIL FROM:" + sender
        if "SIZE" in self._features:
            limit = smtp_grammar.size_limit(self._features)
            if 0 < limit < len(content):
                text = f"The message has {len(content)} bytes, the server takes {limit}."
                raise Permanent(Phase.SENDER, Fault.TOO_LARGE, text, enhanced="5.3.4")
            command += b" SIZE=%d" % len(content)
        if not content.isascii():
            if "8BITMIME" not in self._features:
                text = "The message has 8-bit content and the server does not take it (8BITMIME)."
                raise Permanent(Phase.SENDER, Fault.REPLY, text, enhanced="5.6.3")
            command += b" BODY=8BITMIME"
        if "SMTPUTF8" in self._features and not all(map(bytes.isascii, [sender, *paths])):
            command += b" SMTPUTF8"
        return command

    def _start_clean(self) -> None:
        """Make sure that nothing of an earlier transaction is left; from here on there is a new one."""
        if not self._clean:
            self._reset()
        self._clean = False

    def _reset(self) -> None:
        reply = self._talk.ask(b"RSET")
        if not reply.ok:
            self._talk.drop()
            error = refusal(self._talk.phase, reply)
            raise Temporary(error.phase, error.fault, error.text, code=reply.code, enhanced=reply.enhanced)
        self._clean = True

    def _envelope(self, mail: bytes, paths: dict[str, bytes], refused: dict[str, Reply]) -> tuple[str, ...]:
        """Say MAIL, RCPT and DATA up to 354; further refusals join ``refused``. Gives the accepted."""
        asked = [address for address in paths if address not in refused]
        if not asked:
            raise _all_refused(refused)
        commands = [mail, *(b"RCPT TO:" + paths[address] for address in asked), _DATA]
        self._start_clean()
        replies = self._exchange(commands)
        if self._pipelining and smtp_grammar.are_out_of_step(replies, len(commands)):
            self._pipelining = False  # announced, but not understood
            self._reset()
            self._clean = False
            replies = self._exchange(commands)
        first, *answers = replies
        data = answers.pop() if len(replies) == len(commands) else None
        self._judge_sender(first, data)
        refused |= {address: reply for address, reply in zip(asked, answers, strict=False) if not reply.ok}
        accepted = tuple(address for address in asked if address not in refused)
        self._judge_recipients(accepted, refused, data)
        return accepted

    def _exchange(self, commands: list[bytes]) -> list[Reply]:
        """Say the commands, together where the server allows it, as far as it makes sense; give the replies."""
        together = smtp_grammar.groups(commands) if self._pipelining else ([each] for each in commands)
        replies: list[Reply] = []
        for group in together:
            in_vain = group == [_DATA] and not any(reply.ok for reply in replies[1:])
            if replies and (in_vain or not replies[0].ok):
                break
            self._talk.say(b"".join(command + b"\r\n" for command in group))
            for _ in group:
                last = len(replies) + 1 == len(commands)
                self._talk.phase = Phase.DATA if last else Phase.RECIPIENT if replies else Phase.SENDER
                try:
                    replies.append(self._talk.hear())
                except (WireError, DeliveryError):
                    if not replies or replies[0].ok:
                        raise
                    self._talk.drop()  # it refused the sender and left without a word about the rest
                    return replies
        return replies

    def _judge_sender(self, reply: Reply, data: Reply | None) -> None:
        self._talk.phase = Phase.SENDER
        if not reply.ok:
            if data and data.code == smtp_grammar.GO_AHEAD:
                self._talk.drop()  # it waits for a message that has no sender
            raise refusal(Phase.SENDER, reply)
        self._talk.done(f"{reply.code} {reply.text}")

    def _judge_recipients(self, accepted: tuple[str, ...], refused: dict[str, Reply], data: Reply | None) -> None:
        self._talk.begin(Phase.RECIPIENT)
        if not accepted:
            if data and data.code == smtp_grammar.GO_AHEAD:
                self._end_empty_message()
            raise _all_refused(refused)
        fact = f"{len(accepted)} of {len(accepted) + len(refused)} accepted"
        self._talk.done(fact, "warning" if refused else "ok")
        self._talk.begin(Phase.DATA)
        if data and (data.temporary or data.permanent):
            raise refusal(Phase.DATA, data)
        if data is None or data.code != smtp_grammar.GO_AHEAD:
            raise WireError(Fault.NOT_SMTP, "The server's answer to DATA makes no sense.")

    def _end_empty_message(self) -> None:
        """RFC 2920 3.1: a server that wants a message for nobody gets an empty one; its answer says nothing."""
        try:
            self._talk.ask(b".")
        except (WireError, DeliveryError):
            self._talk.drop()

    def _hand_over(self, body: bytes) -> Reply:
        """Send the message with its final dot and wait for the answer, which makes the server answerable."""
        talk = self._talk
        talk.begin(Phase.MESSAGE)
        wire, octets = talk.live(), memoryview(body)
        tail = max(len(body) - CHUNK, 0)  # the dot goes in one piece with what is before it, or not at all
        try:
            for start in range(0, tail, _STRETCH):
                talk.refuse_unasked()
                wire.send(octets[start : min(start + _STRETCH, tail)], talk.deadline)
            talk.refuse_unasked()
            wire.send(octets[tail:], talk.deadline)
        except WireError:
            with suppress(WireError):  # the server may have said why it stopped listening
                talk.refuse_unasked()
            raise
        talk.dot_sent = True
        reply = wire.read_reply(talk.deadline)
        if not (reply.ok or reply.temporary or reply.permanent):
            raise WireError(Fault.NOT_SMTP, "The server's answer to the message makes no sense.")
        if not reply.ok:
            if reply.code == GOING_AWAY:
                talk.drop()
            raise refusal(Phase.MESSAGE, reply)
        self._clean = True
        talk.done(f"{reply.code} {reply.text}")
        return reply


def _all_refused(refused: dict[str, Reply]) -> DeliveryError:
    """One error for a message that no recipient is left for: worth another try if one of them is."""
    errors = [refusal(Phase.RECIPIENT, reply) for reply in refused.values()]
    for kind in (Temporary, Misconfigured):
        for error in errors:
            if isinstance(error, kind):
                return error
    if all(reply is _UNSAYABLE for reply in refused.values()):
        return _no_smtputf8(Phase.RECIPIENT)
    return errors[0]


def _no_smtputf8(phase: Phase) -> DeliveryError:
    return Permanent(phase, Fault.NO_SMTPUTF8, _UNSAYABLE.text, enhanced=_UNSAYABLE.enhanced)
