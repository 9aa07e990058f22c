"""The login mechanisms, on UTF-8: PLAIN (RFC 4616), LOGIN (of practice), CRAM-MD5 (RFC 2195) and SCRAM (RFC 5802,
RFC 7677), by which the password is never said and the server has to show that it knows it, too.
"""

import base64
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from services.smtp.settings import TOKEN_METHOD
from services.smtp.wire import Reply, WireError
from utils.errors import Fault, TokenRefusal
from utils.secret import Secret

KNOWN: Final = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5")
CLEAR: Final = ("PLAIN", "LOGIN")  # these say the password itself
PLUS: Final = "-PLUS"  # bound to the encryption (RFC 5802 6)
BY_TOKEN: Final = ("XOAUTH2", "OAUTHBEARER")  # both mean the same; Google and Microsoft describe the first alone
_HASHED: Final = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5")
_UNKNOWN, _TOO_WEAK, _REFUSED = 504, 534, 535  # RFC 4954 4 and 6; Google says 534 where an app password is missing
_LONGEST_TEXT: Final = 500

# A refusal that is about the way of signing in, not about who signs in. Servers use 535 for both.
_NAMES: Final = r"plain|login|cram-md5|scram-\S+|xoauth2|oauthbearer"
_WAY: Final = (
    r"(?:mechanisms?|(?:auth\w*|sasl|log[ -]?in|sign[ -]?in) (?:mechanism|method|type|scheme)s?"
    rf"|auth(?:entication)? (?:{_NAMES})|(?:{_NAMES}|plain ?text) auth\w*)"
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

LEAST_ROUNDS: Final = 4096  # RFC 5802 5.1, RFC 7677 4: with fewer, the password is soon guessed by who has listened
MOST_ROUNDS: Final = 600_000  # a server must not keep us computing as long as it likes

_NOT_SHOWN: Final = "The server did not prove that it knows the password, so it may be another server."
_FIRST: Final = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,9})(?:,[A-Za-z]=[^,]*)*")
_PROHIBITED: Final = (  # RFC 4013 2.3
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9,
)  # fmt: skip


class Mechanism(Protocol):
    """One attempt to sign in. It answers ``most`` challenges at most; both sides of them are here before base64.

    ``initial`` may go with the command itself; None if the server speaks first. From ``secrets``, which have been or
    will be said, the password could be guessed. ``is_settled``: the server's word that we are in can be believed.
    """

    most: int = 1
    initial: bytes | None = None
    secrets: Sequence[str] = ()
    is_settled: bool = True
    is_said: bool = False  # what is ``initial`` has gone with the command
    token_refusal: TokenRefusal | None = None

    def answer(self, challenge: str) -> bytes:
        """What to say to a challenge as it came. Raises WireError if there is nothing to say."""


def order(
    offered: Collection[str],
    forced: str,
    remembered: str,
    *,
    certificate: bytes,
    encrypted: bool,
    by_token: bool = False,
) -> list[str]:
    """The mechanisms to try one after the other: those that the server offers and that we know, the best first.

    Where nothing is encrypted, those that hide the password come first, and there is none for a token. One that is
    forced is the only one; the ``remembered`` one, which worked before, is the first unless it would say the password
    in clear.
    """
    if by_token:
        names = list(BY_TOKEN) if encrypted else []
        forced = "" if forced == TOKEN_METHOD else forced  # a stored choice: by token, however the server calls it
    else:
        names = [*CLEAR, *_HASHED] if encrypted else [*_HASHED, *CLEAR]
    if not binding_to(certificate):
        names = [name for name in names if not name.endswith(PLUS)]
    if remembered in names and (encrypted or remembered not in CLEAR):
        names.sort(key=lambda name: name != remembered)
    return [name for name in names if name in offered and forced in ("", name.removesuffix(PLUS))]


def is_usable(name: str, *, encrypted: bool, by_token: bool = False) -> bool:
    """Whether we know how to sign in by a mechanism of this name; some are bound to the encryption."""
    if by_token:
        return encrypted and name in BY_TOKEN
    return name.removesuffix(PLUS) in KNOWN and (encrypted or not name.endswith(PLUS))


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
        raise ValueError("The user name or password has a character that no sign-in method can send.")
    return octets


