"""The opening of an SMTP session: connect, greet, encrypt and sign in as the settings demand, never less."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services import sasl, smtp_dial, smtp_grammar, smtp_tls
from services.smtp_dialogue import Dialogue, refusal
from services.smtp_habits import habits_of
from services.smtp_settings import Security, SmtpSettings
from services.smtp_tls import ShownCertificate
from services.smtp_wire import Reply, Wire, WireError
from utils import net_guard
from utils.errors import DeliveryError, Fault, Misconfigured, Phase
from utils.log_utils import Redactor
from utils.net_guard import IPAddress

OTHERS_SECONDS: Final = 3.0  # for the addresses that the conversation does not need
MOST_OTHERS: Final = 16
_READY, _DONE, _CHALLENGE = 220, 250, 334
_UNKNOWN_COMMAND: Final = {500, 502}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the deployment allows, beside a server's own settings.

    ``total_seconds`` is the most that opening and the first message take together, and each further message
    by itself; only the answer to a finished message may wait for all of it, every other answer has the
    settings' ``timeout_seconds``. ``connect_seconds`` is for each address. ``dns_resolver`` is the name server to
    ask, "" the system's. With ``every_address`` those behind the one that answered are looked at too: a test wants
    to know of all of them, a mail only of one.
    """

    ehlo_name: str
    ca_file: Path | None = None
    allow_plaintext_login: bool = False
    total_seconds: float = 20.0
    connect_seconds: float = 5.0
    dns_resolver: str = ""
    every_address: bool = False


