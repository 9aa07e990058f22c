"""JSON web tokens as the other side reads them: by hand, so that no library agrees with itself."""

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def unsigned(claims: dict[str, Any]) -> str:
    """One with a signature that nobody looks at."""
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"signature"))


def claims_of(text: str) -> dict[str, Any]:
    """What it says, true or not. Raises ValueError."""
    return _object(text.split(".")[1:2])


def checked(text: str, certificate: str, algorithm: str) -> dict[str, Any]:
    """What it says, if the certificate (PEM) belongs to the key that signed it. Raises ValueError or KeyError."""
    head, body, signature = text.split(".")
    found = x509.load_pem_x509_certificate(certificate.encode())
    key = found.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    way = pss if algorithm == "PS256" else padding.PKCS1v15()
    try:
        key.verify(_decoded(signature), f"{head}.{body}".encode(), way, hashes.SHA256())
    except InvalidSignature:
        raise ValueError("not signed by this key") from None
    header = _object([head])
    is_named = algorithm != "PS256" or _decoded(header["x5t#S256"]) == found.fingerprint(hashes.SHA256())
    if header["alg"] != algorithm or not is_named:
        raise ValueError("another algorithm or certificate")
    return _object([body])


def _object(parts: list[str]) -> dict[str, Any]:
    found = json.loads(_decoded("".join(parts)))
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
