"""Real SMTP servers for the tests, on loopback: one that records mail, one that does what a script says."""

import asyncio
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
from typing import Any, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PATIENCE = 5.0  # seconds; a test that waits longer has failed


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return cast(int, probe.getsockname()[1])


@dataclass(frozen=True)
class RecordedMail:
    """A message as it arrived: the envelope, its content with CRLF, and how it came."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    mail_options: tuple[str, ...]
    encrypted: bool
    login: str | None


@dataclass(frozen=True)
class AuthAttempt:
    mechanism: str
    username: bytes
    password: bytes


class RecordingServer:
    """A well-behaved server (aiosmtpd) that keeps every mail, every login and every octet.

    ``tls`` is the context for STARTTLS, or with ``implicit`` for TLS from the first byte; ``users`` switches
    AUTH on and requires it. ``data``, decrypted, is what clients have said.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        users: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        smtputf8: bool = False,
        size_limit: int = 33_554_432,
        refuse: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.port = port or free_port(host)
        self.mails: list[RecordedMail] = []
        self.auth_attempts: list[AuthAttempt] = []
        self.data = bytearray()
        self._users = users
        self._refuse = dict(refuse or {})
        self._arrived = threading.Condition()
        self._controller = _Controller(
            self,
            hostname=host,
            port=self.port,
            ready_timeout=PATIENCE,
            ssl_context=tls if implicit else None,
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
            auth_require_tls=tls is not None and not implicit,
            authenticator=self._authenticate,
            auth_exclude_mechanism=() if users is not None else ("LOGIN", "PLAIN"),
            enable_SMTPUTF8=smtputf8,
            data_size_limit=size_limit,
            ident="recording server",
            server_hostname="mail.test",
        )

    def __enter__(self) -> Self:
        self._controller.start()
        self.data.clear()  # the controller's own probe
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def wait_for_mail(self, count: int = 1, timeout: float = PATIENCE) -> list[RecordedMail]:
        """The mails, once there are at least ``count``; AssertionError if they do not come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.mails) >= count, timeout), "no mail came"
            return list(self.mails)

    async def handle_MAIL(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        # aiosmtpd's own auth_required warns when it is used without STARTTLS.
        if self._users is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if address in self._refuse:
            return self._refuse[address]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._refuse:
            return self._refuse[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = RecordedMail(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            content=cast(bytes, envelope.original_content),
            mail_options=tuple(envelope.mail_options),
            encrypted=session.ssl is not None or self._controller.ssl_context is not None,
            login=_text(cast(Any, session.auth_data).login) if session.authenticated else None,
        )
        with self._arrived:
            self.mails.append(mail)
            self._arrived.notify_all()
        return f"250 OK: queued as R{len(self.mails):04d}"

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        login = cast(LoginPassword, data)
        self.auth_attempts.append(AuthAttempt(mechanism, login.login, login.password))
        known = (self._users or {}).get(_text(login.login))
        return AuthResult(
            success=known is not None and known.encode() == login.password, handled=False, auth_data=login
        )


class _Protocol(SMTP):
    """aiosmtpd's protocol that also keeps what it was told."""

    recorder: RecordingServer

    def data_received(self, data: bytes) -> None:
        self.recorder.data += data
        super().data_received(data)


class _Controller(Controller):
    def __init__(self, recorder: RecordingServer, **options: Any) -> None:
        super().__init__(recorder, **options)
        self._protocols: list[_Protocol] = []

    def factory(self) -> SMTP:
        protocol = _Protocol(self.handler, loop=self.loop, **self.SMTP_kwargs)
        protocol.recorder = self.handler
        self._protocols.append(protocol)
        return protocol

    def stop(self, no_assert: bool = False) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self.loop).result(PATIENCE)
        super().stop(no_assert)

    async def _hang_up(self) -> None:
        """End what is still connected, so that no transport is left open behind the loop."""
        while live := [protocol for protocol in self._protocols if protocol.transport is not None]:
            for protocol in live:
                cast(asyncio.WriteTransport, protocol.transport).abort()
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        await asyncio.gather(*others, return_exceptions=True)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


# The scripted server.

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
    """Send ``text`` octet by octet."""

    def act(connection: Connection) -> None:
        for octet in text:
            connection.send(bytes([octet]))
            if connection.server.stopping.wait(pause):
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
    BDAT is taken and answered as MESSAGE. ``tls`` is used by ``start_tls``, or with ``implicit`` from the first
    byte. ``round_trips`` counts how often something came after an answer: the opening, each later wait, QUIT.
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
    ) -> None:
        self.hears, self.says = hears, says
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
        if verb == "BDAT" and command.endswith(" LAST"):
            self._take_last_chunk(connection)
            return
        said = self._play(verb, connection)
        if verb == "BDAT" and said.startswith(b"2"):
            connection.chunks = connection.octets(int(command.split()[1]))
        if verb == "DATA" and said.startswith(b"354"):
            self._take_message(connection)

    def _take_message(self, connection: Connection) -> None:
        if self._script["BODY"]:
            while not connection.buffer:
                connection.receive()
            self._play("BODY", connection)
        self.messages.append(connection.message())
        self._play("MESSAGE", connection)

    def _take_last_chunk(self, connection: Connection) -> None:
        content = connection.octets(int(connection.command.split()[1]))
        self.messages.append(connection.chunks + content)
        connection.chunks = b""
        self._play("MESSAGE", connection)

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