class Opening:
    """Brings a dialogue from nothing to where mail can be sent. Raises WireError and DeliveryError."""

    def __init__(self, talk: Dialogue, settings: SmtpSettings, policy: Policy) -> None:
        self._talk = talk
        self._settings = settings
        self._policy = policy
        self._hello = smtp_grammar.host_name(settings.helo_hostname or policy.ehlo_name)
        self._features: dict[str, str] = {}
        self.face = ""  # how the server introduced itself last, in short
        self._stays_here = False  # nothing that is said leaves this machine
        # From the greeting on: a server may have learnt the password on an earlier connection. One that is too short
        # to be redacted is at least not shown as what PLAIN says.
        password = settings.password.reveal()
        self._redact = Redactor([password, f"\0{settings.username}\0{password}" if password else ""])

    def run(self) -> dict[str, str]:
        """Go through the phases; give the extensions that hold for the finished session."""
        talk = self._talk
        self._connect()
        if self._settings.security is Security.TLS:
            talk.begin(Phase.ENCRYPTION)
            talk.done(*self._encrypt(spoke_plain=False))
        self._greet()
        talk.begin(Phase.EHLO)
        self._say_hello()
        talk.done(f"Said {self._hello.decode()}. Offers {smtp_grammar.offers(self._features)}{self._odd_habits()}")
        if self._settings.security is not Security.TLS:
            talk.begin(Phase.ENCRYPTION)
            talk.done(*self._upgrade())
        talk.begin(Phase.SIGN_IN)
        talk.done(*self._sign_in())
        return self._features

    def shown_certificate(self) -> ShownCertificate:
        """Come to where encryption begins, see what certificate is shown there, and go no further."""
        talk = self._talk
        self._connect()
        if self._settings.security is Security.STARTTLS:
            self._greet()
            talk.begin(Phase.EHLO)
            self._say_hello()
            talk.begin(Phase.ENCRYPTION)
            self._ask_for_tls()
        return smtp_tls.shown_certificate(talk.live().sock, self._settings.host, talk.soon())

    def _connect(self) -> None:
        host, port, talk = self._settings.host, self._settings.port, self._talk
        talk.begin(Phase.DNS)
        addresses = smtp_dial.look_up(host, talk.soon(), self._policy.dns_resolver)
        named = host != str(addresses[0])
        talk.done(f"{host}: {', '.join(map(str, addresses))}" if named else f"{host} needs no look-up")
        talk.begin(Phase.CONNECT)
        left = iter(addresses)
        sock, talk.peer = smtp_dial.dial(left, port, self._policy.connect_seconds, talk.deadline, self._missed)
        talk.wire = Wire(sock, self._redact, talk.transcript)
        address, port = talk.peer
        self._stays_here = net_guard.is_loopback(address)
        talk.note(f"Connected to {address}, port {port}")
        talk.done(f"{host} ({address}), port {port}" if named else f"{host}, port {port}")
        if self._policy.every_address:
            self._look_at(list(left), port)

    def _missed(self, address: IPAddress, fault: Fault) -> None:
        """Tell of an address that did not answer, before the next is tried."""
        self._talk.note(f"{address}: {smtp_dial.WORDS[fault]}")
        self._talk.done(f"{address}, port {self._settings.port}: {smtp_dial.WORDS[fault]}", "warning")
        self._talk.begin(Phase.CONNECT)

    def _look_at(self, others: Sequence[IPAddress], port: int) -> None:
        """Tell how the addresses stand that are not needed now: mail may come to depend on them."""
        self._talk.begin(Phase.CONNECT)
        deadline = self._talk.deadline.sooner(min(OTHERS_SECONDS, self._policy.connect_seconds))
        for address, fault in smtp_dial.knock(others[:MOST_OTHERS], port, deadline):
            text = smtp_dial.WORDS[fault] if fault else "answers too"
            self._talk.done(f"{address}, port {port}: {text}", "warning" if fault else "ok")
        if len(others) > MOST_OTHERS:
            self._talk.done(f"{len(others) - MOST_OTHERS} more addresses are not tried", "skipped")

    def _greet(self) -> None:
        self._talk.begin(Phase.GREETING)
        reply = self._talk.hear()
        if reply.code != _READY:
            raise refusal(Phase.GREETING, reply)
        self._talk.done(reply.text)

    def _say_hello(self) -> None:
        reply = self._talk.ask(b"EHLO " + self._hello)
        if reply.permanent and self._settings.security is Security.NONE and not self._has_login:
            reply = self._talk.ask(b"HELO " + self._hello)
        if reply.code != _DONE:
            raise self._no_hello(reply)
        self._features = smtp_grammar.features(reply)
        self.face = smtp_grammar.face(reply)

    def _odd_habits(self) -> str:
        """What the server has shown to be different from what it offers."""
        lines = habits_of(self._settings.host, self._settings.port).lines()
        return f". Known of it: {', '.join(lines)}" if lines else ""

    def _no_hello(self, reply: Reply) -> DeliveryError:
        if reply.code in _UNKNOWN_COMMAND:  # a server without extensions has neither STARTTLS nor AUTH
            if self._settings.security is Security.STARTTLS and not self._talk.live().encrypted:
                return Misconfigured(self._talk.phase, Fault.TLS_NOT_OFFERED, reply.text, code=reply.code)
            if self._has_login:
                return Misconfigured(self._talk.phase, Fault.AUTH_NOT_OFFERED, reply.text, code=reply.code)
        return refusal(self._talk.phase, reply)

    def _upgrade(self) -> tuple[str, str]:
        if self._settings.security is Security.NONE:
            return "Not encrypted, as chosen", "skipped"
        if "STARTTLS" not in self._features:
            text = "The server does not offer STARTTLS."
            raise Misconfigured(Phase.ENCRYPTION, Fault.TLS_NOT_OFFERED, text)
        self._ask_for_tls()
        result = self._encrypt(spoke_plain=True)
        self._say_hello()  # what was learnt in plain text is forgotten (RFC 3207 4.2)
        return result

    def _ask_for_tls(self) -> None:
        reply = self._talk.ask(b"STARTTLS")
        if reply.code != _READY:
            raise refusal(Phase.ENCRYPTION, reply)
        if self._talk.live().pending():
            text = "Plain text was slipped in where encryption begins."
            raise WireError(Fault.TLS_INJECTION, text)

    def _encrypt(self, *, spoke_plain: bool) -> tuple[str, str]:
        host, talk = self._settings.host, self._talk
        context = smtp_tls.tls_context(self._policy.ca_file)
        tls = smtp_tls.wrapped(talk.live().sock, context, host)
        talk.wire = Wire(tls, self._redact, talk.transcript)
        talk.live()  # unless it was cancelled meanwhile
        smtp_tls.shake_hands(tls, host, talk.soon(), spoke_plain=spoke_plain)
        fact, days = smtp_tls.describe(tls, host)
        talk.note(fact)
        return fact, "warning" if days < smtp_tls.SOON else "ok"

    @property
    def _has_login(self) -> bool:
        return bool(self._settings.username or self._settings.password)

    def _sign_in(self) -> tuple[str, str]:
        if not self._has_login:
            return "No user name, so no sign-in", "skipped"
        wire, settings = self._talk.live(), self._settings
        if not (wire.encrypted or self._stays_here or self._policy.allow_plaintext_login):
            text = "The connection is not encrypted, so the password was not sent."
            raise Misconfigured(Phase.SIGN_IN, Fault.AUTH_UNENCRYPTED, text)
        offered = self._features.get("AUTH", "").split()
        mechanism = sasl.choose(offered, settings.auth_method, encrypted=wire.encrypted)
        if mechanism is None:
            text = f"The server offers {' '.join(offered) or 'no sign-in'}."
            raise Misconfigured(Phase.SIGN_IN, Fault.AUTH_NOT_OFFERED, text)
        answers = sasl.answers(mechanism, settings.username, settings.password)
        reply = self._authenticate(mechanism.encode(), answers)
        if not reply.ok:
            raise refusal(Phase.SIGN_IN, reply)
        return mechanism, "ok"

    def _authenticate(self, mechanism: bytes, answers: list[sasl.Answer]) -> Reply:
        command = b"AUTH " + mechanism
        if mechanism == b"PLAIN":
            whole = command + b" " + base64.b64encode(answers[0](""))
            if len(whole) <= smtp_grammar.LONGEST_COMMAND:
                return self._talk.ask(whole)
        reply = self._talk.ask(command)
        for answer in answers:
            if reply.code != _CHALLENGE:
                break
            said = answer(reply.text)
            if mechanism == b"CRAM-MD5":  # the password can be guessed from this digest
                digest = said.decode().rpartition(" ")[2]
                self._talk.live().redact = Redactor([self._settings.password.reveal(), digest])
            reply = self._talk.ask(base64.b64encode(said))
        return reply
