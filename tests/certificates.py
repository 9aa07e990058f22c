"""Certificates for the tests' servers: one authority that the tests trust, and every kind of bad certificate."""

import atexit
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier


@cache
def directory() -> Path:
    """A directory for this process's certificate files, gone when it ends."""
    held = tempfile.TemporaryDirectory(prefix="sealpost-certificates-")
    atexit.register(held.cleanup)
    return Path(held.name)


@cache
def authority() -> trustme.CA:
    """The authority whose certificates the tests' clients trust."""
    return trustme.CA()


@cache
def stranger() -> trustme.CA:
    """An authority that nobody trusts."""
    return trustme.CA()


@cache
def ca_file() -> Path:
    """The file for ``Policy.ca_file`` or SMTP_CA_FILE."""
    path = directory() / "ca.pem"
    authority().cert_pem.write_to_path(path)
    return path


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context that shows ``certificate``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def good_context(*names: str) -> ssl.SSLContext:
    """A server's context with a certificate of the trusted authority for ``names``."""
    return server_context(authority().issue_cert(*(names or ("localhost", "127.0.0.1", "::1"))))


def made_context(
    *,
    names: tuple[str, ...] = ("localhost", "127.0.0.1"),
    common_name: str = "localhost",
    starts_in_days: float = -2,
    ends_in_days: float = 60,
    self_signed: bool = False,
    weak_key: bool = False,
    issuer_name: str = "",
) -> ssl.SSLContext:
    """A server's context with a certificate made by hand, for what trustme does not make."""
    key = rsa.generate_private_key(65537, 1024) if weak_key else ec.generate_private_key(ec.SECP256R1())
    issuer_key: CertificateIssuerPrivateKeyTypes = key
    subject = issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    if not self_signed:
        issuer = x509.load_pem_x509_certificate(authority().cert_pem.bytes()).subject
        loaded = serialization.load_pem_private_key(authority().private_key_pem.bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        issuer_key = loaded
    if issuer_name:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts_in_days))
        .not_valid_after(now + timedelta(days=ends_in_days))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general, names))), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    path = directory() / f"{certificate.serial_number}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that the weak key can be shown at all
    context.load_cert_chain(path)
    return context


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class ClientPair:
    """A client certificate and its key, both PEM."""

    certificate: str
    key: str


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def client_pair(
    name: str = "client.example",
    *,
    key: Key | None = None,
    days: float = 90,
    starts_in_days: float = -2,
    usage: ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    issuer: "ClientPair | None" = None,
    is_authority: bool = False,
) -> ClientPair:
    """By the tests' authority, or by ``issuer``; it ends in ``days``."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    above = issuer or ClientPair(authority().cert_pem.bytes().decode(), authority().private_key_pem.bytes().decode())
    signer = serialization.load_pem_private_key(above.key.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.load_pem_x509_certificate(above.certificate.encode()).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts_in_days))
        .not_valid_after(now + timedelta(days=days, minutes=5))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    return ClientPair(certificate, key_pem(key))


def key_pem(
    key: Key,
    kind: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    lock: serialization.KeySerializationEncryption | None = None,
) -> str:
    return key.private_bytes(serialization.Encoding.PEM, kind, lock or serialization.NoEncryption()).decode()
