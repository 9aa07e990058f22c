"""The submission gateway in a thread of the test's own, and a client that says to it exactly what a test wants said."""

import asyncio
import base64
import socket
import ssl
import threading
from typing import Final, Self

from flask import Flask
from sqlalchemy import select

from database.engine import reading
from database.outbox_db import OutboxMail
from services.accounts import api_tokens
from services.gateway.listening import Gateway
from services.message.draft import Draft
from services.outbox import content
from tests.patience import PATIENCE

MAIL: Final = b"From: alice@example.com\r\nTo: jane@example.org\r\nSubject: Hello\r\n\r\nHello.\r\n"


class RunningGateway:
    """A gateway for this application, until the block ends."""

    def __init__(self, app: Flask) -> None:
        self.gateway = Gateway(app)

    def __enter__(self) -> Self:
        listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.gateway.run(listens.set)), daemon=True)
        self._thread.start()
        assert listens.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def ports(self) -> list[int]:
        return [int(each.rpartition(":")[2]) for each in self.gateway.addresses]

    def talk(self, *, source: str = "127.0.0.1", place: int = 0) -> "Talk":
        """A connection that has heard the greeting."""
        talk = Talk(self.ports[place], source)
        assert talk.heard().startswith("220 ")
        return talk


class Talk:
    """One connection, by lines and octets."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket: socket.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0)
        )
        self._heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def say(self, line: str) -> str:
        """Say a command; the whole reply, its lines joined by LF."""
        self.send(line.encode() + b"\r\n")
        return self.heard()

    def heard(self) -> str:
        """The next reply; "" at the end of the connection."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = self._line()
            if not line:
                break
            lines.append(line)
        return "\n".join(lines)

    def codes(self, replies: int) -> list[int]:
        """The codes of so many replies."""
        return [int(self.heard()[:3] or 0) for _ in range(replies)]

    def is_ended(self) -> bool:
        """Waits for the end of the connection."""
        return self.heard() == ""

    def hello(self, name: str = "client.example") -> str:
        return self.say(f"EHLO {name}")

    def sign_in(self, login: str, token: str) -> str:
        return self.say("AUTH PLAIN " + base64.b64encode(f"\0{login}\0{token}".encode()).decode())

    def hand_over(self, message: bytes = MAIL, *recipients: str) -> str:
        """MAIL, RCPT and DATA with this message, in which leading dots are doubled; the last reply."""
        assert self.say("MAIL FROM:<alice@example.com>").startswith("250")
        for recipient in recipients or ("jane@example.org",):
            assert self.say(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.say("DATA").startswith("354")
        self.send(stuffed(message) + b".\r\n")
        return self.heard()

    def begin_tls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._heard = b""

    def _line(self) -> str:
        while b"\n" not in self._heard:
            try:
                octets = self.socket.recv(65536)
            except ConnectionError:
                octets = b""
            if not octets:
                return ""
            self._heard += octets
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode().rstrip("\r")


def stuffed(message: bytes) -> bytes:
    """As it stands between DATA and its dot."""
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]


def token_of(account_id: int, *scopes: str) -> str:
    return api_tokens.create(account_id, "Gitea", scopes=scopes or ("send",))[0]


def queued() -> list[OutboxMail]:
    """What was taken, in order."""
    with reading() as session:
        return list(session.scalars(select(OutboxMail).order_by(OutboxMail.id)))


def drafts() -> list[Draft]:
    return [content.unseal(row) for row in queued()]


def original(draft: Draft, added: int = 3) -> bytes:
    """What was handed over, without the fields (Received has three lines) that the gateway put before it."""
    lines = draft.rest.split(b"\r\n")
    assert lines[0].startswith(b"Received: from ")
    return b"\r\n".join(lines[added:])
