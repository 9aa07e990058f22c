"""The signature of an id token. Loaded when the first one comes, since joserfc takes a while.

Which algorithm and which key count is decided here, by what the provider's discovery document says and never by the
token alone.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.oauth import answers
from services.oauth.failures import TokenFailure
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from services.single_sign_on.provider import SigningKey

LONGEST: Final = 16_384  # characters
_MOST_KEYS: Final = 8  # that are tried on one token
_SHORTEST_RSA: Final = 2048  # bits
_KINDS: Final[Mapping[str, str]] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}  # of algorithms by their names
_PARTS: Final = 3
_ED25519: Final = "Ed25519"  # of the curves of its kind the one that is accepted
_PublicKey = RSAKey | ECKey | OKPKey


class NoKeyFits(Exception):
    """None of the keys that are known has signed it; the provider may have another by now."""


def claims_of(text: object, keys: Iterable[SigningKey], algorithms: frozenset[str]) -> dict[str, Any]:
    """What an id token says, if one of these keys has signed it. Raises SignOnFailure, or NoKeyFits."""
    head, body = _parts(text)
    algorithm, key_id = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise SignOnFailure(SignOnFault.TOKEN, "algorithm")
    for key in _candidates(keys, algorithm, key_id):
        try:
            jws.deserialize_compact(str(text), key, algorithms=[algorithm])
        except (JoseError, ValueError):
            continue
        return body
    raise NoKeyFits


def _parts(text: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its header and its claims, true or not."""
    parts = text.split(".") if isinstance(text, str) and len(text) <= LONGEST else []
    if len(parts) != _PARTS:  # five are encrypted, which nobody asked for
        raise SignOnFailure(SignOnFault.TOKEN, "form")
    try:
        head, body = (_object(part) for part in parts[:2])
    except (binascii.Error, ValueError, TokenFailure):
        raise SignOnFailure(SignOnFault.TOKEN, "form") from None
    return head, body


def _object(part: str) -> dict[str, Any]:
    return answers.json_object(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True), 0)


def _candidates(keys: Iterable[SigningKey], algorithm: str, key_id: object) -> list[_PublicKey]:
    """The keys that may have signed it: of its name if it says one, of the algorithm's kind, and meant for signing."""
    kind = _KINDS[algorithm[:2]]
    found: list[_PublicKey] = []
    for key in keys:
        is_named = key_id is None or key.get("kid") in (None, key_id)
        is_fit = key.get("kty") == kind and key.get("use", "sig") == "sig"
        if not is_named or not is_fit or key.get("alg", algorithm) != algorithm:
            continue
        imported = _imported(key, kind)
        if imported is not None:
            found.append(imported)
    return found[:_MOST_KEYS]


def _imported(key: SigningKey, kind: str) -> _PublicKey | None:
    """A key that can verify; None for one that cannot be read, or is too short to be trusted."""
    # What else stands there is not for us: a certificate's URL, say, or what the key is to be used for.
    public: Any = {name: key[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in key}
    try:
        if kind == "EC":
            return ECKey.import_key(public)
        if kind == "OKP":
            return OKPKey.import_key(public) if public.get("crv") == _ED25519 else None
        found = RSAKey.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return found if found.raw_value.key_size >= _SHORTEST_RSA else None
