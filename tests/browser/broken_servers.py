"""Servers at which a set-up breaks, each in its own way, and the operator who can mend them."""

import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from secrets import randbelow
from typing import Final, cast

import pytest

from tests import certificates
from tests.dns_server import Fails, Turns, Zone
from tests.scripted_server import Action, Answer, Connection, ScriptedServer, close, hang

LOGIN: Final = "shop@firm.example"
PASSWORD: Final = "right-s3cret"
HOST: Final = "mail.firm.example"
# Nobody else listens there, another run of these tests included, so that the usual mail ports are free.
NETWORK: Final = f"127.{randbelow(200) + 20}.{randbelow(250)}"
ADDRESS: Final = f"{NETWORK}.1"
NAMES: Final = (
    HOST,
    "smtp.firm.example",
    "both.firm.example",
    "shaky.firm.example",
    "smtp.gmail.com",
    "smtp.office365.com",
)
ZONE: Final[Zone] = {
    **{(name, "A"): [ADDRESS] for name in NAMES if name != "shaky.firm.example"},
    ("both.firm.example", "AAAA"): ["::1"],
    ("www.firm.example", "A"): [f"{NETWORK}.2"],
    ("mails.example", "MX"): [f"10 {HOST}."],
    ("texts.firm.example", "TXT"): ["v=spf1 -all"],
    ("shaky.firm.example", "A"): Turns(Fails.SERVFAIL, [ADDRESS]),
}
USUAL: Final = 2525  # the one of the usual ports that anybody may listen on
OFFERS: Final = "250-mail.test\n250-STARTTLS\n250 AUTH PLAIN LOGIN"
NO_SIGN_IN: Final = "250-mail.test\n250 STARTTLS"
REFUSED: Final = "535 5.7.8 Error: authentication failed"


@dataclass
class Operator:
    """Who runs the mail server, and the machine that Sealpost is on: ``ca_file`` is what SMTP_CA_FILE names."""

    ca_file: Path
    server: ScriptedServer = field(init=False)
    certificate: ssl.SSLContext = field(init=False)
    has_mended: bool = False

    def change_the_server(self) -> None:
        """Do what was asked for: from now on its answers are those that UntilMended keeps for afterwards."""
        self.has_mended = True

    def renew_the_certificate(self) -> None:
        certificates.authority().issue_cert(*NAMES).configure_cert(self.certificate)

    def trust_the_authority(self) -> None:
        self._trust(certificates.stranger().cert_pem.bytes())

    def trust_the_certificate(self) -> None:
        self._trust(ssl.get_server_certificate((ADDRESS, self.server.port)).encode())

    def _trust(self, certificate: bytes) -> None:
        self.ca_file.write_bytes(self.ca_file.read_bytes() + certificate)


Place = Callable[[Operator], AbstractContextManager[int]]


@dataclass(frozen=True)
class UntilMended:
    """The answer of a server ``before`` its operator has changed it, and ``after``."""

    before: Answer
    after: Answer

    def as_of(self, operator: Operator) -> Action:
        def act(connection: Connection) -> None:
            answer = self.after if operator.has_mended else self.before
            for part in answer if isinstance(answer, tuple) else (answer,):
                if callable(part):
                    part(connection)
                else:
                    connection.send(_line(cast(str, part)))

        return act


def mail_server(
    context: Callable[[], ssl.SSLContext] | None = None,
    *,
    implicit: bool = False,
    port: int = 0,
    **script: Answer | list[Answer] | UntilMended,
) -> Place:
    """A server that takes PASSWORD after STARTTLS, with the answers of ``script`` in place of its own."""

    @contextmanager
    def run(operator: Operator) -> Iterator[int]:
        tls = operator.certificate = context() if context else certificates.good_context(*NAMES)
        answers: dict[str, Answer | list[Answer]] = {"EHLO": OFFERS, "AUTH": signs_in(PASSWORD)}
        for verb, answer in script.items():
            answers[verb] = answer.as_of(operator) if isinstance(answer, UntilMended) else answer
        with ScriptedServer(answers, tls=tls, implicit=implicit, host=ADDRESS, port=port) as server:
            operator.server = server
            yield server.port

    return run


def besides(place: Place, other: Place | None = None) -> Place:
    """This, and a good mail server on another port of the same machine."""
    other = other or mail_server(port=USUAL)

    @contextmanager
    def run(operator: Operator) -> Iterator[int]:
        with place(operator) as port, other(operator):
            yield port

    return run


def privileged(place: Place) -> Place:
    """This, where the machine lets us listen on a port below 1024."""

    @contextmanager
    def run(operator: Operator) -> Iterator[int]:
        with ExitStack() as held:
            try:
                port = held.enter_context(place(operator))
            except PermissionError:
                pytest.skip("this machine keeps the usual ports to its administrator")
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


def only_from(text: str, answer: str, refusal: str) -> Action:
    """Give ``answer`` where the sender that was named last holds ``text``, and refuse all others."""
    return _only_after(b"MAIL FROM:", text, answer, refusal)


def only_greeted_by(text: str, answer: str, refusal: str) -> Action:
    """Give ``answer`` to clients whose name holds ``text``, and refuse all others."""
    return _only_after(b"EHLO ", text, answer, refusal)


def _only_after(command: bytes, text: str, answer: str, refusal: str) -> Action:
    def act(connection: Connection) -> None:
        said = connection.received.rpartition(command)[2].partition(b"\r\n")[0]
        connection.send(_line(answer if text.encode() in said else refusal))

    return act


def offering(keyword: str) -> str:
    """OFFERS, and this."""
    first, _, rest = OFFERS.partition("\n")
    return f"{first}\n250-{keyword}\n{rest}"


def one_at_a_time(connection: Connection) -> None:
    """Take a command, and drop all that has come in one piece with it."""
    connection.buffer.clear()
    connection.send(b"250 2.1.0 ok\r\n")


def answers_as_the_web(connection: Connection) -> None:
    """Wait for a request, as a web server does, and find it bad."""
    connection.line()
    connection.send(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n")
    close(connection)


@cache
def client() -> certificates.ClientPair:
    """The certificate that the server's operator has made for us."""
    return certificates.client_pair("shop.firm.example")


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


def of_a_virus_scanner() -> ssl.SSLContext:
    """What the mail shield of a virus scanner shows in a server's place."""
    return certificates.made_context(names=(HOST,), issuer_name="Avast Web/Mail Shield Root")


def for_own_clients() -> ssl.SSLContext:
    """One that lets in only clients with a certificate of the authority."""
    context = certificates.good_context(*NAMES)
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority().configure_trust(context)
    return context
