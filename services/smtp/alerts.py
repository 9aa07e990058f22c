"""What it means when encryption ends with an alert of the server's, or with an error of OpenSSL's own."""

import re
import ssl
from typing import Final

from utils.errors import Fault

_ALERT_PREFIXES: Final = ("SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "TLSV1_")
# RFC 8446 6.2. Before TLS 1.3 there is no alert for a certificate that is missing: OpenSSL says handshake_failure then,
# as it does when no cipher is in common, GnuTLS and Java bad_certificate.
_WANTS_OURS: Final = {
    "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "NO_CERTIFICATE", "CERTIFICATE_UNOBTAINABLE", "ACCESS_DENIED",
}  # fmt: skip
_REFUSES_OURS: Final = {
    "UNKNOWN_CA", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE",
}  # fmt: skip
_HANDSHAKE_FAILURE: Final = "HANDSHAKE_FAILURE"


def _by_name(names: dict[str, str]) -> dict[str, str]:
    """The table the other way round: what each of OpenSSL's names means."""
    return {name: words for words, listed in names.items() for name in listed.split()}


_WORDS: Final = _by_name(
    {
        "the server knows no version of TLS that is new enough": (
            "UNSUPPORTED_PROTOCOL VERSION_TOO_LOW WRONG_SSL_VERSION WRONG_VERSION_NUMBER NO_PROTOCOLS_AVAILABLE"
            " PROTOCOL_VERSION INAPPROPRIATE_FALLBACK"
        ),
        "no cipher is known to both sides": (
            "NO_SHARED_CIPHER NO_CIPHERS_AVAILABLE WRONG_CIPHER_RETURNED UNKNOWN_CIPHER_RETURNED"
            " INSUFFICIENT_SECURITY HANDSHAKE_FAILURE"
        ),
        "the server's Diffie-Hellman key is too small": "DH_KEY_TOO_SMALL",
        "the server's Diffie-Hellman key is not valid": "BAD_DH_VALUE DH_PUBLIC_VALUE_LENGTH_IS_WRONG",
        "the server's signature is wrong": "BAD_SIGNATURE WRONG_SIGNATURE_SIZE",
        "the server signs in a way that is too weak or unknown": (
            "WRONG_SIGNATURE_TYPE NO_SUITABLE_SIGNATURE_ALGORITHM"
        ),
        "the server knows only the old, unsafe renegotiation": "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
    }
)
_CERTIFICATE_WORDS: Final = _by_name(
    {
        "cannot be read": (
            "ASN1_LIB X509_LIB CERT_LENGTH_MISMATCH UNABLE_TO_FIND_PUBLIC_KEY_PARAMETERS UNKNOWN_CERTIFICATE_TYPE"
        ),
        "is too large": "EXCESSIVE_MESSAGE_SIZE",
        "has a key that is too short": "EE_KEY_TOO_SMALL",
        "has an authority whose key is too short": "CA_KEY_TOO_SMALL",
        "has a signature that is too weak": "CA_MD_TOO_WEAK",
    }
)


def of_handshake(error: ssl.SSLError, *, is_under_way: bool) -> tuple[Fault, str]:
    """The fault of a handshake that failed, and its words.

    ``is_under_way``: the server had shown its own certificate before, so that there is a version and a cipher for both.
    """
    reason = _reason(error)
    alert = _alert(reason)
    if alert in _WANTS_OURS or (is_under_way and alert in (_HANDSHAKE_FAILURE, *_REFUSES_OURS)):
        return Fault.CLIENT_CERTIFICATE, _asked(alert)
    if reason in _CERTIFICATE_WORDS:
        return Fault.TLS_CERTIFICATE, f"The server's certificate {_CERTIFICATE_WORDS[reason]} ({_said(reason)})."
    words = _WORDS.get(alert or reason)
    detail = f"{words} ({_said(reason)})" if words else _said(reason)
    return Fault.TLS_HANDSHAKE, f"The encryption handshake failed: {detail}."


def of_connection(error: ssl.SSLError) -> tuple[Fault, str]:
    """The same where the handshake was through. Under TLS 1.3 a server judges our certificate only after that."""
    reason = _reason(error)
    alert = _alert(reason)
    if alert in _WANTS_OURS or alert in _REFUSES_OURS or alert == _HANDSHAKE_FAILURE:
        return Fault.CLIENT_CERTIFICATE, _asked(alert)
    if alert:
        return Fault.CLOSED, f"The server closed the encrypted connection: {_said(reason)}."
    return Fault.CLOSED, "The encrypted connection was lost."


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's name for what happened; where Python does not know it, what OpenSSL says, in the same form."""
    said = re.search(r"\] (.+?)(?: \(_ssl|$)", str(error))
    return error.reason or (said[1] if said else "unknown reason").replace(" ", "_").upper()


def _alert(reason: str) -> str:
    """The alert's own name; "" if it is no alert."""
    return next((reason.removeprefix(prefix) for prefix in _ALERT_PREFIXES if reason.startswith(prefix)), "")


def _asked(alert: str) -> str:
    trusted = " that it trusts" if alert in _REFUSES_OURS else ""
    return f"The server requires a client certificate{trusted} (alert: {_said(alert)})."


def _said(reason: str) -> str:
    return reason.replace("_", " ").lower()
