"""One client at a server with habits. What one read brings is what the habits are about."""

import asyncio
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.faults.model import replies
from tests.faults.model.behaviour import Accident, BehindDot, Chunks, Kind, Sees, Stage
from tests.faults.model.ledger import Taken

if TYPE_CHECKING:
    from tests.faults.model.server import BehavingServer

_BDAT: Final = re.compile(rb"BDAT (\d+)( LAST)?", re.IGNORECASE)
_SLICES: Final = 3
_BETWEEN: Final = 0.001  # seconds
_DOT: Final = b"\r\n.\r\n"


class _Unit(NamedTuple):
    """A command with what belongs to it, or a message."""

    line: bytes = b""
    content: bytes | None = None


class _Said(NamedTuple):
    """Something that goes out after ``wait`` seconds; without data it is the end, by ``kind``."""

    data: bytes
    wait: float = 0.0
    then: Callable[[], None] | None = None
    kind: Kind | None = None


class Conversation(asyncio.Protocol):
    """``_errors`` are refusals so far; ``_mail`` is the number of the mail on this connection."""

    _has_sender: bool
    _recipients: list[str]

    def __init__(self, server: "BehavingServer") -> None:
        self._server = server
        self._habits = server.behaviour
        self._buffer = bytearray()
        self._out: deque[_Said] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._mail = -1
        self._errors = 0
        self._is_deaf = False  # it says nothing more, or is about to hang up
        self._in_message = False
        self._forget()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        server = self._server
        self._number, server.connections = server.connections, server.connections + 1
        most = self._habits.most_connections
        if most and len(server.open) >= most:
            self._go(b"421 4.7.0 Error: too many connections from you\r\n")
        elif not self._meets(Stage.GREETING):
            self._say(220, "model.test ESMTP")
        server.open.add(self)
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_deaf = True
        self._server.open.discard(self)
        if self._timer:
            self._timer.cancel()
        self._out.clear()

    def eof_received(self) -> None:
        return None

    def leave(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._buffer += data
        if self._in_message and self._meets(Stage.CONTENT):
            return
        if self._habits.sees is Sees.LAST:
            self._obey_last()
        else:
            self._obey_each()
        self._pump()

    # What a read brings.

    def _obey_each(self) -> None:
        while not self._is_deaf and (unit := self._take()):
            self._obey(unit)
            if self._habits.sees is Sees.FIRST:
                self._buffer.clear()

    def _obey_last(self) -> None:
        last: _Unit | None = None
        while unit := self._take():
            if unit.content is not None and not unit.line:
                self._obey(unit)
            else:
                last = unit
        if last and not self._is_deaf:
            self._obey(last)

    def _take(self) -> _Unit | None:
        """The first unit of the buffer; None until all of it is there."""
        buffer = self._buffer
        if self._in_message:
            return self._take_message()
        end = buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(buffer[:end])
        chunk = _BDAT.fullmatch(line)
        size = int(chunk[1]) if chunk and self._reads_chunk(bool(chunk[2])) else 0
        if len(buffer) < end + 2 + size:
            return None
        content = bytes(buffer[end + 2 : end + 2 + size])
        del buffer[: end + 2 + size]
        return _Unit(line, content if chunk else None)

    def _take_message(self) -> _Unit | None:
        buffer = self._buffer
        if buffer.startswith(_DOT[2:]) and (len(buffer) == len(_DOT) - 2 or not self._misses_dot):
            end = 0
        elif self._misses_dot:
            end = len(buffer) - 3 if buffer.endswith(_DOT) else -1
        else:
            found = buffer.find(_DOT)
            end = found + 2 if found >= 0 else -1
        if end < 0:
            return None
        content = bytes(buffer[:end])
        del buffer[: end + 3]
        return _Unit(content=content)

    @property
    def _misses_dot(self) -> bool:
        return self._habits.behind_dot is BehindDot.MISSES_DOT

    def _obey(self, unit: _Unit) -> None:
        if not unit.line and unit.content is not None:
            self._end_message(unit.content)
            return
        self._server.ledger.lines.append(unit.line)
        if unit.content is not None:
            self._chunk(unit)
            return
        match unit.line.partition(b" ")[0].upper():
            case b"EHLO":
                self._hello()
            case b"HELO":
                self._say(250, "model.test")
            case b"MAIL":
                self._begin(unit.line)
            case b"RCPT":
                self._add(unit.line)
            case b"DATA":
                self._go_ahead()
            case b"RSET":
                self._reset()
            case b"NOOP":
                self._say(250, "ok")
            case b"QUIT":
                self._go(b"221 2.0.0 bye\r\n")
            case _:
                self._say(500, "5.5.2 unknown command")

    # Commands.

    def _hello(self) -> None:
        if not self._habits.hello:
            self._say(502, "5.5.2 unknown command")
        elif not self._meets(Stage.EHLO):
            self._out.append(_Said(replies.hello(self._habits)))

    def _begin(self, line: bytes) -> None:
        habits, server = self._habits, self._server
        if self._has_sender:
            self._say(503, "5.5.1 nested MAIL")
            return
        self._mail += 1
        if habits.most_mails and self._mail >= habits.most_mails:
            self._go(b"421 4.7.0 too many messages on this connection\r\n")
        elif habits.rate and server.taken_this_hour >= habits.rate:
            self._refuse(b"%d 4.7.1 Error: too much mail from you\r\n" % habits.too_fast)
        elif habits.parameters and b"> " in line:
            self._say(habits.parameters, "5.5.4 unsupported parameter")
        elif not self._meets(Stage.MAIL):
            self._has_sender = True
            self._say(250, "2.1.0 sender ok")

    def _add(self, line: bytes) -> None:
        habits, address = self._habits, line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace")
        if not self._has_sender:
            self._say(503, "5.5.1 MAIL first")
        elif self._meets(Stage.RCPT):
            pass
        elif (refusal := replies.refusal_of(address, self._server.hour, self._server.first_asked)) is not None:
            self._refuse(refusal)
        elif habits.most_recipients and len(self._recipients) >= habits.most_recipients:
            if habits.too_many_recipients:
                enhanced = "4.5.3" if habits.too_many_recipients == 452 else "5.5.1"
                self._say(habits.too_many_recipients, f"{enhanced} too many recipients")
            else:
                self._is_deaf = True
        else:
            self._recipients.append(address)
            self._say(250, "2.1.5 recipient ok")

    def _go_ahead(self) -> None:
        code = 354 if self._recipients else self._habits.no_recipients if self._has_sender else 503
        if not self._meets(Stage.DATA):
            self._in_message = code == 354
            self._say(code, "go ahead" if code == 354 else "5.5.1 no valid recipients")

    def _reset(self) -> None:
        code = self._habits.reset
        if code == 421:
            self._go(b"421 4.3.0 not like this\r\n")
        elif code == 250:
            self._forget()
            self._say(250, "2.0.0 ok")
        else:
            self._say(code, "5.5.1 not now")

    # Messages.

    def _refuses_chunk(self, *, is_last: bool) -> int:
        """The code with which a chunk is refused, or 0."""
        habits = self._habits
        if habits.chunks is Chunks.UNKNOWN or not habits.chunking or not habits.hello:
            return 502
        if not self._recipients or (is_last and habits.chunks is Chunks.REFUSES_LAST):
            return 503
        return 0

    def _reads_chunk(self, is_last: bool) -> bool:
        return self._habits.swallows or not self._refuses_chunk(is_last=is_last)

    def _chunk(self, unit: _Unit) -> None:
        is_last = unit.line.upper().endswith(b" LAST")
        code = self._refuses_chunk(is_last=is_last)
        if self._habits.chunks is Chunks.STOPS:
            self._is_deaf = True
        elif self._habits.chunks is Chunks.SKIPS:
            pass
        elif code:
            self._say(code, "5.5.1 not this chunk")
        elif is_last:
            self._finish(self._content + (unit.content or b""))
        elif not self._meets(Stage.DATA):
            self._content += unit.content or b""
            self._say(250, "2.0.0 octets received")

    def _end_message(self, content: bytes) -> None:
        self._in_message = False
        if content.startswith(b".") or b"\n." in content:
            content = content.removeprefix(b".") if content.startswith(b".") else content
            content = content.replace(b"\n.", b"\n")
        self._finish(content)
        if self._habits.behind_dot is BehindDot.REFUSES and self._buffer and not self._is_deaf:
            *lines, _ = bytes(self._buffer).split(b"\r\n")
            self._buffer.clear()
            for line in lines:
                self._server.ledger.lines.append(line)
                self._say(503, "5.5.1 nothing may follow the message")

    def _finish(self, content: bytes) -> None:
        """Judge a whole message, and take it unless something comes between."""
        to = tuple(self._recipients)
        self._forget()
        if not to:
            self._say(554, "5.5.1 no valid recipients")
        elif replies.is_spam(content):
            self._say(554, "5.7.1 looks like spam")
        elif not self._meets(Stage.UNTAKEN, Stage.CONTENT):
            self._server.taken_this_hour += 1
            self._confirm(self._server.ledger.take(to, content))

    def _confirm(self, taken: Taken) -> None:
        accident = self._server.accident(self._number, self._mail, Stage.TAKEN, Stage.HALF, Stage.ANSWERED)
        said = replies.yes(self._habits.form)
        if accident is None:
            self._out.append(_Said(said, then=lambda: setattr(taken, "told", True)))
        elif accident.kind is Kind.LATE:
            self._out.append(_Said(said, wait=self._server.late))
        else:
            part = {Stage.TAKEN: 0, Stage.HALF: len(said) // 2, Stage.ANSWERED: len(said)}[accident.stage]
            self._out.append(_Said(said[:part]))
            self._suffer(accident)

    def _forget(self) -> None:
        self._has_sender = False
        self._recipients = []
        self._content = b""

    # Accidents, and what is said.

    def _meets(self, *stages: Stage) -> bool:
        """Whether something happens instead of the answer."""
        accident = self._server.accident(self._number, self._mail, *stages)
        if accident:
            self._suffer(accident)
            self._pump()
        return accident is not None

    def _suffer(self, accident: Accident) -> None:
        match accident.kind:
            case Kind.GOING:
                self._go(b"421 4.3.2 going down\r\n")
            case Kind.NOT_NOW:
                self._say(451, "4.3.0 not now")
            case Kind.LATE:
                self._out.append(_Said(b"451 4.3.0 not now\r\n", wait=self._server.late))
            case Kind.SILENCE:
                self._is_deaf = True
            case _:
                self._is_deaf = True
                self._out.append(_Said(b"", kind=accident.kind))

    def _say(self, code: int, text: str) -> None:
        form = self._habits.form if self._habits.form_everywhere else None
        self._say_line(replies.line(code, text, form))

    def _say_line(self, said: bytes) -> None:
        if said[:1] in (b"4", b"5"):
            self._errors += 1
            if self._habits.most_errors and self._errors > self._habits.most_errors:
                self._go(b"421 4.7.0 Error: too many errors\r\n")
                return
        self._out.append(_Said(said))

    def _refuse(self, said: bytes) -> None:
        """Say no, and leave as well if that is what it says, or if it is nothing."""
        if said[:3] in (b"421", b""):
            self._go(said)
        else:
            self._say_line(said)

    def _go(self, farewell: bytes) -> None:
        self._is_deaf = True
        self._out += [_Said(farewell), _Said(b"", kind=Kind.FIN)]

    def _pump(self) -> None:
        """Write what may go out now."""
        if self._timer or not self._out or self._transport.is_closing():
            return
        if self._habits.slices or self._habits.delay:
            self._wait_a_little()
        self._write()

    def _wait_a_little(self) -> None:
        said = [one for one in self._out if one.kind is None]
        slowly: list[_Said] = []
        for one in said if self._habits.slices else ():
            size = -(-len(one.data) // _SLICES)
            parts = [one.data[start : start + size] for start in range(0, len(one.data), size or 1)]
            slowly += [_Said(part, one.wait or _BETWEEN) for part in parts[:-1]]
            slowly += [_Said(part, _BETWEEN, one.then) for part in parts[-1:]]
        ends = [one for one in self._out if one.kind is not None]
        kept = slowly if self._habits.slices else said
        if kept and self._habits.delay:
            kept[0] = kept[0]._replace(wait=kept[0].wait + self._habits.delay)
        self._out = deque([*kept, *ends])

    def _write(self) -> None:
        self._timer = None
        data, done = b"", []
        while self._out and not self._out[0].wait and self._out[0].kind is None:
            one = self._out.popleft()
            data += one.data
            done += [one.then] if one.then else []
        if data:
            self._transport.write(data)
        for then in done:
            then()
        if not self._out:
            return
        if self._out[0].kind is not None:
            self._end(self._out.popleft().kind)
        else:
            wait = self._out[0].wait
            self._out[0] = self._out[0]._replace(wait=0.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._write)

    def _end(self, kind: Kind | None) -> None:
        if kind is Kind.RST:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()
