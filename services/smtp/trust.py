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

# OpenSSL's X509_V_ERR_* numbers, those of its strict checks too.
_OF_REVOCATION: Final = (3, 5, 8, 11, 12, 15, 16, 33, 35, 36, 44, 54)
_NUMBERS: Final = {
    "cannot be verified": (1, 50, 69),
    "comes from an authority that this machine does not trust": (2, 19, 20, 21),
    "cannot be looked up in its authority's list of revoked certificates": _OF_REVOCATION,
    "has a signature that cannot be read": (4,),
    "comes from an authority whose key cannot be read": (6,),
    "has a signature that is wrong": (7,),
    "is not valid yet": (9,),
    "has expired": (10,),
    "has a first day that cannot be read": (13,),
    "has a last day that cannot be read": (14,),
    "cannot be verified: there is not enough memory": (17,),
    "is self-signed": (18,),
    "has a chain of authorities that is too long": (22,),
    "has been revoked": (23,),
    # 24 since OpenSSL 3: the authority's certificate has no key.
    "comes from a certificate that may not act as an authority": (24, 79),
    "comes through more authorities than one of them allows": (25,),
    "is made for another purpose than a server's": (26,),
    "is marked as not trusted on this machine": (27,),
    "is marked as refused on this machine": (28,),
    "does not fit the authority that it names": (29, 30, 31),
    "comes from an authority whose key may not sign certificates": (32,),
    "contains a critical extension that is not understood": (34,),
    "claims rights that only an authority has": (37, 80, 81, 82),
    "is a proxy certificate, and those are not accepted": (38, 40, 72),
    "has a key that may not sign": (39,),
    "contains an extension that is not valid": (41,),
    "contains a policy that is not valid": (42,),
    "does not have the required policy": (43,),
    "contains a kind of extension that is not understood": (45,),
    "claims addresses that its authority does not have": (46,),
    "has a name that its authority may not vouch for": (47, 48),
    "comes from an authority whose limits on names are not understood": (49, 51, 52),
    "has a name in a form that is not understood": (53,),
    "has a chain of authorities that leads back to itself": (55,),
    "does not follow the Suite B rules that this machine requires": (56, 57, 58, 59, 60, 61),
    "is for another name": (62,),
    "is for another email address": (63,),
    "is not for this address": (64,),
    "is not the one that DNS names (DANE)": (65,),
    "has a key that is too short, or of an unknown kind": (66,),
    "has an authority whose key is too short, or of an unknown kind": (67,),
    "has a signature that is too weak": (68,),
    "cannot be verified: the authorities on this machine cannot be read": (70,),
    "has no proof that it was published (certificate transparency)": (71,),
    "was not confirmed by its authority (OCSP)": (73, 74, 75),
    "has a signature of a kind that is not understood": (76,),
    "names two different kinds of signature": (77, 78),
    "does not name its authority": (83,),
    "comes from an authority without a name": (84,),
    "does not say which key signed it (no authority key identifier)": (85,),
    "comes from an authority that does not name its key (no subject key identifier)": (86,),
    "has an empty list of names": (87,),
    "has no subject, and names that are not marked critical": (88,),
    "comes from an authority that does not insist on being one (basicConstraints is not critical)": (89,),
    "has an authority key identifier that must not be critical": (90,),
    "has a subject key identifier that must not be critical": (91,),
    "comes from an authority that does not say what its key is for (no keyUsage)": (92,),
    "contains extensions that its X.509 version does not have": (93,),
    "has a key on a custom curve": (94,),
    "is a bare key that this machine does not trust": (95,),
}
_WORDS: Final = {number: words for words, numbers in _NUMBERS.items() for number in numbers}
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
