"""Servers at which a set-up breaks, each in its own way, and the operator who can mend them."""

import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests import certificates
from tests.scripted_server import Action, Answer, Connection, ScriptedServer, hang

LOGIN: Final = "shop@firm.example"
PASSWORD: Final = "right-s3cret"
HOST: Final = "mail.firm.example"
ADDRESS: Final = "127.88.0.1"  # nobody else listens on it, so that its usual mail ports are free
NAMES: Final = (HOST, "smtp.firm.example", "both.firm.example", "smtp.gmail.com", "smtp.office365.com")
ZONE: Final = {
    **{(name, "A"): [ADDRESS] for name in NAMES},
    ("both.firm.example", "AAAA"): ["::1"],
    ("www.firm.example", "A"): ["127.88.0.2"],
}
USUAL: Final = 2525  # the one of the usual ports that anybody may listen on
OFFERS: Final = "250-mail.test\n250-STARTTLS\n250 AUTH PLAIN LOGIN"
REFUSED: Final = "535 5.7.8 Error: authentication failed"


@dataclass
class Operator:
    """Who runs the mail server, and the machine that Sealpost is on: ``ca_file`` is what SMTP_CA_FILE names."""

    ca_file: Path
    server: ScriptedServer = field(init=False)
    certificate: ssl.SSLContext = field(init=False)

    def renew_the_certificate(self) -> None:
        certificates.authority().issue_cert(*NAMES).configure_cert(self.certificate)

    def trust_the_authority(self) -> None:
        self._trust(certificates.stranger().cert_pem.bytes())

    def trust_the_certificate(self) -> None:
        self._trust(ssl.get_server_certificate((ADDRESS, self.server.port)).encode())

    def _trust(self, certificate: bytes) -> None:
        self.ca_file.write_bytes(self.ca_file.read_bytes() + certificate)


Place = Callable[[Operator], AbstractContextManager[int]]


def mail_server(
    context: Callable[[], ssl.SSLContext] | None = None,
    *,
    implicit: bool = False,
    port: int = 0,
    **script: Answer | list[Answer],
) -> Place:
    """A server that takes PASSWORD after STARTTLS, with the answers of ``script`` in place of its own."""

    @contextmanager
    def run(operator: Operator) -> Iterator[int]:
        tls = operator.certificate = context() if context else certificates.good_context(*NAMES)
        answers = {"EHLO": OFFERS, "AUTH": signs_in(PASSWORD), **script}
        with ScriptedServer(answers, tls=tls, implicit=implicit, host=ADDRESS, port=port) as server:
            operator.server = server
            yield server.port

    return run


def besides(place: Place) -> Place:
    """This, and a good mail server on another port of the same machine."""

    @contextmanager
    def run(operator: Operator) -> Iterator[int]:
        with place(operator) as port, mail_server(port=USUAL)(operator):
            yield port

    return run


def stranger(greeting: str) -> Place:
    """A server of another kind, and a mail server beside it."""
    return besides(mail_server(GREETING=(greeting, hang)))


@contextmanager
def nothing(_operator: Operator) -> Iterator[int]:
    yield 587


@contextmanager
def firewall(_operator: Operator) -> Iterator[int]:
    """A port that gives no answer, not even a refusal: its queue is full."""
    with (
        socket.create_server((ADDRESS, 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield listener.getsockname()[1]


def signs_in(password: str, refusal: str = REFUSED) -> Action:
    return only_with(base64.b64encode(f"\0{LOGIN}\0{password}".encode()).decode(), "235 2.7.0 welcome", refusal)


def only_with(text: str, answer: str, refusal: str) -> Action:
    """Give ``answer`` to commands that hold ``text``, and refuse all others."""

    def act(connection: Connection) -> None:
        connection.send(_line(answer if text in connection.command else refusal))

    return act


def only_signed_in(answer: str, refusal: str) -> Action:
    """Give ``answer`` to whoever has signed in, and refuse all others."""

    def act(connection: Connection) -> None:
        connection.send(_line(answer if b"AUTH PLAIN" in connection.received else refusal))

    return act


def _line(text: str) -> bytes:
    return "".join(f"{line}\r\n" for line in text.split("\n")).encode()


def for_another_name() -> ssl.SSLContext:
    return certificates.good_context("smtp.firm.example")


def expired() -> ssl.SSLContext:
    return certificates.made_context(names=(HOST,), starts_in_days=-90, ends_in_days=-2)


def self_signed() -> ssl.SSLContext:
    return certificates.made_context(names=(HOST,), common_name=HOST, self_signed=True)


def of_a_private_authority() -> ssl.SSLContext:
    return certificates.server_context(certificates.stranger().issue_cert(HOST))
