"""The login mechanisms, on UTF-8: PLAIN (RFC 4616), LOGIN (of practice), CRAM-MD5 (RFC 2195) and SCRAM."""

import hmac
import re
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from services.smtp.scram import Scram, binding_to, unbase64, unreadable
from services.smtp.wire import Reply
from utils.secret import Secret

KNOWN: Final = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5")
CLEAR: Final = ("PLAIN", "LOGIN")  # these say the password itself
PLUS: Final = "-PLUS"  # bound to the encryption (RFC 5802 6)
_HASHED: Final = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5")
_UNKNOWN, _TOO_WEAK, _REFUSED = 504, 534, 535  # RFC 4954 4 and 6; Google says 534 where an app password is missing
_LONGEST_TEXT: Final = 500

# A refusal that is about the way of signing in, not about who signs in. Servers use 535 for both.
_WAY: Final = (
    r"(?:mechanisms?|(?:auth\w*|sasl|log[ -]?in|sign[ -]?in) (?:mechanism|method|type|scheme)s?"
    r"|auth(?:entication)? (?:plain|login|cram-md5|scram-\S+)|(?:plain|login|cram-md5|scram-\S+|plain ?text) auth\w*)"
)
_NOT_TAKEN: Final = (
    r"(?:not (?:\w+ )?(?:supported|allowed|enabled|available|accepted|permitted|recogni[sz]ed|implemented|offered)"
    r"|cannot be used|unsupported|disabled|unrecogni[sz]ed|unknown|invalid|unavailable|disallowed|forbidden|too weak)"
)
_BETWEEN: Final = r"(?!fail|account|user)\S+"
_OTHER: Final = r"(?:no|no such|another|other|different|stronger)"
_ABOUT_THE_WAY: Final = re.compile(
    rf"\b{_WAY}\b\W+(?:{_BETWEEN} ){{0,4}}?{_NOT_TAKEN}|\b(?:{_NOT_TAKEN}|{_OTHER}) (?:\w+ )?{_WAY}\b|\btoo weak\b",
    re.IGNORECASE,
)
_ABOUT_WHO: Final = re.compile(
    r"password|credential|user ?name|unknown (?:user|account)|user unknown|web ?browser|log in via", re.IGNORECASE
)


class Mechanism(Protocol):
    """One attempt to sign in. It answers ``most`` challenges at most; both sides of them are here before base64.

    ``initial`` may go with the command itself; None if the server speaks first. From ``secrets``, which have been or
    will be said, the password could be guessed. ``is_settled``: the server's word that we are in can be believed.
    """

    most: int = 1
    initial: bytes | None = None
    secrets: Sequence[str] = ()
    is_settled: bool = True

    def answer(self, challenge: str) -> bytes:
        """What to say to a challenge as it came. Raises WireError if there is nothing to say."""


def order(offered: Collection[str], forced: str, remembered: str, *, certificate: bytes, encrypted: bool) -> list[str]:
    """The mechanisms to try one after the other: those that the server offers and that we know, the best first.

    Where nothing is encrypted, those that hide the password come first. One that is forced is the only one; the
    ``remembered`` one, which worked before, is the first unless it would say the password in clear.
    """
    names = [*CLEAR, *_HASHED] if encrypted else [*_HASHED, *CLEAR]
    if not binding_to(certificate):
        names = [name for name in names if not name.endswith(PLUS)]
    if remembered in names and (encrypted or remembered not in CLEAR):
        names.sort(key=lambda name: name != remembered)
    return [name for name in names if name in offered and forced in ("", name.removesuffix(PLUS))]


def next_names(name: str, reply: Reply, others: list[str], *, encrypted: bool) -> list[str]:
    """What is left to try after the server refused ``name`` with ``reply``: nothing that would only be counted
    as one more wrong password.
    """
    if is_about_the_way(reply):
        return others
    if reply.code == _REFUSED and name not in CLEAR and encrypted:  # offered, perhaps, without a verifier to check by
        return [other for other in others if other in CLEAR]
    return []


def is_about_the_way(reply: Reply) -> bool:
    """Whether a refusal is about the mechanism."""
    if reply.code == _UNKNOWN:
        return True
    text = reply.text[:_LONGEST_TEXT]
    if not reply.permanent or _ABOUT_WHO.search(text):
        return False
    return reply.code == _TOO_WEAK or bool(_ABOUT_THE_WAY.search(text))


def mechanism(
    name: str, username: str, password: Secret, *, offered: Collection[str] = (), certificate: bytes = b""
) -> Mechanism:
    """The mechanism of this name, at a server that offers these.

    ValueError, without the secret, if a login cannot carry the user name or password.
    """
    user, secret = _octets(username), _octets(password.reveal())
    if name == "PLAIN":
        return _Plain(user, secret)
    if name == "LOGIN":
        return _Login(user, secret)
    if name == "CRAM-MD5":
        return _CramMd5(user, secret)
    binding = binding_to(certificate)
    is_bound = name.endswith(PLUS)
    flag = "p=tls-server-end-point" if is_bound else "n"
    if binding and not any(other.endswith(PLUS) for other in offered):
        flag = "y"  # whoever took the offer away is found out by a server that made it
    return Scram(name, username, password, flag=flag, binding=binding if is_bound else b"")


class _Plain(Mechanism):
    def __init__(self, user: bytes, secret: bytes) -> None:
        self.initial = self._said = b"\0" + user + b"\0" + secret

    def answer(self, _challenge: str) -> bytes:
        return self._said  # also to servers that did not listen when it came with the command


class _Login(Mechanism):
    most = 2

    def __init__(self, user: bytes, secret: bytes) -> None:
        self._words = iter((user, secret))

    def answer(self, _challenge: str) -> bytes:
        return next(self._words)


class _CramMd5(Mechanism):
    def __init__(self, user: bytes, secret: bytes) -> None:
        self._user, self._secret = user, secret

    def answer(self, challenge: str) -> bytes:
        text = unbase64(challenge)
        if not text:  # the digest of nothing would serve whoever hears it for ever
            raise unreadable()
        digest = hmac.new(self._secret, text, "md5").hexdigest()
        self.secrets = [digest]
        return self._user + b" " + digest.encode()


def _octets(text: str) -> bytes:
    try:
        octets = text.encode()
    except UnicodeEncodeError:  # its text would hold the password
        octets = b"\0"
    if b"\0" in octets:
        raise ValueError("A user name or password has a character that no login can carry.")
    return octets
