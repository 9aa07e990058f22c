"""The opening of an SMTP session: connect, greet, encrypt and sign in as the settings demand, never less."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.smtp import client_certificate, dial, grammar, strangers
from services.smtp import tls as smtp_tls
from services.smtp.dialogue import Dialogue, SideLook, error_of, refusal
from services.smtp.habits import Habit, habits_of
from services.smtp.patience import Patience, Span
from services.smtp.settings import NO_PASSWORD, OwnInbox, Security, SmtpSettings
from services.smtp.sign_in import SignIn
from services.smtp.tls import ShownCertificate
from services.smtp.wire import Reply, Wire, WireError, no_mail_server
from utils import allowed_places, net_guard
from utils.allowed_places import EVERYWHERE, NOT_FOR_ACCOUNTS, AllowedPlaces
from utils.errors import LINK_FAULTS, DeliveryError, Fault, Misconfigured, Phase, Temporary
from utils.log_utils import Redactor
from utils.net_guard import IPAddress
from utils.secret import Secret

OTHERS_SECONDS: Final = 3.0  # for the addresses that the conversation does not need
MOST_OTHERS: Final = 16
_NUDGE: Final = 2.0  # seconds for whoever did not greet to answer to EHLO
_NO_STARTTLS: Final = "The server does not offer STARTTLS."
_UNKNOWN_COMMAND: Final = {500, 502}
_NO_SUCH_COMMAND: Final = {*_UNKNOWN_COMMAND, 503, 530}  # of FTP (RFC 959 4.2.2), which wants USER first
UNWELL: Final = {Fault.REFUSED, Fault.UNREACHABLE, *LINK_FAULTS}  # another address, port or mode may do better


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the deployment allows, beside a server's own settings.

    ``total_seconds`` is the most that opening and the first message take together, and each further message by
    itself. ``patience`` is for each answer in it; without one that is the settings' ``timeout_seconds``, and only the
    answer to a finished message may wait for all of the total. ``span`` cuts all of it short, whatever is left. None
    of these makes two policies different. ``connect_seconds`` is for each address. ``dns_resolver`` is the name server
    to ask, "" the system's. With ``every_address`` those behind the one that answered are looked at too: a test wants
    to know of all of them, a mail only of one. ``is_crowded`` tells whether a server that refuses a connection has too
    many of ours. No address or port is connected to that is not ``allowed``. With ``records``, what is said is
    written down for each mail.
    """

    ehlo_name: str
    ca_file: Path | None = None
    allow_plaintext_login: bool = False
    total_seconds: float = field(default=20.0, compare=False)
    connect_seconds: float = field(default=5.0, compare=False)
    patience: Patience | None = field(default=None, compare=False)
    span: Span | None = field(default=None, compare=False)
    dns_resolver: str = ""
    allowed: AllowedPlaces = EVERYWHERE
    every_address: bool = False
    records: bool = False
    is_crowded: Callable[[DeliveryError], bool] = field(default=lambda _error: False, compare=False)


