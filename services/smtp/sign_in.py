"""Signing in: which mechanisms are tried, in what order, and when to stop before it costs the account (RFC 4954)."""

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from services.smtp import grammar, sasl, sasl_bearer
from services.smtp.dialogue import Dialogue, refusal
from services.smtp.habits import Habit, habits_of
from services.smtp.sasl import Mechanism
from services.smtp.settings import NO_PASSWORD, SmtpSettings
from services.smtp.wire import Reply, WireError
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary, TokenRefusal
from utils.log_utils import Redactor
from utils.secret import Secret

_CHALLENGE, _SYNTAX = 334, 501
_NOT_IN_CLEAR: Final = {530, 534, 538}  # RFC 4954 6: no words of ours would help
_LEFT: Final = (Fault.CLOSED, Fault.TIMEOUT, Fault.REPLY)
_MOST_NAMED: Final = 8
_REFUSED_THEN_LEFT: Final = "The server refused the token, and then left the conversation."


class SignIn:
    """The sign-in of one session, with the ``token`` where the settings have a bearer. ``secrets`` are kept out of all
    texts; what a mechanism adds to them joins.
    """

    def __init__(
        self,
        talk: Dialogue,
        settings: SmtpSettings,
        features: Mapping[str, str],
        secrets: Sequence[str],
        token: Secret = NO_PASSWORD,
    ) -> None:
        self._talk = talk
        self._settings = settings
        self._secrets = secrets
        self._token = token
        self._token_refusal: TokenRefusal | None = None
        self._offered = features.get("AUTH", "").split()
        self._habits = habits_of(settings.host, settings.port)

    def run(self) -> str:
        """Sign in, and say how. Raises WireError and DeliveryError."""
        wire = self._talk.live()
        names = sasl.order(
            self._offered,
            self._settings.auth_method,
            self._habits.name(Habit.MECHANISM),
            certificate=wire.certificate,
            encrypted=wire.encrypted,
            by_token=self._settings.bearer is not None,
        )
        if not names:
            no_token = self._settings.bearer and self._offered
            raise Misconfigured(
                Phase.SIGN_IN, Fault.OAUTH_NOT_OFFERED if no_token else Fault.AUTH_NOT_OFFERED, self._no_way()
            )
        refused: dict[str, Reply] = {}
        while names:
            name, *others = names
            self._talk.seen.mechanism = name
            reply = self._attempt(name, refused)
            if reply.ok:
                self._habits.learn(Habit.MECHANISM, name)
                return f"{name}. The server refused {', '.join(refused)}." if refused else name
            refused[name] = reply
            names = sasl.next_names(name, reply, others, encrypted=wire.encrypted)
            if self._token_refusal:  # whatever its last words: in another way it would be the same token
                names = []
        error = refusal(Phase.SIGN_IN, reply)
        error.token_refusal, error.by_token = self._token_refusal, self._settings.bearer is not None
        raise error

    def _attempt(self, name: str, refused: Mapping[str, Reply]) -> Reply:
        """The server's word on one mechanism. If it leaves, its word on the one before says why."""
        try:
            return self._exchange(name)
        except (WireError, Temporary) as error:
            if not refused or error.fault not in _LEFT:
                raise
            raise refusal(Phase.SIGN_IN, list(refused.values())[-1]) from None

    def _exchange(self, name: str) -> Reply:
        mechanism = self._mechanism(name)
        if self._talk.transcript:
            self._talk.transcript.hides_challenges |= self._settings.bearer is not None
        try:
            return self._answered(name, mechanism)
        except (WireError, DeliveryError) as error:
            raise self._without_refusal(error) from None

    def _mechanism(self, name: str) -> Mechanism:
        settings = self._settings
        if settings.bearer:
            return sasl_bearer.mechanism(name, settings.username, self._token, host=settings.host, port=settings.port)
        certificate = self._talk.live().certificate
        return sasl.mechanism(
            name, settings.username, settings.password, offered=self._offered, certificate=certificate
        )

    def _answered(self, name: str, mechanism: Mechanism) -> Reply:
        reply = self._begin(name, mechanism)
        for _ in range(mechanism.most):
            if reply.code != _CHALLENGE:
                break
            said = mechanism.answer(reply.challenge)
            # Before it is said: a server that repeats it in its refusal must not bring it into a log.
            redact = Redactor([*self._secrets, *mechanism.secrets], [self._token.reveal()] if self._token else [])
            self._talk.live().redact = redact
            if mechanism.token_refusal:
                self._note(mechanism.token_refusal, redact)
            reply = self._talk.ask(base64.b64encode(said))
        if reply.ok and not mechanism.is_settled:
            raise sasl.unproven()
        return reply

    def _note(self, refused: TokenRefusal, redact: Redactor) -> None:
        """Keep why the server does not take the token."""
        self._token_refusal = TokenRefusal(redact(refused.status), redact(refused.scope))
        told = [f"{name} {text}" for name, text in vars(self._token_refusal).items() if text]
        self._talk.note(f"The server does not accept the token: {', '.join(told) or 'no reason given'}")

    def _without_refusal(self, error: WireError | DeliveryError) -> WireError | DeliveryError:
        """The trouble, where a server that said why it does not take a token has yet to refuse the sign-in by it.

        One that leaves instead has refused it; one that goes on asking is not understood.
        """
        is_unasked = isinstance(error, DeliveryError) and error.code == _CHALLENGE
        if is_unasked and self._settings.bearer:  # it would be shown as it came
            error = WireError(Fault.BROKEN_REPLY, "The server does not wait for answers as it refuses the token.")
        if self._token_refusal is None or self._talk.is_cancelled or not isinstance(error, WireError | Temporary):
            return error
        if error.fault in _LEFT:  # without a code: the words are ours
            told = Misconfigured(Phase.SIGN_IN, Fault.REPLY, _REFUSED_THEN_LEFT)
        else:
            told = Misconfigured(Phase.SIGN_IN, error.fault, error.text)
        told.token_refusal, told.by_token = self._token_refusal, True
        return told

    def _begin(self, name: str, mechanism: Mechanism) -> Reply:
        """Ask for a mechanism, with what we have to say first if there is room for it (RFC 4954 4).

        Some servers refuse a mechanism, as if the password were wrong, unless this comes along, and old ones do not
        understand it if it does: they are asked in the other way. No token makes the command longer than it may be.
        """
        command, initial = f"AUTH {name}".encode(), mechanism.initial
        if initial is None:
            return self._talk.ask(command)
        whole = command + b" " + (base64.b64encode(initial) or b"=")
        if len(whole) <= grammar.LONGEST_COMMAND:
            reply = self._talk.ask(whole)
            is_syntax = reply.code == _SYNTAX and not sasl.is_about_the_way(reply)
            mechanism.is_said = not is_syntax
            return self._talk.ask(command) if is_syntax else reply
        reply = self._talk.ask(command)
        if reply.permanent and reply.code not in _NOT_IN_CLEAR and not self._token:
            mechanism.is_said = True
            reply = self._talk.ask(whole)
        return reply

    def _no_way(self) -> str:
        if not self._offered:
            return "The server does not offer sign-in."
        offered, known = ", ".join(self._offered[:_MOST_NAMED]), ", ".join(sasl.KNOWN)
        if self._settings.bearer:
            known = " and ".join(sasl.BY_TOKEN) + " for a token"
        if forced := self._settings.auth_method:
            return f"The server offers only {offered}. {forced} was chosen."
        return f"The server offers only {offered}. Sealpost knows {known}."
