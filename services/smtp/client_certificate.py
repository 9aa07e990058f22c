"""A client certificate and its key, which some relays ask for: read from PEM, checked, and told about."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from utils import clock
from utils.log_utils import printable
from utils.secret import Secret

LONGEST_CERTIFICATE: Final = 32_768  # characters, the whole chain
LONGEST_KEY: Final = 16_384
MOST_CERTIFICATES: Final = 10
SOON: Final = timedelta(days=14)  # before the end, from which on it is worth a warning

NO_CERTIFICATE: Final = "Paste the whole certificate as PEM text: its first line says BEGIN CERTIFICATE."
KEY_IN_CERTIFICATE: Final = "This contains a private key. Paste only the certificate here, and the key below."
UNREADABLE_CERTIFICATE: Final = "This certificate cannot be read."
WRONG_ORDER: Final = "Put your own certificate first, then each one that signed the one before it."
NO_KEY: Final = "Paste the whole key as PEM text: its first line says BEGIN PRIVATE KEY."
ENCRYPTED_KEY: Final = (
    "This key is locked with a passphrase. Remove the passphrase with this command, then "
    "paste the result: openssl pkey -in locked.pem"
)
UNREADABLE_KEY: Final = "This key cannot be read."
SHORT_KEY: Final = "This RSA key is too short: servers accept 2,048 bits or more."
OTHER_KEY: Final = "This key does not belong to the certificate."

_SHORTEST_RSA: Final = 2048  # bits: what OpenSSL's usual security level takes
_KEY: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL)
_FOREIGN: Final = {
    "CERTIFICATE REQUEST-----": "This is a certificate request. Paste the certificate that was issued for it.",
    "BEGIN PKCS7-----": "This is a PKCS#7 bundle. Convert it to PEM first: openssl pkcs7 -print_certs -in bundle.p7b",
}

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class UnusablePem(Exception):
    """A text that is not what it should be; the message says what to do and never echoes it."""


@dataclass(frozen=True, kw_only=True)
class CertificateFacts:
    """What may be shown of a client certificate."""

    subject: str
    issuer: str
    sha256: str  # fingerprint, like AB:CD:…
    starts: datetime
    ends: datetime
    is_for_clients: bool

    @property
    def days_left(self) -> int:
        return (self.ends - clock.now()) // timedelta(days=1)

    @property
    def has_expired(self) -> bool:
        return self.ends <= clock.now()

    @property
    def trouble(self) -> str:
        """What the administrator should know before the server complains, or ""."""
        now = clock.now()
        if self.starts > now:
            return f"The client certificate is not valid before {self.starts:%Y-%m-%d} UTC."
        if self.ends - now < SOON:
            return " ".join(told_of_end(self.ends, now))
        if not self.is_for_clients:
            return "The client certificate is not made for clients: most servers will refuse it."
        return ""


def told_of_end(ends: datetime, now: datetime) -> tuple[str, str]:
    """That a client certificate ends at a moment, or has, and what to do: a sentence each."""
    if ends <= now:
        return f"The client certificate expired on {ends:%Y-%m-%d} UTC.", "Enter a new one."
    return f"The client certificate expires on {ends:%Y-%m-%d} UTC.", "Enter a new one before that day."


def parse_certificate(text: str) -> str:
    """One certificate, or a chain that begins with one's own, as plain PEM. Raises UnusablePem."""
    tidy = _tidy(text)
    if holds_key(tidy):
        raise UnusablePem(KEY_IN_CERTIFICATE)
    for mark, sentence in _FOREIGN.items():
        if mark in tidy:
            raise UnusablePem(sentence)
    return certificates_in(tidy)


def certificates_in(text: str) -> str:
    """The certificates of a text that may hold more, such as the key. Raises UnusablePem."""
    tidy = _tidy(text)
    if "CERTIFICATE-----" not in tidy:
        raise UnusablePem(NO_CERTIFICATE)
    return _checked_chain(tidy)


def parse_key(text: str) -> Secret:
    """The one private key in a text, as plain PKCS#8. Raises UnusablePem."""
    return _checked_key(Secret(_tidy(text)))


