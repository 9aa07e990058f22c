"""The two families of errors: what a caller did wrong, and what became of a mail."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class AppError(Exception):
    """Something the caller can be told. ``message`` is fit for a page and never holds a secret."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class MalformedInput(AppError):
    """The request cannot be read at all (not JSON, not an object, a key given twice)."""


class InvalidInput(AppError):
    """Fields that were read and refused; ``errors`` maps a field to sentences that say what to do."""

    status = 422

    def __init__(self, errors: Mapping[str, list[str]], message: str = "Check the fields.") -> None:
        super().__init__(message)
        self.errors = dict(errors)

    def __str__(self) -> str:
        """For whoever calls from Python and sees nothing else."""
        return " ".join([self.message, *(f"{name}: {' '.join(texts)}" for name, texts in self.errors.items())])

    def under(self, names: Mapping[str, str]) -> "InvalidInput":
        """The same by other names of its fields, where there are any; two that share one stand there together."""
        errors: dict[str, list[str]] = {}
        for field, texts in self.errors.items():
            errors.setdefault(names.get(field, field), []).extend(texts)
        return InvalidInput(errors, self.message)


@contextmanager
def refused_under(names: Mapping[str, str]) -> Iterator[None]:
    """Let what refuses a field within the block name it as the caller does."""
    try:
        yield
    except InvalidInput as refused:
        raise refused.under(names) from None


class Stopping(AppError):
    """This process is to end, and what was asked for would take longer."""

    status = 503

    def __init__(self) -> None:
        super().__init__("Sealpost was stopped in the meantime. Try again in a minute.")


class Forbidden(AppError):
    status = 403


class NotFound(AppError):
    status = 404


class Conflict(AppError):
    """Somebody else changed the row since it was read."""

    status = 409


class TooMany(AppError):
    """Over a limit; ``retry_after`` is in seconds."""

    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Phase(StrEnum):
    """Where in the SMTP conversation something happened, in the order of the conversation."""

    SETTINGS = "settings"
    DNS = "dns"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    ENCRYPTION = "encryption"
    SIGN_IN = "sign_in"
    SENDER = "sender"
    RECIPIENT = "recipient"
    DATA = "data"
    MESSAGE = "message"
    QUIT = "quit"


# From the first look-up to where mail can be sent; then what is said of a mail before its message.
OPENING = (Phase.DNS, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.ENCRYPTION, Phase.SIGN_IN)
ENVELOPE = (Phase.SENDER, Phase.RECIPIENT, Phase.DATA)


class Fault(StrEnum):
    """What kind of failure it was, told apart as finely as a remedy needs."""

    REPLY = "reply"  # the server answered with a 4xx or 5xx
    DNS_NOT_FOUND = "dns_not_found"
    DNS_FAILED = "dns_failed"
    ADDRESS_REFUSED = "address_refused"  # net_guard: this address is never connected to
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    NOT_SMTP = "not_smtp"
    BROKEN_REPLY = "broken_reply"  # from a mail server: no code, no end, or nothing that fits the command
    TLS_EXPECTED = "tls_expected"  # plain connection to a port that wants TLS from the start
    TLS_UNEXPECTED = "tls_unexpected"  # TLS from the start to a port that speaks plain first
    TLS_NOT_OFFERED = "tls_not_offered"
    TLS_CERTIFICATE = "tls_certificate"
    TLS_HANDSHAKE = "tls_handshake"
    TLS_INJECTION = "tls_injection"  # bytes behind the STARTTLS reply (CVE-2021-38371 and kin)
    CLIENT_CERTIFICATE = "client_certificate"  # the server asks for one, or for another
    AUTH_NOT_OFFERED = "auth_not_offered"
    OAUTH_NOT_OFFERED = "oauth_not_offered"  # sign-in is offered, but none by a token
    AUTH_UNENCRYPTED = "auth_unencrypted"  # we refuse to send a password or token in clear
    AUTH_UNPROVEN = "auth_unproven"  # SCRAM: the server did not show that it knows the password
    AUTH_ROUNDS = "auth_rounds"  # SCRAM: too much computing is asked for, or too little
    TOKEN_DEAD = "token_dead"  # noqa: S105 - until someone signs in again, or mends what was registered
    TOKEN_UNAVAILABLE = "token_unavailable"  # noqa: S105 - whoever gives tokens is not well, or not reached
    TOO_LARGE = "too_large"
    NO_SMTPUTF8 = "no_smtputf8"
    OURS = "ours"  # an exception that nobody foresaw


# The connection is lost, or not fit to go on.
LINK_FAULTS = (Fault.TIMEOUT, Fault.CLOSED, Fault.NOT_SMTP, Fault.BROKEN_REPLY)


_TOKEN_MARK: Final = re.compile(r" \[by token(?:, status ([A-Za-z0-9_.-]{1,40}))?\]$")


