"""Bytes on the socket of an SMTP conversation: total deadlines, bounded replies, nothing unasked for read."""

import re
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from services.smtp import alerts, strangers
from services.smtp.transcript import Transcript
from utils.errors import Fault
from utils.log_utils import printable

# What is kept of a reply. More is read and forgotten, up to a limit: the answer stands in its first three digits.
LONGEST_LINE: Final = 2048  # octets; RFC 5321 4.5.3.1.5 asks for 512
LONGEST_REPLY: Final = 64 * 1024
MOST_LINES: Final = 128
MOST_READ: Final = 256 * 1024
_PATIENCE: Final = 2.0  # seconds for the rest of what is longer than is kept
# One TLS record: a send either hands over all of it or, when it fails, nothing that the peer can read.
CHUNK: Final = 16 * 1024

_USUAL_OCTETS, _USUAL_COUNT = 64, 16

_QUICK_ACK: Final[int] = getattr(socket, "TCP_QUICKACK", 0)
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_OK, _TEMPORARY, _PERMANENT = 2, 4, 5
_STATUS_PARTS: Final = 3
_CODE: Final = re.compile(rb"[2-5][0-9]{2}")
_CODE_LENGTH: Final = 3
_MARKS: Final = (b" ", b"-", b"\t")  # between code and text; servers leave it out, too
_TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")  # alert, handshake (RFC 8446 5.1)
_MORE: Final = 0.3  # seconds for the rest of what tells who speaks, where that is no mail server


