"""Whom to believe: what a certificate must prove, and what it means when it does not.

It needs the standard library alone, so that every interpreter that may run it can be asked whether it decides alike.
"""

import ssl
from pathlib import Path
from typing import Final

# Set as a whole, since Python 3.13 begins with others than 3.11 does. Private authorities are made by hand: without
# key identifiers, with basicConstraints that are not critical, so VERIFY_X509_STRICT is off. What an administrator puts
# into the file is trusted by itself, be it an intermediate or the server's own: VERIFY_X509_PARTIAL_CHAIN is on.
VERIFY_FLAGS: Final = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
# The choice of Python's own builds; others let the system's configuration choose.
CIPHERS: Final = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"

_UNTRUSTED: Final = "comes from an authority that is not trusted here"
_NO_AUTHORITY: Final = "comes from a certificate that may not act as an authority"
_ANOTHER_SIGNER: Final = "does not fit the authority that it names"
_LIMITED_NAMES: Final = "has a name that its authority may not vouch for"
_UNKNOWN_LIMITS: Final = "comes from an authority whose limits on names are not understood here"
_REVOCATION: Final = "cannot be looked up in its authority's list of revoked certificates"
_PROXY: Final = "is a proxy certificate, and those are not accepted"
_SUITE_B: Final = "does not keep the Suite B rules that this machine demands"
_NOT_CONFIRMED: Final = "was not confirmed by its authority (OCSP)"
_TWO_SIGNATURES: Final = "names two different kinds of signature"
_WRONG_ROLE: Final = "claims rights that only an authority has"

# OpenSSL's X509_V_ERR_* numbers, those of its strict checks too.
_WORDS: Final = {
    1: "cannot be verified",
    2: _UNTRUSTED,
    3: _REVOCATION,
    4: "has a signature that cannot be read",
    5: _REVOCATION,
    6: "comes from an authority whose key cannot be read",
    7: "has a signature that is wrong",
    8: _REVOCATION,
    9: "is not valid yet",
    10: "has expired",
    11: _REVOCATION,
    12: _REVOCATION,
    13: "has a first day that cannot be read",
    14: "has a last day that cannot be read",
    15: _REVOCATION,
    16: _REVOCATION,
    17: "cannot be verified: there is not enough memory",
    18: "is self-signed",
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    22: "has a chain of authorities that is too long",
    23: "has been revoked",
    24: _NO_AUTHORITY,  # since OpenSSL 3: its authority's certificate has no key
    25: "comes through more authorities than one of them allows",
    26: "is made for another purpose than a server's",
    27: "is marked as not trusted on this machine",
    28: "is marked as refused on this machine",
    29: _ANOTHER_SIGNER,
    30: _ANOTHER_SIGNER,
    31: _ANOTHER_SIGNER,
    32: "comes from an authority whose key may not sign certificates",
    33: _REVOCATION,
    34: "holds a critical extension that is not understood here",
    35: _REVOCATION,
    36: _REVOCATION,
    37: _WRONG_ROLE,
    38: _PROXY,
    39: "has a key that may not sign",
    40: _PROXY,
    41: "holds an extension that is not valid",
    42: "holds a policy that is not valid",
    43: "does not carry the policy that is demanded",
    44: _REVOCATION,
    45: "holds an extension of a kind that is not understood here",
    46: "claims addresses that its authority does not hold",
    47: _LIMITED_NAMES,
    48: _LIMITED_NAMES,
    49: _UNKNOWN_LIMITS,
    50: "cannot be verified",
    51: _UNKNOWN_LIMITS,
    52: _UNKNOWN_LIMITS,
    53: "has a name in a form that is not understood here",
    54: _REVOCATION,
    55: "has a chain of authorities that leads back to itself",
    56: _SUITE_B,
    57: _SUITE_B,
    58: _SUITE_B,
    59: _SUITE_B,
    60: _SUITE_B,
    61: _SUITE_B,
    62: "is for another name",
    63: "is for another mail address",
    64: "is not for this address",
    65: "is not the one that DNS names (DANE)",
    66: "has a key that is too short, or of a kind that is not known here",
    67: "has an authority whose key is too short, or of a kind that is not known here",
    68: "has a signature that is too weak",
    69: "cannot be verified",
    70: "cannot be verified: the authorities on this machine cannot be read",
    71: "has no proof that it was published (certificate transparency)",
    72: _PROXY,
    73: _NOT_CONFIRMED,
    74: _NOT_CONFIRMED,
    75: _NOT_CONFIRMED,
    76: "has a signature of a kind that is not understood here",
    77: _TWO_SIGNATURES,
    78: _TWO_SIGNATURES,
    79: _NO_AUTHORITY,
    80: _WRONG_ROLE,
    81: _WRONG_ROLE,
    82: _WRONG_ROLE,
    83: "does not name its authority",
    84: "comes from an authority without a name",
    85: "does not say which key signed it (no authority key identifier)",
    86: "comes from an authority that does not name its key (no subject key identifier)",
    87: "has an empty list of names",
    88: "has no subject, and names that are not marked critical",
    89: "comes from an authority that does not insist on being one (basicConstraints is not critical)",
    90: "has an authority key identifier that must not be critical",
    91: "has a subject key identifier that must not be critical",
    92: "comes from an authority that does not say what its key is for (no keyUsage)",
    93: "holds extensions that its X.509 version does not have",
    94: "has a key on a curve of its own making",
    95: "is a bare key that is not trusted here",
}
NAME_MISMATCHES: Final = (62, 64)


def verifying_context(ca_file: Path | None) -> ssl.SSLContext:
    """A client's context that trusts the system's authorities and those in ``ca_file``.

    Raises OSError if the file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = VERIFY_FLAGS
    context.set_ciphers(CIPHERS)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # only subjectAltName counts (RFC 9525 6.3)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


def fault_of(verify_code: int, verify_message: str) -> str:
    """What OpenSSL finds wrong, to be read behind "The certificate of …"; its own words for what is newer than this."""
    return _WORDS.get(verify_code, f"cannot be verified: {verify_message}")
