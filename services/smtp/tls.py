"""TLS for SMTP: always verified, against the configured host, and able to say what exactly is wrong."""

import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any, Final, TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID, NameOID

from services.smtp import alerts, strangers, trust
from services.smtp.settings import Identity
from services.smtp.wire import Deadline, WireError, not_smtp
from utils import incidents
from utils.errors import Fault
from utils.log_utils import printable

SOON: Final = 14  # days before the end of a certificate from which on it is worth a warning
_DAY: Final = 86_400
_PLAIN_FIRST: Final = "The server on this port starts unencrypted."
_CLOSED_EARLY: Final = "The server closed the connection when encryption began."
_UNNAMED: Final = "an unnamed authority"
_VERSIONS: Final = (1, 2, 3)  # of X.509
_MOST_NAMES: Final = 100  # that are shown; public authorities put no more into one certificate
_LONGEST_NAME: Final = 100
_DER: Final = 2  # OpenSSL's number for the form
_KEY_REASONS: Final = {"KEY_VALUES_MISMATCH": "its key does not belong to it"}  # in other words than OpenSSL's
_T = TypeVar("_T")
_ALERT, _HANDSHAKE = 0x15, 0x16  # RFC 8446 5.1


@dataclass(frozen=True, kw_only=True)
class ShownCertificate:
    """What stands in a certificate, true or not: the names it claims to be for, who signed it, when it holds (UTC)."""

    names: tuple[str, ...]
    issuer: str
    starts: datetime
    ends: datetime
    sha256: str  # fingerprint, like AB:CD:…
    signed_by: tuple[str, ...] = ()  # all that the issuer is called


def tls_context(ca_file: Path | None, identity: Identity | None = None) -> ssl.SSLContext:
    """Give the context that trusts the system's authorities and those in ``ca_file``, and shows ``identity`` and no
    other to a server that asks; it is kept, and built again when the file changes. Raises WireError if either cannot
    be used.
    """
    try:
        return _context(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0, identity)
    except OSError:  # ssl.SSLError is one
        text = "SMTP_CA_FILE cannot be read or contains no certificate."
        raise WireError(Fault.TLS_CERTIFICATE, text) from None


@lru_cache(maxsize=16)
def _context(ca_file: Path | None, _changed: int, identity: Identity | None) -> ssl.SSLContext:
    context = trust.verifying_context(ca_file)
    if identity:
        _show(context, identity)
    return context


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    """From now on show ``identity`` to every server that asks for one. Raises WireError if it cannot be used."""
    try:
        with _as_file(f"{identity.key.reveal()}{identity.certificate}") as path:
            context.load_cert_chain(path)
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or "unknown reason")
        text = f"The client certificate cannot be used: {_KEY_REASONS.get(reason, reason.replace('_', ' ').lower())}."
        raise WireError(Fault.TLS_CERTIFICATE, text) from None


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path under which OpenSSL can read a text, since it takes a key from a file only. It lies in memory where the
    system can do that, and else for a moment in a file that nobody but us may read.
    """
    in_memory = hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()
    # The mode of a temporary file is 0600.
    with os.fdopen(os.memfd_create("identity"), "w") if in_memory else tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if in_memory else file.name


def wrapped(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """The socket that will be encrypted by ``shake_hands``; the ownership of ``sock`` passes to it."""
    try:
        return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except ValueError:  # a name that TLS cannot carry, like one that begins with a dot
        sock.close()
        raise WireError(Fault.TLS_HANDSHAKE, "Encryption is not possible with this server name.") from None
    except OSError:  # the peer has gone already
        sock.close()
        raise WireError(Fault.CLOSED, _CLOSED_EARLY) from None


def shake_hands(tls: ssl.SSLSocket, host: str, deadline: Deadline, *, spoke_plain: bool) -> None:
    """Encrypt, and verify that the certificate is for ``host``, the configured name or IP literal.

    ``spoke_plain`` says whether the conversation has begun without encryption. Raises WireError.
    """
    try:
        _shake_hands(tls, deadline, spoke_plain=spoke_plain)
    except ssl.SSLCertVerificationError as error:
        raise WireError(Fault.TLS_CERTIFICATE, f"The certificate of {host} {_refused(tls, error)}.") from None
    except OSError as error:
        raise _failed(tls, error, spoke_plain=spoke_plain) from None


def describe(tls: ssl.SSLSocket, host: str) -> tuple[str, int]:
    """Say in one line how the connection is protected; and the days that are left to the certificate.

    Raises WireError for a certificate that holds as OpenSSL reads it, and that nobody else could read.
    """
    described = _readable(lambda: _described(tls, host), None)
    if described is None:
        raise WireError(Fault.TLS_CERTIFICATE, f"The certificate of {host} cannot be read.")
    return described


def last_day(tls: ssl.SSLSocket) -> str:
    """The day, in UTC, on which the server's certificate ends; of one that ``describe`` could read."""
    certificate = cast(dict[str, Any], tls.getpeercert())
    return f"{datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate['notAfter']), UTC):%Y-%m-%d}"


def _described(tls: ssl.SSLSocket, host: str) -> tuple[str, int]:
    certificate = cast(dict[str, Any], tls.getpeercert())
    if certificate["version"] not in _VERSIONS:
        raise ValueError
    names = [name for _, name in certificate.get("subjectAltName", ())]
    issuer = {key: value for rdn in certificate.get("issuer", ()) for key, value in rdn}
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - time()) // _DAY)
    version = (tls.version() or "TLS").replace("TLSv", "TLS ")
    name = host if host in names else _shown(next(iter(names), host))
    by = _shown(issuer.get("organizationName") or issuer.get("commonName") or "") or _UNNAMED
    return f"{version}, certificate for {name}, {days} days left, issued by {by}", days


