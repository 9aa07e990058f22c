"""Signing in: which mechanisms are tried, in what order, and when to stop before it costs the account (RFC 4954)."""

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from services.smtp import grammar, sasl
from services.smtp.dialogue import Dialogue, refusal
from services.smtp.habits import Habit, habits_of
from services.smtp.settings import SmtpSettings
from services.smtp.wire import Reply, WireError
from utils.errors import Fault, Misconfigured, Phase, Temporary
from utils.log_utils import Redactor

_CHALLENGE, _SYNTAX = 334, 501
_NOT_IN_CLEAR: Final = {530, 534, 538}  # RFC 4954 6: no words of ours would help
_LEFT: Final = (Fault.CLOSED, Fault.TIMEOUT, Fault.REPLY)
_MOST_NAMED: Final = 8


class SignIn:
    """The sign-in of one session. ``secrets`` are kept out of all texts; what a mechanism adds to them joins."""

    def __init__(
        self, talk: Dialogue, settings: SmtpSettings, features: Mapping[str, str], secrets: Sequence[str]
    ) -> None:
        self._talk = talk
        self._settings = settings
        self._secrets = secrets
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
        )
        if not names:
            raise Misconfigured(Phase.SIGN_IN, Fault.AUTH_NOT_OFFERED, self._no_way())
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
        raise refusal(Phase.SIGN_IN, reply)

    def _attempt(self, name: str, refused: Mapping[str, Reply]) -> Reply:
        """The server's word on one mechanism. If it leaves, its word on the one before says why."""
        try:
            return self._exchange(name)
        except (WireError, Temporary) as error:
            if not refused or error.fault not in _LEFT:
                raise
            raise refusal(Phase.SIGN_IN, list(refused.values())[-1]) from None

    def _exchange(self, name: str) -> Reply:
        settings, certificate = self._settings, self._talk.live().certificate
        mechanism = sasl.mechanism(
            name, settings.username, settings.password, offered=self._offered, certificate=certificate
        )
        reply = self._begin(name, mechanism.initial)
        for _ in range(mechanism.most):
            if reply.code != _CHALLENGE:
                break
            said = mechanism.answer(reply.challenge)
            # Before it is said: a server that repeats it in its refusal must not bring it into a log.
            self._talk.live().redact = Redactor([*self._secrets, *mechanism.secrets])
            reply = self._talk.ask(base64.b64encode(said))
        if reply.ok and not mechanism.is_settled:
            raise sasl.unproven()
        return reply

    def _begin(self, name: str, initial: bytes | None) -> Reply:
        """Ask for a mechanism, with what we have to say first if there is room for it (RFC 4954 4).

        Some servers refuse a mechanism, as if the password were wrong, unless this comes along, and old ones do not
        understand it if it does: they are asked in the other way.
        """
        command = f"AUTH {name}".encode()
        if initial is None:
            return self._talk.ask(command)
        whole = command + b" " + (base64.b64encode(initial) or b"=")
        if len(whole) <= grammar.LONGEST_COMMAND:
            reply = self._talk.ask(whole)
            is_syntax = reply.code == _SYNTAX and not sasl.is_about_the_way(reply)
            return self._talk.ask(command) if is_syntax else reply
        reply = self._talk.ask(command)
        if reply.permanent and reply.code not in _NOT_IN_CLEAR:
            reply = self._talk.ask(whole)
        return reply

    def _no_way(self) -> str:
        if not self._offered:
            return "The server does not offer sign-in."
        offered, known = ", ".join(self._offered[:_MOST_NAMED]), ", ".join(sasl.KNOWN)
        if forced := self._settings.auth_method:
            return f"The server offers only {offered}. {forced} was chosen."
        return f"The server offers only {offered}. Sealpost knows {known}."