@dataclass(frozen=True)
class TokenRefusal:
    """What a server says of a token that it does not take (RFC 7628 3.2.2); "" is what it leaves out, or says oddly."""

    status: str = ""  # of OAuth's registry, like invalid_token; Google says 400 or 401
    scope: str = ""  # that a token needs


@dataclass(frozen=True)
class TokenTrouble:
    """Why there was no token to sign in with, each by a closed list (services/oauth/failures.py); "" is what does not
    apply. Nothing of it is a provider's word.
    """

    fault: str  # TokenFault
    error: str = ""  # of RFC 6749 5.2 and its kin, like invalid_grant
    code: str = ""  # Microsoft's, like AADSTS700082
    kind: str = ""  # what Google's words mean
    link: str = ""  # Fault: where a connection to the provider ended

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called, the name that says most first: by these there is advice for it."""
        place = f"{self.fault} {self.link}" if self.link else ""
        return tuple(filter(None, (self.code, self.kind, place, self.error, self.fault)))

    def __str__(self) -> str:
        """As a line of a log has it, and the row of an attempt."""
        place = f"{self.fault} {self.link}".rstrip()
        return f"No token: {', '.join(filter(None, (place, self.error, self.kind, self.code)))}"

    @classmethod
    def names_in(cls, text: str) -> tuple[str, ...]:
        """The names of one that a text is of; none if it is of something else."""
        if not text.startswith("No token: "):
            return ()
        place, *others = text.removeprefix("No token: ").split(", ")
        return tuple(dict.fromkeys((*reversed(others), place, place.split(" ")[0])))


class DeliveryError(Exception):
    """A mail or a test that did not go through.

    ``code`` and ``enhanced`` are the server's (RFC 5321 4.2, RFC 3463) or None; ``text`` is the server's own
    words or our description, one line, and may be shown to administrators only after redaction.
    ``may_have_been_sent`` is True once the final dot is out without an answer. ``not_taken``: it is not about the mail,
    of which the server has taken nothing; another connection may carry it at once. ``ended_by_us``: nor about the
    server, which was waited for no longer. ``refused`` holds the server's reply to each recipient where it refused
    them all. ``token_refusal`` is what it said of our token before it refused the sign-in. ``token_trouble`` is why
    there was no token to show it. ``by_token``: it refused a sign-in by token. Where no connection came about,
    ``tls`` is the version that was agreed on, and ``spoken`` are lines with their milliseconds, if they are recorded.
    """

    outcome = "temporary"

    def __init__(
        self,
        phase: Phase,
        fault: Fault,
        text: str = "",
        *,
        code: int | None = None,
        enhanced: str | None = None,
        may_have_been_sent: bool = False,
    ) -> None:
        super().__init__(f"{phase}: {fault}" + (f" {code}" if code else ""))
        self.phase = phase
        self.fault = fault
        self.text = text
        self.code = code
        self.enhanced = enhanced
        self.may_have_been_sent = may_have_been_sent
        self.not_taken = False
        self.ended_by_us = False
        self.refused: Mapping[str, Any] = {}
        self.token_refusal: TokenRefusal | None = None
        self.token_trouble: TokenTrouble | None = None
        self.by_token = False
        self.tls: str | None = None
        self.spoken: Sequence[tuple[int, str]] = ()

    @property
    def is_refused_sign_in(self) -> bool:
        """Whether the server has answered our name and password, or token, with a no: many of these lock accounts."""
        return self.phase is Phase.SIGN_IN and self.code is not None

    @property
    def token_mark(self) -> str:
        """What a row keeps behind the server's words, which mean another thing of a password; "" of all else."""
        if not self.by_token:
            return ""
        status = self.token_refusal.status if self.token_refusal else ""
        return f" [by token, status {status}]" if status else " [by token]"

    def read_mark(self) -> None:
        """Take from the text what ``token_mark`` says, where a row has kept it."""
        if found := _TOKEN_MARK.search(self.text):
            self.text, self.by_token = self.text[: found.start()], True
            self.token_refusal = TokenRefusal(found[1]) if found[1] else None

    @property
    def trouble_names(self) -> tuple[str, ...]:
        """What it is called that there is no token; of an attempt that was stored, by its text."""
        return self.token_trouble.names if self.token_trouble else TokenTrouble.names_in(self.text)


class Temporary(DeliveryError):
    """Worth trying again later: network trouble or a 4xx reply."""


class Permanent(DeliveryError):
    """This mail will not be accepted, however often it is tried: a 5xx to the mail itself."""

    outcome = "permanent"


class Misconfigured(DeliveryError):
    """The server's settings are at fault, not the mail: login, certificate, wrong mode."""

    outcome = "misconfigured"


class OutcomeUnknown(DeliveryError):
    """The final dot is out and no answer came: it may have been sent (RFC 1047)."""

    outcome = "unknown"
