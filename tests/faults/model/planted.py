"""Senders that are not ours: an honest one, with which nothing is wrong, and those with one sin each.

They prove the model: whatever the sin, some server shows it, and none blames the honest.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from services.smtp.client import Parcel, Policy, Receipt, Result
from services.smtp.dialogue import refusal
from services.smtp.pool import Pool
from services.smtp.settings import SmtpSettings
from services.smtp.wire import Reply
from tests.faults.model.mails import SENDER
from utils.errors import DeliveryError, Fault, OutcomeUnknown, Permanent, Phase, Temporary

_YES: Final = Reply(250, "2.0.0", ("ok",))
_LOST: Final = (OSError, EOFError)


@dataclass
class _Link:
    """Commands and replies on a socket, in the plainest way. ``first`` is the first line of the last reply."""

    sock: socket.socket
    heard: bytes = b""
    first: bytes = b""

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> Reply:
        """A reply counts once its code is there; lines that are none go along with it."""
        line = self.first = self._line()
        while True:
            if line[3:4] != b"-" and line[:3].isdigit():
                return Reply(int(line[:3]), _enhanced(line), (line[4:].decode("latin-1"),))
            line = self._line()

    def ask(self, command: bytes) -> Reply:
        self.say(command + b"\r\n")
        return self.hear()

    def _line(self) -> bytes:
        while b"\n" not in self.heard:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.heard += data
        line, _, self.heard = self.heard.partition(b"\n")
        return line.rstrip(b"\r")


class Honest:
    """Each recipient over a connection of its own, one command after the other, the message by DATA."""

    def __call__(
        self, pool: Pool, settings: SmtpSettings, policy: Policy, parcels: Sequence[Parcel]
    ) -> Iterable[tuple[Parcel, Result]]:
        for parcel in parcels:
            for to in parcel.envelope.recipients:
                yield parcel, self.result(settings, parcel, to)

    def result(self, settings: SmtpSettings, parcel: Parcel, to: str) -> Result:
        try:
            self.attempt(settings, parcel, to)
        except DeliveryError as error:
            if not error.code or error.phase is not Phase.RECIPIENT:
                return error
            refused = {to: Reply(error.code, error.enhanced, (error.text,))}
            return Receipt(reply=_YES, refused=refused, accepted=(), ms=0)
        return Receipt(reply=_YES, refused={}, accepted=(to,), ms=0)

    def attempt(self, settings: SmtpSettings, parcel: Parcel, to: str) -> None:
        with self.connected(settings) as link:
            self.introduce(link, to)
            self.hand_over(link, parcel)

    @contextmanager
    def connected(self, settings: SmtpSettings) -> Iterator[_Link]:
        try:
            with socket.create_connection((settings.host, settings.port), settings.timeout_seconds) as sock:
                link = _Link(sock)
                _expect(link.hear(), Phase.GREETING)
                if not link.ask(b"EHLO app.example").ok:
                    _expect(link.ask(b"HELO app.example"), Phase.EHLO)
                yield link
        except _LOST:
            raise Temporary(Phase.SENDER, Fault.CLOSED) from None

    def introduce(self, link: _Link, to: str) -> None:
        _expect(link.ask(b"MAIL FROM:<%b>" % SENDER.encode()), Phase.SENDER)
        _expect(link.ask(b"RCPT TO:<%b>" % to.encode()), Phase.RECIPIENT)
        _expect(link.ask(b"DATA"), Phase.DATA, 354)

    def hand_over(self, link: _Link, parcel: Parcel) -> None:
        try:
            link.say(self.stuffed(parcel.content) + b".\r\n")
            reply = link.hear()
        except _LOST:
            raise OutcomeUnknown(Phase.MESSAGE, Fault.CLOSED, may_have_been_sent=True) from None
        _expect(reply, Phase.MESSAGE)

    def stuffed(self, content: bytes) -> bytes:
        return content.replace(b"\n.", b"\n..")


def _enhanced(line: bytes) -> str | None:
    status = line[4:].partition(b" ")[0].decode("latin-1")
    return status if status.count(".") == 2 else None


def _expect(reply: Reply, phase: Phase, code: int = 250) -> None:
    if reply.code // 100 != code // 100:
        raise refusal(phase, reply)


class Liar(Honest):
    """Takes a message that was not answered for sent."""

    def hand_over(self, link: _Link, parcel: Parcel) -> None:
        with suppress(OutcomeUnknown):
            super().hand_over(link, parcel)


class Repeater(Honest):
    """Tries what was not answered once more, and tells of that alone."""

    def attempt(self, settings: SmtpSettings, parcel: Parcel, to: str) -> None:
        try:
            super().attempt(settings, parcel, to)
        except OutcomeUnknown:
            super().attempt(settings, parcel, to)


class Quitter(Honest):
    """Says the commands together, and takes a 503 for the last word on the mail."""

    def introduce(self, link: _Link, to: str) -> None:
        link.say(b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (SENDER.encode(), to.encode()))
        for phase, code in ((Phase.SENDER, 250), (Phase.RECIPIENT, 250), (Phase.DATA, 354)):
            reply = link.hear()
            if reply.code == 503:
                raise Permanent(Phase.MESSAGE, Fault.REPLY, code=550)
            _expect(reply, phase, code)


class Stubborn(Honest):
    """Says the commands together, time and again, whatever comes of it."""

    def introduce(self, link: _Link, to: str) -> None:
        link.say(b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (SENDER.encode(), to.encode()))
        for phase, code in ((Phase.SENDER, 250), (Phase.RECIPIENT, 250), (Phase.DATA, 354)):
            _expect(link.hear(), phase, code)


class Blind(Honest):
    """Sends the message as a chunk behind its commands, before any of them is answered."""

    def attempt(self, settings: SmtpSettings, parcel: Parcel, to: str) -> None:
        with self.connected(settings) as link:
            commands = b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\n" % (SENDER.encode(), to.encode())
            link.say(commands + b"BDAT %d LAST\r\n%b" % (len(parcel.content), parcel.content))
            for phase in (Phase.SENDER, Phase.RECIPIENT, Phase.MESSAGE):
                _expect(link.hear(), phase)


class Pedant(Honest):
    """Takes nothing for a yes that does not look like one."""

    def hand_over(self, link: _Link, parcel: Parcel) -> None:
        super().hand_over(link, parcel)
        if not link.first.startswith(b"250 "):
            raise OutcomeUnknown(Phase.MESSAGE, Fault.NOT_SMTP, may_have_been_sent=True)


class Unstuffed(Honest):
    """Leaves the lines as they are that begin with a dot."""

    def stuffed(self, content: bytes) -> bytes:
        return content.replace(b"\r\n.\r\n", b"\r\n")


class Forgetful(Honest):
    """Names those of the mail before, too."""

    before: str = ""

    def introduce(self, link: _Link, to: str) -> None:
        if self.before:
            link.ask(b"MAIL FROM:<%b>" % SENDER.encode())
            link.ask(b"RCPT TO:<%b>" % self.before.encode())
            _expect(link.ask(b"RCPT TO:<%b>" % to.encode()), Phase.RECIPIENT)
            _expect(link.ask(b"DATA"), Phase.DATA, 354)
        else:
            super().introduce(link, to)
        self.before = to


class Clumsy(Honest):
    """Does not reckon with a recipient that is refused."""

    def introduce(self, link: _Link, to: str) -> None:
        try:
            super().introduce(link, to)
        except Permanent as error:
            raise KeyError(to) from error
