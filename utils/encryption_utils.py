"""Sealing: the specified Fernet tokens, and a sub-key of its own for every other purpose."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from utils.env_utils import Settings, fernet_key_from, get_fernet_key, get_settings


class CannotDecrypt(Exception):
    """No key at hand opens this token: ``APP_KEY`` changed, or the token was altered."""


def encrypt_smtp_password(password: str) -> str:
    """Seal a password as the specification does: one Fernet token under the current ``APP_KEY``."""
    return Fernet(get_fernet_key()).encrypt(password.encode()).decode()


def decrypt_smtp_password(encrypted_password: str) -> str:
    """Open a sealed password with the current key or a previous one. Raises CannotDecrypt."""
    return opened(encrypted_password, known_keys().values())


def opened(token: str, fernet_keys: Iterable[bytes]) -> str:
    """What a token holds, opened with one of these keys and no other.

    Raises CannotDecrypt; the cause is dropped on purpose, since it could carry the token.
    """
    try:
        return MultiFernet([Fernet(key) for key in fernet_keys]).decrypt(token.encode()).decode()
    except (InvalidToken, ValueError):
        raise CannotDecrypt("The stored password cannot be decrypted with the current APP_KEY.") from None


def current_key_id() -> str:
    """Eight hex digits that name the current key without giving it away."""
    return key_id_of(get_fernet_key())


@lru_cache(maxsize=16)
def key_id_of(fernet_key: bytes) -> str:
    return hashlib.sha256(b"kid|" + fernet_key).hexdigest()[:8]


def known_keys() -> Mapping[str, bytes]:
    """The Fernet keys at hand by their ids, the current one first."""
    return _keys_of(get_settings())


@lru_cache(maxsize=8)
def _keys_of(settings: Settings) -> Mapping[str, bytes]:
    keys = [fernet_key_from(key) for key in (settings.app_key, *settings.app_key_previous)]
    return MappingProxyType({key_id_of(key): key for key in keys})


def subkey(purpose: str, fernet_key: bytes | None = None) -> bytes:
    """A 32-byte key for one purpose alone (RFC 5869), from the current ``APP_KEY`` unless another is given."""
    return _derived(purpose, fernet_key or get_fernet_key())


def mac(purpose: str, parts: Sequence[str], fernet_key: bytes | None = None) -> str:
    """HMAC-SHA256 in hex over length-prefixed parts, so that no two lists of parts are alike."""
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.new(subkey(purpose, fernet_key), message, hashlib.sha256).hexdigest()


def digest(text: str) -> str:
    """SHA-256 in hex, for what is not to be stored itself; half a surrogate pair, which is no UTF-8, counts as “?”."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


@lru_cache(maxsize=64)
def _derived(purpose: str, fernet_key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(fernet_key)
