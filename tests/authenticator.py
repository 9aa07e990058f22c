"""A passkey's device in software: it makes keys and signs as Web Authentication has it, and errs as a test wants."""

import base64
import hashlib
import json
import secrets
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_PRESENT, _VERIFIED, _WITH_KEY = 0x01, 0x04, 0x40  # flags of its data (Web Authentication 6.1)
_AAGUID: Final = bytes(16)


class Authenticator:
    """Holds one passkey. ``origin`` is what its browser says of the page; ``verifies``: it has asked for a finger."""

    def __init__(self, origin: str = "http://localhost:5000", *, verifies: bool = True, counts: bool = True) -> None:
        self.origin, self.verifies, self.counts = origin, verifies, counts
        self.count = 0
        self.id = secrets.token_bytes(32)
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: str, *, padding: int = 0) -> str:
        """Make the passkey: the browser's answer. ``padding``: octets that stand beside it in the attestation."""
        asked = json.loads(options)
        point = self._key.public_key().public_numbers()
        key = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        made = _AAGUID + len(self.id).to_bytes(2, "big") + self.id + cbor2.dumps(key)
        statement: dict[str, Any] = {"padding": bytes(padding)} if padding else {}
        attestation = {"fmt": "none", "attStmt": statement, "authData": self._data(asked["rp"]["id"], _WITH_KEY) + made}
        return self._answer(
            {
                "clientDataJSON": _text(self._said("webauthn.create", asked)),
                "attestationObject": _text(cbor2.dumps(attestation)),
            }
        )

    def use(self, options: str) -> str:
        """Sign with it: the browser's answer."""
        asked = json.loads(options)
        said, data = self._said("webauthn.get", asked), self._data(asked["rpId"])
        signature = self._key.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {"clientDataJSON": _text(said), "authenticatorData": _text(data), "signature": _text(signature)}
        )

    def _said(self, kind: str, asked: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": asked["challenge"], "origin": self.origin}).encode()

    def _data(self, rp_id: str, flags: int = 0) -> bytes:
        self.count += self.counts
        flags |= _PRESENT | (_VERIFIED if self.verifies else 0)
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _answer(self, response: dict[str, str]) -> str:
        return json.dumps(
            {"id": _text(self.id), "rawId": _text(self.id), "type": "public-key", "response": response}
            | {"clientExtensionResults": {}}
        )


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