class Scram(Mechanism):
    """One exchange. ``flag`` is the gs2 flag (RFC 5802 6): n, y, or p= with the name of the ``binding`` data."""

    most = 3  # an empty one where the server did not listen to what came with the command; its first; its final

    def __init__(
        self, name: str, username: str, password: Secret, *, flag: str = "n", binding: bytes = b"", nonce: str = ""
    ) -> None:
        self._hash = "sha256" if "SHA-256" in name else "sha1"
        self._password = password
        self._header = f"{flag},,"
        self._binding = binding
        self._nonce = nonce or secrets.token_urlsafe(24)
        user = prepared(username).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={user},r={self._nonce}"
        self._signature = b""  # that the server has to give; empty until it is its turn
        self._opening = (self._header + self._bare).encode()
        self.initial = self._opening
        self.is_settled = False

    def answer(self, challenge: str) -> bytes:
        said = _decoded(challenge)
        if self._signature:
            self._check(said)
            return b""
        if not said:
            return self._opening
        if said.startswith("e="):
            return b""  # its refusal follows
        return self._final(said)

    def _final(self, first: str) -> bytes:
        """Our final message, in answer to the server's first."""
        found = _FIRST.fullmatch(first)
        if not found:
            raise unreadable()
        nonce, salt, rounds = found[1], unbase64(found[2]), int(found[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise unproven("The server's sign-in challenge does not belong to this sign-in.")
        if not salt:
            raise unreadable()
        _require_reasonable(rounds)
        bound = base64.b64encode(self._header.encode() + self._binding).decode()
        without_proof = f"c={bound},r={nonce}"
        said = f"{self._bare},{first},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac(self._hash, prepared(self._password.reveal()).encode(), salt, rounds)
        key = self._mac(salted, b"Client Key")
        signature = self._mac(hashlib.new(self._hash, key).digest(), said)
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self._signature = self._mac(self._mac(salted, b"Server Key"), said)
        final = f"{without_proof},p={proof}"
        self.secrets = [final, proof, base64.b64encode(self._signature).decode()]
        return final.encode()

    def _check(self, final: str) -> None:
        """Raises WireError unless the server has shown that it knows the password; its error shows nothing."""
        if final.startswith("e="):
            return
        name, _, value = final.partition(",")[0].partition("=")
        given = unbase64(value) if name == "v" else b""
        if self.is_settled or not hmac.compare_digest(given, self._signature):
            raise unproven()
        self.is_settled = True

    def _mac(self, key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, self._hash)


def unproven(text: str = _NOT_SHOWN) -> WireError:
    return WireError(Fault.AUTH_UNPROVEN, text)


def prepared(text: str) -> str:
    """A user name or password as SASLprep (RFC 4013) has it; one that it does not allow, as it is."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(is_in(char) for char in normal for is_in in _PROHIBITED) or not _reads_one_way(normal):
        return text
    return normal


def _reads_one_way(text: str) -> bool:
    """RFC 3454 6: right-to-left letters stand alone, and at both ends."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])


@lru_cache(maxsize=8)
def binding_to(certificate: bytes) -> bytes:
    """The data of tls-server-end-point (RFC 5929 4.1) for a certificate (DER); b"" where there is none."""
    if not certificate:
        return b""
    try:
        used = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return b""
    if used is None:  # Ed25519 and the like: not defined
        return b""
    name = "sha256" if isinstance(used, hashes.MD5 | hashes.SHA1) else used.name
    try:
        return hashlib.new(name.replace("-", "_"), certificate).digest()
    except ValueError:
        return b""


def unreadable() -> WireError:
    return WireError(Fault.BROKEN_REPLY, "The server's sign-in challenge cannot be read.")


def unbase64(text: str) -> bytes:
    """The octets that stand there in base64; b"" if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one
        return b""


def _require_reasonable(rounds: int) -> None:
    if LEAST_ROUNDS <= rounds <= MOST_ROUNDS:
        return
    limit = f"At most {MOST_ROUNDS} are done" if rounds > MOST_ROUNDS else f"Fewer than {LEAST_ROUNDS} are not safe"
    raise WireError(Fault.AUTH_ROUNDS, f"The server asks for {rounds} rounds of computing to sign in. {limit}.")


def _decoded(challenge: str) -> str:
    try:
        return base64.b64decode(challenge, validate=True).decode()
    except ValueError:
        raise unreadable() from None
