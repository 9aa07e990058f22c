"""What was said in an SMTP conversation, line by line, fit for an administrator: no password and no message.

A test keeps one transcript of its connection. Where attempts at mails are recorded, each mail has a page of its own,
also where the commands of several went out in one piece.
"""

import re
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, NamedTuple

from utils.log_utils import printable

MOST_LINES: Final = 200
LONGEST_LINE: Final = 200  # characters
HIDDEN: Final = "••••"
_KEPT_AT_THE_END: Final = MOST_LINES // 2
_KEPT_AT_THE_START: Final = MOST_LINES - _KEPT_AT_THE_END - 1
_CHALLENGE, _GO_AHEAD = b"334", b"354"
_CHUNK: Final = re.compile(rb"BDAT (\d{1,10})", re.IGNORECASE)
_AUTH_WORDS: Final = 2  # AUTH and the mechanism
_NOTE, _OURS, _THEIRS, _MESSAGE = "*", "C:", "S:", "C: (the message"

Redact = Callable[[str], str]


class SpokenLine(NamedTuple):
    """A line, and how many milliseconds after the first one it came."""

    ms: int
    text: str


class _Event(NamedTuple):
    """Something said or noted. It becomes a line only where somebody reads it; of a message, only the size is kept."""

    at: float
    who: str
    said: bytes | str
    redact: Redact
    octets: int = 0

    @property
    def line(self) -> str:
        if self.who == _MESSAGE:
            return f"{_MESSAGE}, {self.octets:,} bytes)"
        text = self.said if isinstance(self.said, str) else self.said.decode("utf-8", "replace")
        return printable(f"{self.who} {self.redact(text).replace('[redacted]', HIDDEN)}", LONGEST_LINE)


class TracePage:
    """The lines of one mail, or of a connection beside its mails; what is too much is left out of the middle."""

    def __init__(self) -> None:
        self.transcript: Transcript | None = None  # of the connection that it is written on
        self._events: list[_Event] = []
        self._left_out = 0

    @property
    def is_empty(self) -> bool:
        return not self._events

    @property
    def last_who(self) -> str:
        return self._events[-1].who if self._events else ""

    def add(self, event: _Event) -> None:
        self._events.append(event)
        if len(self._events) > 2 * MOST_LINES:  # so that no server fills our memory
            self._shorten()

    def note(self, text: str) -> None:
        self.add(_Event(monotonic(), _NOTE, text, str))

    def message(self, octets: int) -> None:
        """So many octets of the message went out, behind those before."""
        if self.last_who == _MESSAGE:
            last = self._events[-1]
            self._events[-1] = last._replace(octets=last.octets + octets)
        else:
            self.add(_Event(monotonic(), _MESSAGE, b"", str, octets))

    def take_over(self, other: "TracePage") -> None:
        """What was said on the connection before this mail, which is told once."""
        self._events += other._events
        self._left_out += other._left_out
        other._events, other._left_out = [], 0

    def withhold(self) -> None:
        """Leave out what was heard since the last connection was made."""
        notes = [at for at, each in enumerate(self._events) if each.who == _NOTE]
        since = max((at for at in notes if str(self._events[at].said).startswith("Connected")), default=0)
        self._events[since:] = [each for each in self._events[since:] if each.who != _THEIRS]

    def lines(self) -> list[str]:
        return [line.text for line in self.spoken()]

    def spoken(self) -> list[SpokenLine]:
        """At most MOST_LINES lines."""
        if len(self._events) + bool(self._left_out) > MOST_LINES:
            self._shorten()
        first = self._events[0].at if self._events else 0.0
        told = [SpokenLine(round((each.at - first) * 1000), each.line) for each in self._events]
        if self._left_out:
            told.insert(_KEPT_AT_THE_START, left_out(self._left_out, told[_KEPT_AT_THE_START - 1].ms))
        return told

    def _shorten(self) -> None:
        self._left_out += len(self._events) - _KEPT_AT_THE_START - _KEPT_AT_THE_END
        del self._events[_KEPT_AT_THE_START:-_KEPT_AT_THE_END]


