"""Where an HTTP/1 request ends (RFC 9112), found while it comes in, piece by piece, each octet looked at once."""

import enum
from collections.abc import Callable
from typing import Final

_LONGEST_SIZE_LINE: Final = 1024  # of a chunk, with its extensions
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class Bounds(enum.Enum):
    """What is known of the request so far."""

    OPEN = "more of it is to come"
    WHOLE = "its last octet is there"
    REFUSED = "no server takes it, or needs the rest to say so: it is malformed, or too large"
    LARGE = "its head is there; how much of the large rest is wanted is to be said by who knows who sends it"


class RequestBounds:
    """``arrived`` is all that has come; behind a whole request it may hold the beginning of the next.

    ``wants_go_ahead``: the client waits for 100 (Continue) before it sends the body. ``may_be_large`` tells of a
    request's first line whether it may have more than the largest body.
    """

    def __init__(
        self, largest_head: int, largest_body: int, may_be_large: Callable[[bytes], bool] = lambda _line: False
    ) -> None:
        self.arrived = bytearray()
        self.wants_go_ahead = False
        self._largest_head, self._largest_body = largest_head, largest_body
        self._fields: dict[bytes, list[bytes]] = {}
        self._may_be_large = may_be_large
        self._beyond = Bounds.REFUSED  # what it is with a larger body
        self._has_first_line = False
        self._at = 0  # what is before it has been understood
        self._searched = 0  # for the end of the line that begins there
        self._body = 0  # octets in chunks so far
        self._go_on: Callable[[], Bounds | None] = self._in_head

    def take(self, data: bytes) -> Bounds:
        """Look at what has come now."""
        self.arrived += data
        while (found := self._go_on()) is None:
            pass
        return found

    def _line(self, longest: int) -> bytes | Bounds:
        """The next line, without its end; or why there is none."""
        end = self.arrived.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self.arrived)
            return Bounds.REFUSED if self._searched - self._at > longest else Bounds.OPEN
        line = bytes(self.arrived[self._at : end])
        if not line.endswith(b"\r") or len(line) > longest:
            return Bounds.REFUSED
        self._at = self._searched = end + 1
        return line[:-1]

    def _in_head(self) -> Bounds | None:
        line = self._line(self._largest_head)
        if isinstance(line, Bounds):
            return line
        if self._at > self._largest_head:
            return Bounds.REFUSED
        if line and self._has_first_line:
            name, _, value = line.partition(b":")
            self._fields.setdefault(name.lower(), []).append(value.strip().lower())
        elif line:
            self._has_first_line = True
            self._beyond = Bounds.LARGE if self._may_be_large(line) else Bounds.REFUSED
        elif self._has_first_line:
            return self._behind_head()
        return None

    def _behind_head(self) -> Bounds | None:
        fields = self._fields
        lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
        expected = fields.get(b"expect", [])
        if expected not in ([], [b"100-continue"]) or (lengths and codings) or len(lengths) > 1:
            return Bounds.REFUSED
        self.wants_go_ahead = bool(expected)
        if codings:
            self._go_on = self._at_chunk
            return None if codings == [b"chunked"] else Bounds.REFUSED
        if not lengths:
            return Bounds.WHOLE
        if not lengths[0].isdigit():
            return Bounds.REFUSED
        if len(lengths[0]) > len(str(self._largest_body)) or int(lengths[0]) > self._largest_body:
            return self._beyond
        self._go_on = self._until(self._at + int(lengths[0]), lambda: Bounds.WHOLE)
        return None

    def _until(self, end: int, then: Callable[[], Bounds | None]) -> Callable[[], Bounds | None]:
        """Wait until so much has arrived."""

        def wait() -> Bounds | None:
            if len(self.arrived) < end:
                return Bounds.OPEN
            self._at = self._searched = end
            self._go_on = then
            return None

        return wait

    def _at_chunk(self) -> Bounds | None:
        line = self._line(_LONGEST_SIZE_LINE)
        if isinstance(line, Bounds):
            return line
        digits = line.partition(b";")[0].strip()
        if not digits or not _HEX.issuperset(digits):
            return Bounds.REFUSED
        size = int(digits, 16)
        self._body += size
        if self._body > self._largest_body:
            return self._beyond
        self._go_on = self._until(self._at + size, self._behind_chunk) if size else self._in_trailer
        return None

    def _behind_chunk(self) -> Bounds | None:
        line = self._line(1)
        if isinstance(line, Bounds):
            return line
        self._go_on = self._at_chunk
        return None if not line else Bounds.REFUSED

    def _in_trailer(self) -> Bounds | None:
        line = self._line(self._largest_head)
        if isinstance(line, Bounds):
            return line
        if len(self.arrived) > 2 * self._largest_head + 8 * self._largest_body:
            return Bounds.REFUSED
        return None if line else Bounds.WHOLE