def shown_certificate(sock: socket.socket, host: str, deadline: Deadline) -> ShownCertificate:
    """What is in the certificate that the server shows, of which nothing is verified.

    The connection is for this look only: it is closed here, so that nothing can be said on it. Raises WireError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a bad certificate is what is looked at
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with wrapped(sock, context, host) as tls:
        shake_hands(tls, host, deadline, spoke_plain=False)
        shown = tls.getpeercert(binary_form=True)
    found = _readable(lambda: _read(x509.load_der_x509_certificate(shown or b"")), None)
    if found is None:
        raise WireError(Fault.TLS_CERTIFICATE, "The certificate cannot be read.")
    return found


def _read(certificate: x509.Certificate) -> ShownCertificate:
    return ShownCertificate(
        names=_readable(lambda: _names(certificate), ()),
        issuer=_readable(lambda: _one_line(certificate.issuer), "an authority whose name cannot be read"),
        starts=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        signed_by=_readable(lambda: _all_names(certificate.issuer), ()),
    )


def _readable(read: Callable[[], _T], otherwise: _T) -> _T:
    """What ``read`` finds in a certificate, or ``otherwise``: what a parser stumbles over has no type of its own."""
    try:
        return read()
    except incidents.STOPS:
        raise
    except BaseException:
        return otherwise


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    found = (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))
    return tuple(_shown(name) for name in found[:_MOST_NAMES])


def _one_line(name: x509.Name) -> str:
    for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return _shown(str(attribute.value)) or _UNNAMED
    return _UNNAMED


def _all_names(name: x509.Name) -> tuple[str, ...]:
    """Organisation, unit and common name, as far as they are there."""
    kinds = (NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME)
    return tuple(_shown(str(attribute.value)) for kind in kinds for attribute in name.get_attributes_for_oid(kind))


def _shown(name: str) -> str:
    """A name of a certificate on one line, without letters that cannot be seen."""
    return "".join(letter if letter.isprintable() else " " for letter in printable(name, _LONGEST_NAME)).strip()


def _refused(tls: ssl.SSLSocket, error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with the certificate that did not verify."""
    if error.verify_code in trust.NAME_MISMATCHES and _readable(lambda: _has_common_name_only(tls), False):
        return "must be renewed: it names its host only in a way that is no longer accepted (no subjectAltName)"
    return trust.fault_of(error.verify_code, error.verify_message)


def _has_common_name_only(tls: ssl.SSLSocket) -> bool:
    certificate = x509.load_der_x509_certificate(_unverified(tls))
    kinds = {extension.oid for extension in certificate.extensions}
    return (
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME not in kinds
        and len(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)) > 0
    )


def _unverified(tls: ssl.SSLSocket) -> bytes:
    """The certificate that the server has shown, though it did not verify. Its public method is new in Python 3.13."""
    ask = getattr(tls, "get_unverified_chain", None) or cast(Any, tls)._sslobj.get_unverified_chain
    first = ask()[0]
    return first if isinstance(first, bytes) else bytes(first.public_bytes(_DER))


def _shake_hands(tls: ssl.SSLSocket, deadline: Deadline, *, spoke_plain: bool) -> None:
    # OpenSSL would only say "wrong version number" to a server that speaks plain: look before it reads.
    tls.settimeout(0)
    with suppress(BlockingIOError):
        _require_tls(_peek(tls), spoke_plain=spoke_plain)
    start = b""
    try:
        tls.do_handshake()  # writes our hello
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        tls.settimeout(deadline.seconds())
        start = _peek(tls)
        if not start:
            raise WireError(Fault.CLOSED, _CLOSED_EARLY) from None
    tls.settimeout(deadline.seconds())
    try:
        tls.do_handshake()  # its timeout is one for the whole handshake
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError:
        # Only now: of a record that came in pieces, the first may have been read before the look.
        if start:
            _require_tls(start, spoke_plain=spoke_plain)
        raise


def _peek(tls: ssl.SSLSocket) -> bytes:
    return socket.socket.recv(tls, strangers.LONG_ENOUGH, socket.MSG_PEEK)


def _require_tls(start: bytes, *, spoke_plain: bool) -> None:
    if not start:
        raise WireError(Fault.CLOSED, _CLOSED_EARLY)
    if start[0] in (_HANDSHAKE, _ALERT):
        return
    if spoke_plain:
        raise WireError(Fault.TLS_HANDSHAKE, "The server continued unencrypted when encryption began.")
    if start[:1].isdigit():
        raise WireError(Fault.TLS_UNEXPECTED, _PLAIN_FIRST)
    raise not_smtp(start)


def _failed(tls: ssl.SSLSocket, error: OSError, *, spoke_plain: bool) -> WireError:
    if isinstance(error, TimeoutError):
        return WireError(Fault.TIMEOUT, "The server did not finish the encryption handshake.")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        if error.reason == "WRONG_VERSION_NUMBER" and not spoke_plain:
            return WireError(Fault.TLS_UNEXPECTED, _PLAIN_FIRST)
        has_shown_its_own = bool(_readable(lambda: _unverified(tls), b""))
        return WireError(*alerts.of_handshake(error, is_under_way=has_shown_its_own))
    return WireError(Fault.CLOSED, "The server closed the connection during the encryption handshake.")
