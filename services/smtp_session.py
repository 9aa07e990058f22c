"""The opening of an SMTP session: connect, greet, encrypt and sign in as the settings demand, never less."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services import sasl, smtp_dial, smtp_grammar, smtp_tls
from services.smtp_dialogue import Dialogue, refusal
from services.smtp_settings import Security, SmtpSettings
from services.smtp_wire import Reply, Wire, WireError
from utils import net_guard
from utils.errors import DeliveryError, Fault, Misconfigured, Phase
from utils.log_utils import Redactor

_READY, _CHALLENGE = 220, 334
_UNKNOWN_COMMAND: Final = {500, 502}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the deployment allows, beside a server's own settings.

    ``total_seconds`` is the most that opening and the first message take together, and each further message
    by itself; only the answer to a finished message may wait for all of it, every other answer has the
    settings' ``timeout_seconds``. ``connect_seconds`` is for each address.
    """

    ehlo_name: str
    ca_file: Path | None = None
    allow_plaintext_login: bool = False
    total_seconds: float = 20.0
    connect_seconds: float = 5.0


class Opening:
    """Brings a dialogue from nothing to where mail can be sent. Raises WireError and DeliveryError."""

    def __init__(self, talk: Dialogue, settings: SmtpSettings, policy: Policy) -> None:
        self._talk = talk
        self._settings = settings
        self._policy = policy
        self._hello = smtp_grammar.host_name(settings.helo_hostname or policy.ehlo_name)
        self._features: dict[str, str] = {}
        self._stays_here = False  # nothing that is said leaves this machine
        # From the greeting on: a server may have learnt the password on an earlier connection.
        self._redact = Redactor([settings.password.reveal()])

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
        talk.done(f"Said {self._hello.decode()}. Offers {smtp_grammar.offers(self._features)}")
        if self._settings.security is not Security.TLS:
            talk.begin(Phase.ENCRYPTION)
            talk.done(*self._upgrade())
        talk.begin(Phase.SIGN_IN)
        talk.done(*self._sign_in())
        return self._features

    def _connect(self) -> None:
        host, port, talk = self._settings.host, self._settings.port, self._talk
        talk.begin(Phase.DNS)
        addresses = smtp_dial.look_up(host, talk.soon())
        named = host != str(addresses[0])
        talk.done(f"{host}: {', '.join(map(str, addresses))}" if named else f"{host} needs no look-up")
        talk.begin(Phase.CONNECT)
        sock, attempts = smtp_dial.dial(addresses, port, self._policy.connect_seconds, talk.deadline)
        talk.wire = Wire(sock, self._redact)
        self._stays_here = net_guard.is_loopback(attempts.last)
        fact = f"{host} ({attempts.last}), port {port}" if named else f"{host}, port {port}"
        if len(attempts.faults) > 1:
            talk.done(f"{fact}: {attempts}", "warning")
        else:
            talk.done(fact)

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
        if not reply.ok:
            raise self._no_hello(reply)
        self._features = smtp_grammar.features(reply)

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
        reply = self._talk.ask(b"STARTTLS")
        if reply.code != _READY:
            raise refusal(Phase.ENCRYPTION, reply)
        if self._talk.live().pending():
            text = "Plain text was slipped in where encryption begins."
            raise WireError(Fault.TLS_INJECTION, text)
        result = self._encrypt(spoke_plain=True)
        self._say_hello()  # what was learnt in plain text is forgotten (RFC 3207 4.2)
        return result

    def _encrypt(self, *, spoke_plain: bool) -> tuple[str, str]:
        host, talk = self._settings.host, self._talk
        context = smtp_tls.tls_context(self._policy.ca_file)
        sock = smtp_tls.start_tls(talk.live().sock, context, host, talk.soon(), spoke_plain=spoke_plain)
        talk.wire = Wire(sock, self._redact)
        fact, days = smtp_tls.describe(sock, host)
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