class Opening:
    """Brings a dialogue from nothing to where mail can be sent. Raises WireError and DeliveryError."""

    def __init__(self, talk: Dialogue, settings: SmtpSettings, policy: Policy) -> None:
        self._talk = talk
        self._settings = settings
        self._policy = policy
        self._hello = grammar.host_name(settings.helo_hostname or policy.ehlo_name)
        self._features: dict[str, str] = {}
        self._greeting = ""
        self._hello_took: int | None = None  # ms, until it is told
        self.face = ""  # how the server introduced itself last, in short
        self._stays_here = False  # nothing that is said leaves this machine
        self._habits = habits_of(settings.host, settings.port)
        self._first: IPAddress | None = None  # of the addresses as they were found
        self._is_named = False
        self._looks_at_all = policy.every_address
        # From the greeting on: a server may have learnt the password on an earlier connection. One that is too short
        # to be redacted is at least not shown as what PLAIN says.
        password = settings.password.reveal()
        self._token = NO_PASSWORD
        self._tokens: list[str] = []
        self._secrets = [password, f"\0{settings.username}\0{password}" if password else ""]
        self._redact = Redactor(self._secrets)

    def run(self) -> dict[str, str]:
        """Go through the phases; give the extensions that hold for the finished session.

        Where the token is refused, and another can be had, all of it is done once more with that: the server may not
        listen any longer, and will have counted a failure.
        """
        self._get_token()
        try:
            return self._opened()
        except DeliveryError as refused:
            if not self._got_another(refused):
                raise
            self._talk.pass_over(refused)
        return self._opened()

    def _opened(self) -> dict[str, str]:
        talk = self._talk
        self._arrive(self._be_welcomed)
        if self._settings.security is not Security.TLS:
            talk.begin(Phase.ENCRYPTION)
            try:
                result = self._upgrade()
            finally:
                self._tell_hello()
            talk.done(*result)
        talk.begin(Phase.SIGN_IN)
        talk.done(*self._sign_in())
        talk.seen.signed_in = self._settings.has_login
        return self._features

    def _get_token(self) -> None:
        """Get the token, before anybody waits for us, and for the same reason as the password: to be kept out of texts.

        Where nothing will be encrypted, none is needed.
        """
        bearer, talk = self._settings.bearer, self._talk
        if bearer is None or self._settings.security is Security.NONE:
            return
        talk.begin(Phase.SIGN_IN)
        self._take(bearer.current())

    def _got_another(self, refused: DeliveryError) -> bool:
        """Whether there is another token than the one that was refused."""
        bearer, is_refused = self._settings.bearer, isinstance(refused, Misconfigured) and refused.fault is Fault.REPLY
        if bearer is None or bearer.renew is None or not is_refused or refused.phase is not Phase.SIGN_IN:
            return False
        another = bearer.renew(self._token)
        if another is None:
            return False
        self._take(another)
        return True

    def _take(self, token: Secret) -> None:
        self._token = token
        self._tokens.append(token.reveal())  # a server may repeat an earlier one, too
        self._redact = Redactor(self._secrets, self._tokens)

    def shown_certificate(self) -> ShownCertificate:
        """Come to where encryption begins, see what certificate is shown there, and go no further."""
        talk = self._talk
        if self._settings.security is Security.STARTTLS:
            self._arrive(self._greet)
            talk.begin(Phase.EHLO)
            self._say_hello()
            talk.begin(Phase.ENCRYPTION)
            self._ask_for_tls()
        else:
            self._arrive(lambda: None)
        return smtp_tls.shown_certificate(talk.live().sock, self._settings.host, talk.soon())

    def _be_welcomed(self) -> None:
        talk = self._talk
        if self._settings.security is Security.TLS:
            talk.begin(Phase.ENCRYPTION)
            talk.done(*self._encrypt(spoke_plain=False))
        self._greet()
        greeted_in = talk.ms
        talk.begin(Phase.EHLO)
        try:
            self._say_hello()
        except DeliveryError as error:
            self._tell_greeting(greeted_in, is_strange=error.fault is Fault.NOT_SMTP)
            raise
        except WireError:
            self._tell_greeting(greeted_in)
            raise
        self._tell_greeting(greeted_in)
        self._hello_took = talk.ms
        if self._settings.security is not Security.STARTTLS:
            self._tell_hello()

    def _tell_hello(self) -> None:
        """Tell what EHLO has listed, once: with STARTTLS only what it lists behind the encryption counts."""
        took, self._hello_took = self._hello_took, None
        if took is None:
            return
        odd = self._habits.lines()  # what the server has shown to be different from what it offers
        known = f". Known: {', '.join(odd)}" if odd else ""
        offers = grammar.offers(self._features)
        self._talk.done_before(Phase.EHLO, took, f"Sent EHLO {self._hello.decode()}. The server offers {offers}{known}")

    def _arrive(self, be_welcomed: Callable[[], None]) -> None:
        """Connect and be welcomed: by the next address where the server at one is not well (RFC 5321 5.1).

        All of them go by the host's name, and have to prove it where encryption is asked for: whoever sends us on by
        force wins no more than by cutting the line.
        """
        talk, left = self._talk, self._addresses()
        passed: list[DeliveryError] = []
        while True:
            try:
                self._connect(left)
                be_welcomed()
                break
            except (WireError, DeliveryError) as error:
                self._habits.forget(Habit.ADDRESS)
                if not self._is_unwell(error):
                    raise
                if not left or talk.deadline.remaining() <= 0:
                    self._give_up(error, passed, left)
                    raise
                passed.append(talk.pass_over(error))
        self._remember()

    def _give_up(self, last: WireError | DeliveryError, passed: list[DeliveryError], left: list[IPAddress]) -> None:
        """Raise the failure that tells most, unless that is the last."""
        if left:  # let the next conversation begin where this one did not come to
            self._habits.learn(Habit.ADDRESS, str(left[0]))
        best = min(passed, key=lambda each: _silence(each, each.phase), default=None)
        if best and _silence(best, best.phase) < _silence(last, self._talk.phase):
            self._talk.pass_over(last)
            self._talk.begin(best.phase)
            raise best

    def _addresses(self) -> list[IPAddress]:
        """The host's addresses in the order in which to try them: first the one that answered last, if it is known."""
        host, talk = self._settings.host, self._talk
        talk.begin(Phase.DNS)
        talk.go_on()  # unless it was ended before it began
        if reason := self._policy.allowed.refusal_of_port(self._settings.port):
            is_discreet = self._policy.allowed.is_discreet
            raise WireError(Fault.ADDRESS_REFUSED, NOT_FOR_ACCOUNTS if is_discreet else reason)
        found, left_out = dial.look_up(host, talk.soon(), self._policy.dns_resolver, self._policy.allowed)
        self._first, self._is_named = found[0], host != str(found[0])
        talk.done(f"{host}: {', '.join(map(str, found))}" if self._is_named else f"{host} needs no lookup")
        for address, reason in left_out.items():
            text = f"{allowed_places.words(address, reason)[:-1]}, so it is not used"
            talk.note(text)
            talk.done_beside(SideLook.ADDRESS, text, "warning")
        answered = self._habits.name(Habit.ADDRESS)
        return sorted(found, key=lambda address: str(address) != answered)

    def _connect(self, left: list[IPAddress]) -> None:
        """Connect to one of these addresses; ``left`` is then those that may do instead of it."""
        host, port, talk = self._settings.host, self._settings.port, self._talk
        talk.begin(Phase.CONNECT)
        talk.seen.connected()
        sock, talk.peer = dial.dial(
            left, port, self._policy.connect_seconds, talk.deadline, self._missed, seen=talk.seen.addresses
        )
        talk.wire = Wire(sock, self._redact, talk.transcript)
        address, port = talk.peer
        self._stays_here = net_guard.is_loopback(address)
        talk.note(f"Connected to {address}, port {port}")
        talk.done(f"{host} ({address}), port {port}" if self._is_named else f"{host}, port {port}")
        if self._looks_at_all:
            self._looks_at_all = False
            left[:] = self._look_at(left, port)

    def _remember(self) -> None:
        """Have the address that answered tried first, where it is not the first anyhow.

        That is not learnt anew at each connection: once it is forgotten, the host's own order counts again.
        """
        address = str(self._talk.peer[0]) if self._talk.peer else ""
        known = self._habits.name(Habit.ADDRESS)
        if address == known:
            return
        if address != str(self._first):
            self._habits.learn(Habit.ADDRESS, address)
        elif known:  # and slower, although it was tried first
            self._habits.forget(Habit.ADDRESS)

    def _is_unwell(self, error: WireError | DeliveryError) -> bool:
        """Whether it is this one server's trouble, so that another address may do better.

        A 5yz to EHLO is about our name and a certificate about theirs, and both go for every address.
        """
        phase = self._talk.phase
        if self._talk.is_cancelled:
            return False
        if isinstance(error, DeliveryError):
            return phase is Phase.GREETING or isinstance(error, Temporary)
        if phase in (Phase.CONNECT, Phase.GREETING):
            return error.fault in UNWELL
        return error.fault in (Fault.TIMEOUT, Fault.CLOSED)

    def _missed(self, address: IPAddress, fault: Fault) -> None:
        """Tell of an address that did not answer, before the next is tried."""
        self._talk.note(f"{address} {dial.WORDS[fault]}")
        self._talk.done_beside(
            SideLook.ADDRESS, f"{address}, port {self._settings.port}, {dial.WORDS[fault]}", "warning"
        )
        self._talk.begin(Phase.CONNECT)

    def _look_at(self, others: list[IPAddress], port: int) -> list[IPAddress]:
        """Tell how the addresses stand that are not needed now, as mail may come to depend on them; give the living."""
        self._talk.begin(Phase.CONNECT)
        deadline = self._talk.deadline.sooner(min(OTHERS_SECONDS, self._policy.connect_seconds))
        living = others[MOST_OTHERS:]
        for address, fault in dial.knock(others[:MOST_OTHERS], port, deadline):
            text = f", {dial.WORDS[fault]}" if fault else ": responds too"
            self._talk.done_beside(SideLook.ADDRESS, f"{address}, port {port}{text}", "warning" if fault else "ok")
            living += [] if fault else [address]
            self._talk.seen.addresses[address] = fault
        if len(others) > MOST_OTHERS:
            self._talk.done_beside(SideLook.ADDRESS, f"{len(others) - MOST_OTHERS} more addresses not tried", "skipped")
        return living

    def _greet(self) -> None:
        self._talk.begin(Phase.GREETING)
        try:
            reply = self._talk.hear()
        except WireError as error:
            raise (self._who_waits() if error.fault is Fault.TIMEOUT else None) or error from None
        if reply.code != grammar.READY:
            raise refusal(Phase.GREETING, reply)
        if isinstance(self._settings, OwnInbox) and self._settings.mark not in reply.text:
            raise WireError(Fault.NOT_SMTP, "Something else responded, not the local inbox.")
        self._greeting = reply.text
        if strangers.names_mail(reply.text):
            self._talk.done(reply.text)

    def _who_waits(self) -> WireError | None:
        """What answers to EHLO where nothing greets us, as far as it is no mail server: a web server waits for us to
        begin, and one that wants TLS says so then. Only a test asks.
        """
        wire = self._talk.wire
        if wire is None or not self._policy.every_address or wire.has_more or self._talk.is_cancelled:
            return None
        by = self._talk.deadline.sooner(_NUDGE)
        try:
            wire.send(b"EHLO " + self._hello + b"\r\n\r\n", by)  # a web server reads on to the empty line
            wire.read_reply(by)
        except WireError as error:
            return error if error.fault in (Fault.NOT_SMTP, Fault.TLS_EXPECTED) else None
        return None

    def _tell_greeting(self, ms: int, *, is_strange: bool = False) -> None:
        """Tell of a greeting that did not say what it is, once EHLO has shown that; no words of a stranger."""
        if not strangers.names_mail(self._greeting):
            self._talk.done_before(
                Phase.GREETING, ms, "It sent a greeting, but not as a mail server" if is_strange else self._greeting
            )

    def _say_hello(self) -> None:
        reply = self._talk.ask(b"EHLO " + self._hello)
        first = reply.text
        if reply.permanent and self._settings.security is Security.NONE and not self._settings.has_login:
            reply = self._talk.ask(b"HELO " + self._hello)
        if reply.code != grammar.DONE:
            raise self._no_hello(reply, first)
        self._features = grammar.features(reply)
        if self._talk.live().encrypted:
            self._talk.seen.offers = self._features
        else:
            self._talk.seen.plain_offers = self._features
        self.face = grammar.face(reply)

    def _no_hello(self, reply: Reply, first: str) -> DeliveryError:
        """The error of a server that refuses EHLO with the words ``first``, and HELO where it is asked by that."""
        if self._is_no_mail_server(reply):
            kind = strangers.refuses_as(f"{first} {reply.text}") or strangers.SOMETHING
            return Misconfigured(Phase.EHLO, Fault.NOT_SMTP, no_mail_server(kind).text)
        if reply.code in _UNKNOWN_COMMAND:  # a server without extensions has neither STARTTLS nor AUTH
            if self._settings.security is Security.STARTTLS and not self._talk.live().encrypted:
                return error_of(Misconfigured, self._talk.phase, Fault.TLS_NOT_OFFERED, reply)
            if self._settings.has_login:
                return error_of(Misconfigured, self._talk.phase, Fault.AUTH_NOT_OFFERED, reply)
        return refusal(self._talk.phase, reply)

    def _is_no_mail_server(self, reply: Reply) -> bool:
        """Whether what did not say that it is a mail server knows neither EHLO nor HELO, as FTP does."""
        if strangers.names_mail(f"{self._greeting} {reply.text}") or reply.code not in _NO_SUCH_COMMAND:
            return False
        return self._talk.ask(b"HELO " + self._hello).code in _NO_SUCH_COMMAND

    def _upgrade(self) -> tuple[str, str]:
        if self._settings.security is Security.NONE:
            return "Not encrypted, as chosen", "skipped"
        if "STARTTLS" not in self._features:
            masked = grammar.is_masked(self._greeting, self._features)
            text = "The offer of STARTTLS was overwritten on the way." if masked else _NO_STARTTLS
            raise Misconfigured(Phase.ENCRYPTION, Fault.TLS_NOT_OFFERED, text)
        self._ask_for_tls()
        result = self._encrypt(spoke_plain=True)
        self._say_hello()  # what was learnt in plain text is forgotten (RFC 3207 4.2)
        return result

    def _ask_for_tls(self) -> None:
        reply = self._talk.ask(b"STARTTLS")
        if reply.code != grammar.READY:
            raise refusal(Phase.ENCRYPTION, reply)
        if self._talk.live().pending():
            text = "Unencrypted text was inserted as encryption began."
            raise WireError(Fault.TLS_INJECTION, text)

    def _encrypt(self, *, spoke_plain: bool) -> tuple[str, str]:
        host, talk = self._settings.host, self._talk
        context = smtp_tls.tls_context(self._policy.ca_file, self._settings.identity)
        tls = smtp_tls.wrapped(talk.live().sock, context, host)
        talk.wire = Wire(tls, self._redact, talk.transcript, greeted=spoke_plain)
        talk.live()  # unless it was cancelled meanwhile
        smtp_tls.shake_hands(tls, host, talk.soon(), spoke_plain=spoke_plain)
        fact, days = smtp_tls.describe(tls, host)
        self._habits.learn(Habit.CERTIFICATE, smtp_tls.last_day(tls))
        talk.seen.tls = tls.version() or "TLS"
        talk.note(fact)
        status = "warning" if days < smtp_tls.SOON else "ok"
        own = client_certificate.facts_of(self._settings.client_certificate)
        if own is None:
            return fact, status
        ours = f"Client certificate: {own.subject}, {own.days_left} days left"
        talk.note(ours)
        return f"{fact}. {own.trouble or ours}", "warning" if own.trouble else status

    def _sign_in(self) -> tuple[str, str]:
        if not self._settings.has_login:
            return "No user name, so no sign-in", "skipped"
        wire, settings = self._talk.live(), self._settings
        if settings.bearer and not wire.encrypted:  # RFC 6750 5.2, RFC 7628 4: whatever the deployment allows passwords
            text = "The connection is not encrypted, so the token was not sent."
            raise Misconfigured(Phase.SIGN_IN, Fault.AUTH_UNENCRYPTED, text)
        if not (wire.encrypted or self._stays_here or self._policy.allow_plaintext_login):
            text = "The connection is not encrypted, so the password was not sent."
            raise Misconfigured(Phase.SIGN_IN, Fault.AUTH_UNENCRYPTED, text)
        return SignIn(self._talk, settings, self._features, self._secrets, self._token).run(), "ok"


def _silence(error: WireError | DeliveryError, phase: Phase) -> tuple[bool, bool, bool]:
    """How little one of several failures tells; that a server is busy comes first: it makes the whole temporary."""
    said = isinstance(error, DeliveryError) and error.code is not None
    return not (said and isinstance(error, Temporary)), not said, phase is Phase.CONNECT
