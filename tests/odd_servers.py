"""A plain SMTP server for the tests that hears, counts and refuses in odd ways, as some real ones do."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Self

from tests.patience import PATIENCE
from tests.scripted_server import Answer

# From the commands that came in one read, behind the end of a message or not, to those that the server acts upon.
# A refused one begins with REFUSED.
Hearing = Callable[[list[bytes], bool], list[bytes]]
REFUSED: Final = b"\0"
_GREETING: Final = b"220 odd.test ESMTP\r\n"


def all_of_it(lines: list[bytes], _is_behind: bool) -> list[bytes]:
    return lines


def first_of_a_segment(lines: list[bytes], is_behind: bool) -> list[bytes]:
    return [] if is_behind else lines[:1]


def last_of_a_segment(lines: list[bytes], _is_behind: bool) -> list[bytes]:
    return lines[-1:]


def not_behind_the_dot(lines: list[bytes], is_behind: bool) -> list[bytes]:
    """Haraka 3.3.4: 503 to each command that came in the same read as the final dot."""
    return [REFUSED + line for line in lines] if is_behind else lines


@dataclass
class _Session:
    sock: socket.socket
    recipients: list[str] = field(default_factory=list)
    content: list[bytes] | None = None
    chunk: int = 0
    chunks: bytes = b""
    has_sender: bool = False
    taken: int = 0


class OddServer:
    """One thread a connection. ``commands`` are the lines that it obeyed, ``numbers`` the X-Number of each mail taken.

    ``hearing`` is applied to the commands of one read. With ``lone_dot`` a message ends only where a read ends. After
    ``most_recipients`` of a mail each RCPT gets ``beyond``, or silence if that is no text; after ``most_mails``
    it says 421. ``size`` is its answer to MAIL with a size.
    """

    def __init__(
        self,
        hearing: Hearing = all_of_it,
        *,
        pipelining: bool = True,
        chunking: bool = False,
        swallows: bool = True,
        unknown: Collection[str] = (),
        most_recipients: int = 1000,
        beyond: Answer = "452 4.5.3 too many recipients",
        most_mails: int = 1000,
        lone_dot: bool = False,
        size: str = "",
        hangs_up_at: Collection[str] = (),
    ) -> None:
        self.lone_dot, self.size, self.hangs_up_at = lone_dot, size, hangs_up_at
        self.hearing, self.swallows, self.unknown = hearing, swallows, unknown
        self.most_recipients, self.beyond, self.most_mails = most_recipients, beyond, most_mails
        self.offers = [b"odd.test", *[b"PIPELINING"] * pipelining, *[b"CHUNKING"] * chunking, b"SIZE 1000000"]
        self.commands: list[str] = []
        self.numbers: list[int] = []
        self.recipients: list[str] = []
        self.connected = self.goodbyes = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    @property
    def verbs(self) -> list[str]:
        return [line.partition(" ")[0].upper() for line in self.commands]

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.settimeout(PATIENCE)
                self._sockets.append(sock)
                self.connected += 1
                self._run(lambda sock=sock: self._serve(_Session(sock)))  # type: ignore[misc]

    def _serve(self, session: _Session) -> None:
        rest = b""
        with contextlib.suppress(OSError), session.sock:
            session.sock.sendall(_GREETING)
            while data := session.sock.recv(1 << 20):
                rest = self._read(session, rest + data)

    def _read(self, session: _Session, data: bytes) -> bytes:
        """Act on what has come; give what is left of it."""
        while data:
            if session.chunk:
                part, data = data[: session.chunk], data[session.chunk :]
                session.chunk -= len(part)
                session.chunks += part
                if session.chunk:
                    return data
                self._end_chunk(session)
                continue
            *lines, rest = data.split(b"\r\n")
            if not lines:
                return rest
            if self.hearing in (first_of_a_segment, last_of_a_segment):
                self._hear_all(session, lines, is_whole=not rest)
                return rest
            if session.content is None and lines[0][:4].upper() == b"BDAT":
                data = data[len(lines[0]) + 2 :]
                self._obey(session, lines[0])
            elif session.content is None and (chunk := _first_chunk(lines)):
                data = data[len(b"\r\n".join(lines[:chunk])) + 2 :]
                self._hear(session, lines[:chunk], is_behind=False)
            else:
                self._hear_all(session, lines, is_whole=not rest)
                data = rest
                if rest:
                    return rest
        return data

    def _hear_all(self, session: _Session, lines: list[bytes], *, is_whole: bool) -> None:
        """The commands, or the end of a message and the commands behind it."""
        is_behind = session.content is not None
        while session.content is not None and lines:
            line = lines.pop(0)
            if line == b"." and not (self.lone_dot and (lines or not is_whole)):
                content, session.content = session.content, None
                self._take(session, b"\r\n".join(content))
            else:
                session.content.append(line)
        self._hear(session, lines, is_behind=is_behind)

    def _hear(self, session: _Session, lines: list[bytes], *, is_behind: bool) -> None:
        for line in self.hearing(lines, is_behind) if lines else []:
            self._obey(session, line)

    def _obey(self, session: _Session, line: bytes) -> None:
        if line.startswith(REFUSED):
            self._say(session, b"503 Bad sequence of commands")
            return
        text = line.decode("utf-8", "replace")
        with self._lock:
            self.commands.append(text)
        verb, _, rest = text.partition(" ")
        act = getattr(self, f"_on_{verb.lower()}", None)
        if act:
            act(session, rest)
        else:
            self._say(session, b"500 unknown command")

    def _take(self, session: _Session, content: bytes) -> None:
        found = re.search(rb"X-Number: (\d+)", content)
        with self._lock:
            if found:
                self.numbers.append(int(found[1]))
            self.recipients += session.recipients
        session.taken += 1
        session.recipients, session.has_sender = [], False
        self._say(session, b"250 2.0.0 taken")

    def _say(self, session: _Session, line: bytes) -> None:
        session.sock.sendall(line + b"\r\n")

    def _on_ehlo(self, session: _Session, _: str) -> None:
        session.sock.sendall(
            b"".join(b"250-%s\r\n" % line for line in self.offers[:-1]) + b"250 %s\r\n" % self.offers[-1]
        )

    def _on_mail(self, session: _Session, rest: str) -> None:
        if self.size and "SIZE=" in rest:
            self._say(session, self.size.encode())
            return
        if session.taken >= self.most_mails:
            self.goodbyes += 1
            self._say(session, b"421 4.7.0 Too many messages on this connection")
            session.sock.shutdown(socket.SHUT_RDWR)
            raise OSError
        if session.has_sender:
            self._say(session, b"503 nested MAIL")
            return
        session.has_sender = True
        self._say(session, b"250 2.1.0 ok")

    def _on_rcpt(self, session: _Session, rest: str) -> None:
        address = rest.partition("<")[2].partition(">")[0]
        if not session.has_sender:
            self._say(session, b"503 need MAIL")
        elif address in self.hangs_up_at:
            session.sock.shutdown(socket.SHUT_RDWR)
            raise OSError
        elif address in self.unknown:
            self._say(session, b"550 5.1.1 no such user")
        elif len(session.recipients) < self.most_recipients:
            session.recipients.append(address)
            self._say(session, b"250 2.1.5 ok")
        elif isinstance(self.beyond, str):
            self._say(session, self.beyond.encode())

    def _on_data(self, session: _Session, _: str) -> None:
        if session.recipients:
            session.content = []
            self._say(session, b"354 go ahead")
        else:
            self._say(session, b"503 need RCPT")

    def _on_bdat(self, session: _Session, rest: str) -> None:
        size = int(rest.split(maxsplit=1)[0])
        if session.recipients or self.swallows:
            session.chunk, session.chunks = size, b""
        if not session.recipients:
            self._say(session, b"502 5.5.1 missing RCPT")

    def _end_chunk(self, session: _Session) -> None:
        if session.recipients:
            self._take(session, session.chunks)

    def _on_rset(self, session: _Session, _: str) -> None:
        session.recipients, session.has_sender = [], False
        self._say(session, b"250 2.0.0 ok")

    def _on_quit(self, session: _Session, _: str) -> None:
        self._say(session, b"221 bye")
        session.sock.shutdown(socket.SHUT_RDWR)
        raise OSError


def _first_chunk(lines: list[bytes]) -> int:
    """The place of the first BDAT among the commands; 0 if there is none behind others."""
    return next((place for place, line in enumerate(lines) if line[:4].upper() == b"BDAT"), 0)
