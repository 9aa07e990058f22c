"""An SMTP server for the tests, on loopback, that does what a script says."""

import base64
import contextlib
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self, cast

from tests.patience import PATIENCE, stretched

Action = Callable[["Connection"], None]
Answer = str | bytes | Action | Sequence["str | bytes | Action"]


class _Over(Exception):
    """This connection is at its end."""


@dataclass
class Connection:
    """One client at the scripted server."""

    sock: socket.socket
    server: "ScriptedServer"
    buffer: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    command: str = ""
    has_spoken: bool = False  # since it last listened
    chunks: bytes = b""
    has_recipient: bool = False
    said: int = 0

    def send(self, data: bytes) -> None:
        self.has_spoken = True
        left = self.server.says - self.said
        self.said += len(data)
        self.sock.sendall(data[:left])
        if len(data) >= left:
            raise _Over

    def receive(self) -> None:
        data = self.sock.recv(min(65536, self.server.hears - len(self.received)))
        if not data:
            raise _Over
        self.buffer += data
        self.received += data
        self.server.flights.append(data)
        self.server.round_trips += self.has_spoken
        self.has_spoken = False

    def line(self) -> bytes:
        while (end := self.buffer.find(b"\n")) < 0:
            self.receive()
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        return line

    def message(self) -> bytes:
        while not self.buffer.startswith(b".\r\n") and b"\r\n.\r\n" not in self.buffer:
            self.receive()
        end = 0 if self.buffer.startswith(b".\r\n") else self.buffer.find(b"\r\n.\r\n") + 2
        message = bytes(self.buffer[:end])
        del self.buffer[: end + 3]
        return message

    def octets(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.receive()
        chunk = bytes(self.buffer[:count])
        del self.buffer[:count]
        return chunk


def close(_connection: Connection) -> None:
    """End the connection in an orderly way."""
    raise _Over


def reset(connection: Connection) -> None:
    """End the connection with a TCP reset."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise _Over


def hang(connection: Connection) -> None:
    """Say nothing more until the client has gone or the server is stopped."""
    with contextlib.suppress(OSError):
        connection.sock.settimeout(None)
        while connection.sock.recv(65536):
            pass
    raise _Over


def drip(text: bytes, pause: float = 0.05) -> Action:
    """Send ``text`` octet by octet, at this machine's pace."""

    def act(connection: Connection) -> None:
        for octet in text:
            connection.send(bytes([octet]))
            if connection.server.stopping.wait(stretched(pause)):
                raise _Over

    return act


def flood(chunk: bytes) -> Action:
    """Send ``chunk`` again and again, until the client has gone."""

    def act(connection: Connection) -> None:
        while not connection.server.stopping.is_set():
            connection.send(chunk)

    return act


def late(answer: str, seconds: float) -> Action:
    """Answer only after ``seconds``."""

    def act(connection: Connection) -> None:
        connection.server.stopping.wait(seconds)
        connection.send(_lines(answer))

    return act


def start_tls(answer: str = "220 go ahead", *, inject: bytes = b"") -> Action:
    """Answer STARTTLS, with ``inject`` in the same segment, and encrypt with the server's context."""

    def act(connection: Connection) -> None:
        connection.send(_lines(answer) + inject)
        connection.server.encrypt(connection)

    return act


def challenged(answer: str = "235 2.7.0 welcome") -> Action:
    """Go through the challenges of the mechanism that was asked for, then answer."""

    def act(connection: Connection) -> None:
        _, mechanism, *initial = connection.command.split()
        for challenge in () if initial else _CHALLENGES[mechanism.upper()]:
            connection.send(b"334 " + base64.b64encode(challenge) + b"\r\n")
            connection.server.commands.append(connection.line().decode().rstrip("\r\n"))
        connection.send(_lines(answer))

    return act


def pause(seconds: float) -> Action:
    """Wait, so that what follows comes in a segment of its own."""

    def act(connection: Connection) -> None:
        connection.server.stopping.wait(seconds)

    return act


_POLITE: dict[str, Answer] = {
    "GREETING": "220 scripted.test ESMTP",
    "EHLO": "250-scripted.test\n250-PIPELINING\n250 8BITMIME",
    "HELO": "250 scripted.test",
    "STARTTLS": start_tls(),
    "AUTH": challenged(),
    "MAIL": "250 2.1.0 sender ok",
    "RCPT": "250 2.1.5 recipient ok",
    "DATA": "354 go ahead",
    "BODY": b"",  # said while the message comes in, before its final dot
    "MESSAGE": "250 2.0.0 Ok: queued as S0001",
    "BDAT": "250 2.0.0 octets received",  # to a chunk that is not the last
    "UNWANTED": "503 5.5.1 no valid recipients",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": ("221 2.0.0 bye", close),
}
_CHALLENGES = {
    "PLAIN": (b"",),
    "LOGIN": (b"Username:", b"Password:"),
    "CRAM-MD5": (b"<1896.697170952@scripted.test>",),
}


class ScriptedServer:
    """A thread-based server that answers each verb as told and records every octet.

    ``script`` maps GREETING, EHLO, ... MESSAGE (the final dot), QUIT to an answer: text (lines parted by a
    newline), octets, an action such as ``close``, or a tuple of these done in turn. A list gives the answers
    of the first, second, ... time; the last of it goes on. An unknown verb is answered 502. The last chunk of
    BDAT is taken and answered as MESSAGE, unless "BDAT LAST" says otherwise. A chunk that is refused is read all the
    same if the server ``swallows``, else its lines are commands; one before any recipient is refused with UNWANTED.
    ``tls`` is used by ``start_tls``, or with ``implicit`` from the start. ``round_trips`` counts how often
    something came after an answer: the opening, each later wait, QUIT.
    A connection ends after ``hears`` octets heard or ``says`` octets said.
    """

    def __init__(
        self,
        script: Mapping[str, Answer | list[Answer]] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        host: str = "127.0.0.1",
        hears: int = sys.maxsize,
        says: int = sys.maxsize,
        port: int = 0,
        swallows: bool = True,
    ) -> None:
        self.hears, self.says = hears, says
        self.swallows = swallows
        self.stopping = threading.Event()
        self.connections: list[Connection] = []
        self.commands: list[str] = []
        self.messages: list[bytes] = []
        self.flights: list[bytes] = []  # what came in one piece each
        self.round_trips = 0
        self.host = host
        self._script = {**_POLITE, **(script or {})}
        self._times: dict[str, int] = {}
        self._tls = tls
        self._implicit = implicit
        self._heard = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a scripted connection did not end"

    @property
    def received(self) -> bytes:
        """All that clients have said, decrypted, connection after connection."""
        return b"".join(bytes(connection.received) for connection in self.connections)

    @property
    def verbs(self) -> list[str]:
        """The verb of each command, in the order in which they came."""
        return [command.partition(" ")[0].upper() for command in self.commands]

    def wait_for(self, verb: str, timeout: float = PATIENCE) -> None:
        """Wait until a command with this verb has come."""
        with self._heard:
            assert self._heard.wait_for(lambda: verb in self.verbs, timeout), f"no {verb} came"

    def wait_until_left(self, timeout: float = PATIENCE) -> None:
        """Wait until the server has ended every connection that it has had."""
        for thread in self._threads[1:]:
            thread.join(timeout)
            assert not thread.is_alive(), "the server is still connected"

    def encrypt(self, connection: Connection) -> None:
        assert self._tls is not None
        connection.sock = self._tls.wrap_socket(connection.sock, server_side=True)

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.settimeout(PATIENCE)
                connection = Connection(sock, self)
                self.connections.append(connection)
                self._run(partial(self._serve, connection))

    def _serve(self, connection: Connection) -> None:
        try:
            with contextlib.suppress(_Over, OSError):
                if self._implicit:
                    self.encrypt(connection)
                self._play("GREETING", connection)
                while True:
                    self._obey(connection.line().decode("utf-8", "replace").rstrip("\r\n"), connection)
        finally:
            connection.sock.close()

    def _obey(self, command: str, connection: Connection) -> None:
        verb = command.partition(" ")[0].upper()
        with self._heard:
            self.commands.append(command)
            self._heard.notify_all()
        connection.command = command
        if verb == "BDAT":
            self._take_chunk(connection)
            return
        said = self._play(verb, connection)
        if verb in ("RSET", "EHLO"):
            connection.chunks, connection.has_recipient = b"", False
        if verb == "RCPT" and said.startswith(b"2"):
            connection.has_recipient = True
        if verb == "DATA" and said.startswith(b"354"):
            self._take_message(connection)

    def _take_message(self, connection: Connection) -> None:
        if self._script["BODY"]:
            while not connection.buffer:
                connection.receive()
            self._play("BODY", connection)
        self.messages.append(connection.message())
        self._play("MESSAGE", connection)

    def _take_chunk(self, connection: Connection) -> None:
        is_last = connection.command.endswith(" LAST")
        count = int(connection.command.split()[1])
        if not connection.has_recipient and not is_last:
            said = self._play("UNWANTED", connection)
        elif not is_last:
            said = self._play("BDAT", connection)
        elif "BDAT LAST" in self._script:
            said = self._play("BDAT LAST", connection)
        elif self.swallows or connection.has_recipient:
            self.messages.append(connection.chunks + connection.octets(count))
            connection.chunks = b""
            self._play("MESSAGE", connection)
            return
        else:
            said = self._play("UNWANTED", connection)
        if said.startswith(b"2") or self.swallows:
            connection.chunks += connection.octets(count)

    def _play(self, verb: str, connection: Connection) -> bytes:
        answer = self._script.get(verb, "502 5.5.2 unknown command")
        if isinstance(answer, list):
            times = self._times.get(verb, 0)
            self._times[verb] = times + 1
            answer = cast(Answer, answer[min(times, len(answer) - 1)])
        said = b""
        for part in answer if isinstance(answer, tuple) else (answer,):
            if callable(part):
                part(connection)
            else:
                said = part if isinstance(part, bytes) else _lines(cast(str, part))
                connection.send(said)
        return said


def _lines(answer: str) -> bytes:
    return b"".join(line.encode() + b"\r\n" for line in answer.split("\n"))
