"""SCRAM (RFC 5802, RFC 7677): the password is never said, and the server has to show that it knows it, too."""

import base64
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from services.smtp.wire import WireError
from utils.errors import Fault
from utils.secret import Secret

LEAST_ROUNDS: Final = 4096  # RFC 5802 5.1, RFC 7677 4: with fewer, the password is soon guessed by who has listened
MOST_ROUNDS: Final = 600_000  # a server must not keep us computing as long as it likes

_NOT_SHOWN: Final = "The server did not show that it knows the password, so it may be another server."
_FIRST: Final = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,9})(?:,[A-Za-z]=[^,]*)*")
_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class Scram:
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
        self.initial: bytes | None = self._opening
        self.secrets: Sequence[str] = ()
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
