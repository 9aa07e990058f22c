"""Certificates as no authority makes them, put together octet by octet, and servers that show them."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests import certificates
from tests.scripted_server import Action, Connection, close

_ECDSA_WITH_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_ED25519: Final = bytes.fromhex("300506032b6570")
COMMON_NAME: Final = bytes.fromhex("0603550403")
ORGANIZATION: Final = bytes.fromhex("060355040a")
_SUBJECT_ALT_NAME: Final = bytes.fromhex("0603551d11")
_TRUE: Final = b"\x01\x01\xff"
UTF8, PRINTABLE, BITS, OCTETS, IA5, BMP = 0x0C, 0x13, 0x03, 0x04, 0x16, 0x1E
UTC_TIME, GENERAL_TIME = 0x17, 0x18
DNS_NAME, IP_NAME = 0x82, 0x87
LOCALHOST: Final = (DNS_NAME, b"localhost")


def der(tag: int, *parts: bytes) -> bytes:
    """One value of ASN.1 in its distinguished encoding, whatever it holds."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def name(*attributes: tuple[bytes, int, bytes]) -> bytes:
    """A distinguished name of attributes, each with its kind, the tag of its text and the text."""
    return sequence(*(der(0x31, sequence(kind, der(tag, text))) for kind, tag, text in attributes))


def alt_names(names: Sequence[tuple[int, bytes]], *, critical: bool = False) -> bytes:
    """The extension subjectAltName."""
    return extension(_SUBJECT_ALT_NAME, sequence(*(der(tag, text) for tag, text in names)), critical=critical)


def extension(kind: bytes, value: bytes, *, critical: bool = False) -> bytes:
    return sequence(kind, _TRUE if critical else b"", der(0x04, value))


USUAL_NAME: Final = name((COMMON_NAME, UTF8, b"localhost"))
USUAL_EXTENSIONS: Final = (alt_names([LOCALHOST, (IP_NAME, bytes([127, 0, 0, 1]))]),)


class Hostile:
    """A certificate that signs itself; every part of it can be given as it will not be found elsewhere."""

    def __init__(
        self,
        *,
        version: int | None = 2,  # as it is encoded: 2 is X.509 version 3
        serial: bytes = b"\x11",
        issuer: bytes = USUAL_NAME,
        subject: bytes = USUAL_NAME,
        starts: bytes = der(UTC_TIME, b"260101000000Z"),
        ends: bytes = der(UTC_TIME, b"361231235959Z"),
        extensions: Sequence[bytes] = USUAL_EXTENSIONS,
        edwards: bool = False,
    ) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate() if edwards else ec.generate_private_key(ec.SECP256R1())
        algorithm = _ED25519 if edwards else _ECDSA_WITH_SHA256
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signed = sequence(
            b"" if version is None else der(0xA0, der(0x02, bytes([version]))),
            der(0x02, serial),
            algorithm,
            issuer,
            sequence(starts, ends),
            subject,
            public,
            der(0xA3, sequence(*extensions)) if extensions else b"",
        )
        self.der = sequence(signed, algorithm, der(0x03, b"\0", self._signature(signed)))

    def _signature(self, signed: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(signed)
        return self._key.sign(signed, ec.ECDSA(hashes.SHA256()))

    def pem(self) -> str:
        return ssl.DER_cert_to_PEM_cert(self.der)

    def file(self) -> Path:
        """It alone, for SMTP_CA_FILE: trusted, hostile as it is."""
        path = certificates.directory() / f"{token_hex(8)}.pem"
        path.write_text(self.pem())
        return path

    def context(self) -> ssl.SSLContext:
        """A server's context that shows it."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = certificates.directory() / f"{token_hex(8)}.pem"
        path.write_bytes(private + self.pem().encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def hello_of_tls_1_2(
    *shown_ones: bytes,
    version: int = 0x0303,
    cipher: int = 0xC02B,
    renegotiates: bool = True,
    rest: bytes = b"",
) -> Action:
    """Answer a client's hello as a server of TLS 1.2 does, as far as the certificates, then say ``rest`` and hang up.

    Nothing of that is encrypted yet, so it may hold any octets.
    """
    shown = b"".join(len(one).to_bytes(3, "big") + one for one in shown_ones)
    extensions = bytes.fromhex("0005ff01000100") if renegotiates else b""  # RFC 5746
    hello = version.to_bytes(2, "big") + bytes(32) + b"\0" + cipher.to_bytes(2, "big") + b"\0" + extensions
    flight = _handshake(2, hello) + (_handshake(11, len(shown).to_bytes(3, "big") + shown) if shown else b"")

    def act(connection: Connection) -> None:
        connection.receive()
        connection.send(_records(0x16, flight) + rest)
        if not rest:
            connection.receive()  # its alert
        close(connection)

    return act


def key_exchange(algorithm: int, signature: bytes) -> bytes:
    """What a server of TLS 1.2 says behind its certificates: its half of the key, and its signature on it."""
    half = bytes.fromhex("03001d20") + b"\x09" + bytes(31)
    signed = algorithm.to_bytes(2, "big") + len(signature).to_bytes(2, "big") + signature
    return _records(0x16, _handshake(12, half + signed) + _handshake(14, b""))


def alert(number: int) -> bytes:
    """A fatal alert (RFC 8446 6), not encrypted."""
    return _records(0x15, bytes([2, number]))


def refuse_hello(number: int) -> Action:
    """Answer a client's hello with a fatal alert."""

    def act(connection: Connection) -> None:
        connection.receive()
        connection.send(alert(number))
        close(connection)

    return act


def _handshake(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + len(content).to_bytes(3, "big") + content


def _records(kind: int, content: bytes) -> bytes:
    pieces = [content[start : start + 0x4000] for start in range(0, len(content), 0x4000)]
    return b"".join(bytes([kind, 3, 3]) + len(piece).to_bytes(2, "big") + piece for piece in pieces)
