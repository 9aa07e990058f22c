"""Authorities as they are made by hand, and what they issue."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from secrets import token_hex

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import certificates

NAMES = ("localhost", "127.0.0.1")


class Certified:
    """A certificate with its key. Without ``by`` it signs itself; only the extensions that are asked for are in it."""

    def __init__(
        self,
        common_name: str,
        *extensions: tuple[x509.ExtensionType, bool],
        by: "Certified | None" = None,
        ends_in_days: float = 60,
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._above = by
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by.certificate.subject if by else subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=90))
            .not_valid_after(now + timedelta(days=ends_in_days))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        self.certificate: x509.Certificate = builder.sign(by._key if by else self._key, hashes.SHA256())

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def file(self) -> Path:
        """It alone, for SMTP_CA_FILE."""
        return _written(self.pem())

    def chain_file(self, *others: "Certified") -> Path:
        """Its key, itself and ``others``, as a server shows them."""
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return _written(key + self.pem() + b"".join(other.pem() for other in others))


def authority_right(*, path_length: int | None = None, critical: bool = True) -> tuple[x509.ExtensionType, bool]:
    """The extension basicConstraints of an authority."""
    return x509.BasicConstraints(ca=True, path_length=path_length), critical


def named(*names: str) -> tuple[x509.ExtensionType, bool]:
    """The extension subjectAltName."""
    return x509.SubjectAlternativeName(list(map(_general, names or NAMES))), False


def signing_only(*, certificates_too: bool) -> tuple[x509.ExtensionType, bool]:
    """The extension keyUsage."""
    flags = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=certificates_too, crl_sign=certificates_too, **flags)
    return usage, True


def limited_to(domains: Sequence[str]) -> tuple[x509.ExtensionType, bool]:
    """The extension nameConstraints."""
    return x509.NameConstraints([x509.DNSName(domain) for domain in domains], None), True


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _written(content: bytes) -> Path:
    path = certificates.directory() / f"{token_hex(8)}.pem"
    path.write_bytes(content)
    return path