def holds_key(text: str) -> bool:
    """Whether there is a private key in a text, of whatever kind."""
    return "PRIVATE KEY-----" in text


@lru_cache(maxsize=16)
def belong_together(certificate: str, key: Secret) -> bool:
    """Whether this is the key of the first certificate."""
    own = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    return own == _loaded(key, is_checked=True).public_key()


@lru_cache(maxsize=64)
def facts_of(certificate: str) -> CertificateFacts | None:
    """What may be shown of the first certificate; None without one, or where somebody spoilt it."""
    if not certificate:
        return None
    try:
        own = x509.load_pem_x509_certificate(certificate.encode())
        return CertificateFacts(
            subject=printable(own.subject.rfc4514_string()) or "without a subject",
            issuer=printable(own.issuer.rfc4514_string()),
            sha256=own.fingerprint(hashes.SHA256()).hex(":").upper(),
            starts=own.not_valid_before_utc.astimezone(UTC),
            ends=own.not_valid_after_utc.astimezone(UTC),
            is_for_clients=_is_for_clients(own),
        )
    except Exception:  # what a parser stumbles over has no type of its own
        return None


def _tidy(text: str) -> str:
    """Undo what copying does to PEM: indented lines, \\r\\n, a byte order mark, line ends written as \\n."""
    lines = text.lstrip("\ufeff").replace("\\n", "\n").splitlines()
    return "\n".join(line.strip() for line in lines).strip()


@lru_cache(maxsize=16)
def _checked_chain(text: str) -> str:
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
        _check_own(chain[0])
        _check_order(chain)
    except UnusablePem:
        raise
    except Exception:  # what a parser stumbles over has no type of its own
        raise UnusablePem(UNREADABLE_CERTIFICATE) from None
    if len(chain) > MOST_CERTIFICATES:
        raise UnusablePem(f"Enter at most {MOST_CERTIFICATES} certificates: your own, and those above it.")
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain)


def _check_own(certificate: x509.Certificate) -> None:
    """Read what is needed later, so that it cannot fail then."""
    _check_length(certificate.public_key())
    if not (certificate.subject.rfc4514_string() or certificate.extensions):
        raise UnusablePem(UNREADABLE_CERTIFICATE)
    certificate.issuer.rfc4514_string()


def _check_order(chain: list[x509.Certificate]) -> None:
    for certificate, above in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(above)
        except (ValueError, InvalidSignature):
            raise UnusablePem(WRONG_ORDER) from None
        above.subject.rfc4514_string()


@lru_cache(maxsize=16)
def _checked_key(text: Secret) -> Secret:
    blocks = list(_KEY.finditer(text.reveal()))
    if not blocks:
        raise UnusablePem(NO_KEY)
    if len(blocks) > 1:
        raise UnusablePem("Paste only one key.")
    kind, block = blocks[0][1], blocks[0][0]
    if kind == "ENCRYPTED " or "ENCRYPTED" in block:
        raise UnusablePem(ENCRYPTED_KEY)
    if kind == "OPENSSH ":
        raise UnusablePem("This is an SSH key. Paste the key that belongs to the certificate.")
    return Secret(_readable(Secret(block + "\n")))


def _readable(block: Secret) -> str:
    try:
        key = _loaded(block)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusablePem(UNREADABLE_KEY) from None
    _check_length(key)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _loaded(pem: Secret, *, is_checked: bool = False) -> _PrivateKey:
    # To look for the primes of a long RSA key takes a second.
    key = load_pem_private_key(pem.reveal().encode(), password=None, unsafe_skip_rsa_key_validation=is_checked)
    if not isinstance(key, _PrivateKey):
        raise UnusablePem("Use an RSA, ECDSA or Ed25519 key: servers accept no other kind.")
    return key


def _check_length(key: object) -> None:
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size < _SHORTEST_RSA:
        raise UnusablePem(SHORT_KEY)


def _is_for_clients(certificate: x509.Certificate) -> bool:
    """Whether its extended key usage, if it has one, names clients (RFC 5280 4.2.1.12)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return any(kind in usage for kind in (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))