def left_out(lines: int, ms: int) -> SpokenLine:
    """The line that stands for so many others."""
    return SpokenLine(ms, f"* {lines} lines are left out.")


class Portion(NamedTuple):
    """So many octets of what is written next are of this page."""

    page: TracePage | None
    octets: int
    is_message: bool = False


class Transcript:
    """Collects lines: ``C:`` what we said, ``S:`` what the server said, ``*`` what happened beside it.

    What answers a login's challenge is hidden whatever it is, and of the message only the size is told. With
    ``hides_challenges`` so are those: where a token is refused, they say why, and may repeat it.
    """

    def __init__(self, *, hides_challenges: bool = False) -> None:
        self.hides_challenges = hides_challenges
        self._own = TracePage()
        self._page = self._own
        self._pages = 0  # that were begun here
        self._began_at = monotonic()
        self._portions: list[Portion] = []
        self._last_code = b""
        self._chunk_left = 0  # octets of a message that follow a BDAT (RFC 3030)

    def lines(self) -> list[str]:
        """At most MOST_LINES lines; what is too much is left out of the middle."""
        return self._own.lines()

    def spoken(self) -> list[SpokenLine]:
        """The same with their times."""
        return self._own.spoken()

    def turn_to(self, page: TracePage | None) -> None:
        """What is said and heard from here on is of this mail; of none, of the connection itself."""
        if page:
            self._begin(page)
        self._page = page or self._own

    def expect(self, portions: Sequence[Portion]) -> None:
        """Tell of what is written next, in one piece, which octets are whose; a message among them has no commands."""
        for page, _, _ in portions:
            if page:
                self._begin(page)
        self._portions = list(portions)

    def note(self, text: str) -> None:
        """Write down something that happened and was not said."""
        self._page.note(text)

    def said(self, data: bytes | memoryview, redact: Redact) -> None:
        """Take in what is about to be written to the server: whole commands, an answer to a challenge, a message."""
        portions, self._portions = self._portions, []
        rest = memoryview(data)
        for page, octets, is_message in portions:
            part, rest = rest[:octets], rest[octets:]
            if is_message:
                (page or self._own).message(len(part))
            else:
                self._take_commands(page or self._own, bytes(part), redact)
        if not rest:
            return
        if self._last_code == _GO_AHEAD:
            self._page.message(len(rest))
        elif self._last_code == _CHALLENGE:
            self._page.add(_Event(monotonic(), _OURS, HIDDEN, str))
        else:
            self._take_commands(self._page, bytes(rest), redact)

    def heard(self, line: bytes, redact: Redact) -> None:
        """Take in one line of the server's, whatever it holds."""
        self._last_code = line[:3]
        if self.hides_challenges and self._last_code == _CHALLENGE:
            self._page.add(_Event(monotonic(), _THEIRS, f"334 {HIDDEN}", str))
        else:
            self._page.add(_Event(monotonic(), _THEIRS, line, redact))

    def withhold(self) -> None:
        """Leave out what was heard on this connection: it was no mail server that said it."""
        self._page.withhold()

    def _begin(self, page: TracePage) -> None:
        if page.transcript is self:
            return
        page.transcript = self
        if not self._own.is_empty:
            page.take_over(self._own)
        elif self._pages:
            seconds = monotonic() - self._began_at
            page.note(f"On a connection {seconds:.1f} s old, after {self._pages} other emails")
        self._pages += 1

    def _take_commands(self, page: TracePage, data: bytes, redact: Redact) -> None:
        now = monotonic()
        rest = data[self._chunk_left :]
        self._chunk_left = max(0, self._chunk_left - len(data))
        while rest:
            command, _, rest = rest.partition(b"\r\n")
            page.add(_Event(now, _OURS, _without_login(command), redact))
            if chunk := _CHUNK.match(command):
                size = int(chunk[1])
                if size:
                    page.message(min(size, len(rest)))
                self._chunk_left = max(0, size - len(rest))
                rest = rest[size:]


def _without_login(command: bytes) -> bytes:
    words = command.split(b" ")
    if words[0].upper() == b"AUTH" and len(words) > _AUTH_WORDS:
        return b" ".join([*words[:_AUTH_WORDS], HIDDEN.encode()])
    return command