class WireError(Exception):
    """The connection did not do what was needed; ``text`` says so in one sentence."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(f"{fault}: {text}")
        self.fault = fault
        self.text = text


class Deadline:
    """A moment of the monotonic clock by which all of something must be over."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left; zero or less once the moment is past."""
        return self._end - monotonic()

    def sooner(self, seconds: float) -> "Deadline":
        """This moment, or the one in ``seconds`` from now if that comes first."""
        other = Deadline(seconds)
        return other if other._end < self._end else self

    def seconds(self) -> float:
        """Seconds left, for a socket's timeout. Raises WireError (TIMEOUT) if there are none."""
        left = self.remaining()
        if left <= 0:
            raise WireError(Fault.TIMEOUT, "The server took too long.")
        return left


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer (RFC 5321 4.2): its lines without the code, free of control characters."""

    code: int
    enhanced: str | None  # RFC 2034, like 5.1.1; only if its class agrees with the code
    lines: tuple[str, ...]
    challenge: str = field(default="", compare=False, repr=False)  # the text of a 334 as it came (RFC 4954 4)

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    @property
    def ok(self) -> bool:
        return self.code // 100 == _OK

    @property
    def temporary(self) -> bool:
        return self.code // 100 == _TEMPORARY

    @property
    def permanent(self) -> bool:
        return self.code // 100 == _PERMANENT


class Wire:
    """A connected socket and what was received on it but not yet read.

    Every method raises WireError, after which the connection can only be closed. So it can once it ``is_spoiled``.
    ``redact`` is applied to each line that the server says, so that one that repeats our password cannot bring it
    into a text. ``sent`` counts the octets that have been handed over; ``greeted`` says that a mail server is known
    to be at the other end. ``moved_at`` may be read by any thread.
    """

    def __init__(
        self,
        sock: socket.socket,
        redact: Callable[[str], str] = str,
        transcript: Transcript | None = None,
        *,
        greeted: bool = False,
    ) -> None:
        self.sock = sock
        self.redact = redact
        self.sent = 0
        self._greeted = greeted
        self._received = 0
        self._end: Deadline | None = None  # of a reply that is longer than is kept
        self._trouble: WireError | None = None
        self.moved_at = monotonic()  # when the peer last gave a whole answer, or took something
        self._transcript = transcript
        self._ending = threading.Lock()  # so that nobody shuts a descriptor that is another connection's by now
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._heard = False  # something has come since we last sent
        self._lines: deque[bytes] = deque()  # whole ones, without their LF
        self._rest = b""  # the beginning of the next
        self._usual: dict[bytes, Reply] = {}  # "250 2.1.0 Ok" comes with every mail: read once, then known

    @property
    def has_more(self) -> bool:
        """Whether something has been received that was not read yet."""
        return bool(self._lines or self._rest)

    @property
    def encrypted(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket)

    @property
    def certificate(self) -> bytes:
        """What the server has shown (DER); b"" where nothing is encrypted."""
        return (self.sock.getpeercert(binary_form=True) or b"") if isinstance(self.sock, ssl.SSLSocket) else b""

    @property
    def is_spoiled(self) -> bool:
        """Whether the last reply counted, but where it ends is not known: what comes next could belong to it."""
        return self._trouble is not None

    def ensure_sound(self) -> None:
        """Raise what went wrong behind the code of the last reply, if anything did."""
        if self._trouble:
            raise WireError(self._trouble.fault, self._trouble.text)

    def send(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """Write all of ``data`` before the deadline, however small the pieces that the peer takes.

        If it raises, the last octet has not been handed over.
        """
        self.ensure_sound()
        if self._transcript:
            self._transcript.said(data, self.redact)
        rest = memoryview(data)
        self._never_block()
        while rest:
            left = deadline.seconds()
            try:
                sent = self.sock.send(rest[:CHUNK])
            except _NOT_NOW as want:
                self._wait(want, left)
                continue
            except OSError as error:
                raise _lost(error) from None
            self._heard = False
            self.moved_at = monotonic()
            self.sent += sent
            rest = rest[sent:]

    def pending(self, seconds: float = 0) -> bool:
        """Whether the server has said something that was not read, or does within so many seconds."""
        return self.has_more or self._receive(seconds)

    def read_reply(self, deadline: Deadline) -> Reply:
        """Read one reply. Once its three digits are there it counts (RFC 5321 4.2), whatever is wrong behind them.

        Text beyond the limits is cut. If the reply is not whole before the deadline, or does not end as it should,
        it is the last on this connection: see ``is_spoiled``.
        """
        if self._lines and not self._trouble and (usual := self._usual.get(self._lines[0])):
            self._note(self._lines.popleft())
            self.moved_at = monotonic()
            return usual
        self.ensure_sound()
        self._end = None
        line = self._first_line(deadline)
        self._greeted = True
        usual = None if self._trouble else self._usual.get(line + b"\r")
        reply = usual or self._read_on(line, deadline)
        self.moved_at = monotonic()
        return reply

    def _first_line(self, deadline: Deadline) -> bytes:
        before = self._received
        while not self._lines:
            self._require_code(self._rest)
            try:
                self._receive_more(before, deadline)
            except WireError as error:
                if not _CODE.match(self._rest):
                    raise
                self._trouble = error
                self._lines.append(self._rest)
        self._require_code(self._lines[0], is_whole=True)
        return self._take_line()

    def _read_on(self, line: bytes, deadline: Deadline) -> Reply:
        """The reply that begins with this line."""
        first, size, before = line, 0, self._received
        texts: list[bytes] = []
        while True:
            size += len(line)
            if not texts or (len(texts) < MOST_LINES and size <= LONGEST_REPLY):
                texts.append(_text(line))
            if line[3:4] != b"-" or self.is_spoiled:
                break
            try:
                line = self._next_line(first[:3], before, deadline)
            except WireError as error:
                self._trouble = error
                break
        challenge = texts[0].decode("ascii", "replace").strip() if first.startswith(b"334") else ""
        reply = Reply(int(first[:3]), _enhanced(first[:3], texts[0]), tuple(map(self._clean, texts)), challenge)
        if size == len(first) <= _USUAL_OCTETS and len(self._usual) < _USUAL_COUNT and not self.is_spoiled:
            self._usual[first + b"\r"] = reply
        return reply

    def _next_line(self, code: bytes, before: int, deadline: Deadline) -> bytes:
        """A further line of the reply with this code, which began when ``before`` octets had been received."""
        while not self._lines:
            self._receive_more(before, deadline)
        line = self._take_line()
        if line[:3] != code:
            raise WireError(Fault.BROKEN_REPLY, "The lines of the server's reply do not belong together.")
        return line

    def _receive_more(self, before: int, deadline: Deadline) -> None:
        size = self._received - before
        if self._end is None and (size > LONGEST_REPLY or len(self._rest) == LONGEST_LINE):
            self._end = deadline.sooner(_PATIENCE)
        if size > MOST_READ or (self._end and self._end.remaining() <= 0):
            raise WireError(Fault.BROKEN_REPLY, "The server's reply does not end.")
        self._receive((self._end or deadline).seconds())

    def _require_code(self, start: bytes, *, is_whole: bool = False) -> None:
        """Raise WireError if this, or what it may become, does not begin as a reply does."""
        is_right = _CODE.match(start) if is_whole or len(start) >= _CODE_LENGTH else start[:1] in b"2345"
        if is_right:
            return
        if self._greeted:
            self._note(start)
        raise self._foreign(start if self._greeted else self._beginning())

    def _take_line(self) -> bytes:
        line = self._lines.popleft()[:LONGEST_LINE].rstrip(b"\r")
        self._note(line)
        return line

    def _foreign(self, start: bytes) -> WireError:
        if self._greeted:
            return WireError(Fault.BROKEN_REPLY, "The server's reply does not begin with a code.")
        if start.startswith(_TLS_RECORDS):
            return WireError(Fault.TLS_EXPECTED, "The server uses TLS from the start.")
        return not_smtp(start)

    def _beginning(self) -> bytes:
        """What has come of a first answer that is none, and comes in a moment: enough to tell who speaks."""
        end = Deadline(_MORE)
        with suppress(WireError):
            while not self._lines and len(self._rest) < strangers.LONG_ENOUGH and end.remaining() > 0:
                self._receive(end.remaining())
        return b"\n".join([*self._lines, self._rest])

    def shut(self) -> None:
        """End the connection from another thread: whoever waits on it hears of its end. Never raises."""
        with self._ending, suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # SSLSocket's own would let what follows out in clear

    def close(self) -> None:
        with self._ending:
            self.sock.close()

    def _clean(self, text: bytes) -> str:
        return printable(self.redact(text.decode("utf-8", "replace")), LONGEST_LINE)

    def _note(self, line: bytes) -> None:
        if self._transcript:
            self._transcript.heard(line, self.redact)

    def _receive(self, seconds: float) -> bool:
        """Take in what has come, or comes in time; False if that is nothing, or not all of a TLS record."""
        if seconds and self._heard:
            self._acknowledge()
        if not self._has_input(seconds):
            return False
        self._never_block()
        try:
            data = self.sock.recv(CHUNK)
        except _NOT_NOW as want:
            self._wait(want, seconds)
            return False
        except OSError as error:
            raise _lost(error) from None
        if not data:
            raise WireError(Fault.CLOSED, "The server closed the connection.")
        self._heard = True
        self._received += len(data)
        *lines, rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)
        self._rest = rest[:LONGEST_LINE]  # of a line without end no more is kept
        return True

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge at once what has come; what we send does so by itself.

        Without it, a server that writes its pipelined replies one by one waits up to 40 ms for each of our
        delayed acknowledgements. Linux forgets the wish after each use.
        """
        if _QUICK_ACK:
            with suppress(OSError):  # what is wrong shows when it is read
                self.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def _has_input(self, seconds: float) -> bool:
        """Whether there is something to read, at the latest in so many seconds."""
        decrypted = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        return bool(decrypted or self._readable.poll(seconds * 1000))

    def _never_block(self) -> None:
        """Leave the waiting to us; a handshake sets a timeout of its own."""
        if self.sock.gettimeout() != 0:
            self.sock.settimeout(0)

    def _wait(self, want: OSError, seconds: float) -> None:
        """Wait until what could not be done now can be; TLS may have to read before it writes, and the reverse."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN if isinstance(want, ssl.SSLWantReadError) else select.POLLOUT)
        poll.poll(seconds * 1000)


def _lost(error: OSError) -> WireError:
    if isinstance(error, TimeoutError):
        return WireError(Fault.TIMEOUT, "The server took too long.")
    if isinstance(error, ssl.SSLError):
        return WireError(*alerts.of_connection(error))
    return WireError(Fault.CLOSED, "The connection was reset.")


def not_smtp(start: bytes) -> WireError:
    """The error of a peer that began with ``start``."""
    return no_mail_server(strangers.kind_of(start))


def no_mail_server(kind: str) -> WireError:
    """The error of a peer of this kind; none of its words are in it."""
    return WireError(Fault.NOT_SMTP, f"{kind} responded, not a mail server.")


def _text(line: bytes) -> bytes:
    """What stands behind the code, with or without something between."""
    return line[4:] if line[3:4] in _MARKS else line[3:]


def _enhanced(code: bytes, text: bytes) -> str | None:
    status = text.split(maxsplit=1)[0] if text.strip() else b""
    parts = status.split(b".")
    if len(parts) != _STATUS_PARTS or parts[0] != code[:1]:
        return None
    return status.decode() if all(part.isdigit() and len(part) <= len(code) for part in parts) else None
