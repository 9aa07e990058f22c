"""What was said in an SMTP conversation, line by line, fit for an administrator: no password and no message."""

import re
from collections.abc import Callable
from typing import Final

from utils.log_utils import printable

MOST_LINES: Final = 200
LONGEST_LINE: Final = 200  # characters
HIDDEN: Final = "••••"
_KEPT_AT_THE_END: Final = MOST_LINES // 2
_CHALLENGE, _GO_AHEAD = b"334", b"354"
_CHUNK: Final = re.compile(rb"BDAT (\d{1,10})", re.IGNORECASE)
_AUTH_WORDS: Final = 2  # AUTH and the mechanism


class Transcript:
    """Collects lines: ``C:`` what we said, ``S:`` what the server said, ``*`` what happened beside it.

    What answers a login's challenge is hidden whatever it is, and the message is only named. With ``hides_challenges``
    so are those: where a token is refused, they say why, and may repeat it.
    """

    def __init__(self) -> None:
        self.hides_challenges = False
        self._lines: list[str] = []
        self._last_code = b""
        self._chunk_left = 0  # octets of a message that follow a BDAT (RFC 3030)

    def lines(self) -> list[str]:
        """At most MOST_LINES lines; what is too much is left out of the middle."""
        if len(self._lines) <= MOST_LINES:
            return list(self._lines)
        start = MOST_LINES - _KEPT_AT_THE_END - 1
        left_out = len(self._lines) - start - _KEPT_AT_THE_END
        return [*self._lines[:start], f"* {left_out} lines are left out.", *self._lines[-_KEPT_AT_THE_END:]]

    def note(self, text: str) -> None:
        """Write down something that happened and was not said."""
        self._add("*", text)

    def said(self, data: bytes | memoryview, redact: Callable[[str], str]) -> None:
        """Take in what is about to be written to the server: whole commands, an answer to a challenge, a message."""
        if self._last_code == _GO_AHEAD:
            if not self._lines[-1].startswith("C:"):
                self._add("C:", "(the message)")
        elif self._last_code == _CHALLENGE:
            self._add("C:", HIDDEN)
        else:
            self._take_commands(bytes(data), redact)

    def _take_commands(self, data: bytes, redact: Callable[[str], str]) -> None:
        rest = data[self._chunk_left :]
        self._chunk_left = max(0, self._chunk_left - len(data))
        while rest:
            command, _, rest = rest.partition(b"\r\n")
            self._add("C:", redact(_without_login(command.decode("utf-8", "replace"))))
            if chunk := _CHUNK.match(command):
                size = int(chunk[1])
                if size:
                    self._add("C:", "(the message)")
                self._chunk_left = max(0, size - len(rest))
                rest = rest[size:]

    def heard(self, line: bytes, redact: Callable[[str], str]) -> None:
        """Take in one line of the server's, whatever it holds."""
        self._last_code = line[:3]
        is_hidden = self.hides_challenges and self._last_code == _CHALLENGE
        self._add("S:", f"334 {HIDDEN}" if is_hidden else redact(line.decode("utf-8", "replace")))

    def withhold(self) -> None:
        """Leave out what was heard on this connection: it was no mail server that said it."""
        since = max((at for at, line in enumerate(self._lines) if line.startswith("* Connected")), default=0)
        self._lines[since:] = [line for line in self._lines[since:] if not line.startswith("S:")]

    def _add(self, who: str, text: str) -> None:
        self._lines.append(printable(f"{who} {text.replace('[redacted]', HIDDEN)}", LONGEST_LINE))


def _without_login(command: str) -> str:
    words = command.split(" ")
    if words[0].upper() == "AUTH" and len(words) > _AUTH_WORDS:
        return " ".join([*words[:_AUTH_WORDS], HIDDEN])
    return command
