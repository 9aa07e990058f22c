"""The key of addresses: they are found by a digest under it, and sealed with it where they are kept.

It is random and one for the installation, and is stored sealed with ``APP_KEY``: so a change of that changes one row,
and every digest stays good.
"""

import hashlib
import hmac
import os
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import address_key_db, mail_index_db
from database.address_key_db import StoredAddressKey
from database.engine import db, reading, transaction
from database.mail_facets import SEVERAL, number_of
from utils.addresses import InvalidAddress, ascii_domain
from utils.encryption_utils import current_key_id, known_keys, subkey
from utils.env_utils import get_fernet_key
from utils.errors import Conflict

_PURPOSE: Final = "address-key-v1"
_LENGTH: Final = 32
_DIGEST: Final = 16  # octets: by chance, two of a thousand million addresses have the same with 1 in 10**20
_NONCE: Final = 12
_PSEUDONYM: Final = 6  # octets
FORGOTTEN_DOMAIN: Final = "forgotten.invalid"
MISSING: Final = "The key of addresses is sealed with a missing APP_KEY. Add that key to APP_KEY_PREVIOUS."

_LOOK_SECONDS: Final = 60.0  # between two looks for a key that is not there

# What was read once stays as it is. Per engine, so that two applications in one process do not share it.
_read: Final[WeakKeyDictionary[Engine, "AddressKey"]] = WeakKeyDictionary()
_not_before: Final[WeakKeyDictionary[Engine, float]] = WeakKeyDictionary()


class KeyAway(Exception):
    """There is a key, and none of ours opens it."""


@dataclass(frozen=True)
class AddressKey:
    """What tells addresses apart. Upper and lower case are the same, and so are the ways to write a domain."""

    secret: bytes = field(repr=False)

    def digest(self, address: str) -> bytes:
        """By which an address is found, and from which nobody without the key gets to it."""
        return self._mac(canonical(address))

    def domain_digest(self, address_or_domain: str) -> bytes:
        return self._mac("@" + canonical_domain(address_or_domain.rpartition("@")[2]))

    def pseudonym(self, address: str) -> str:
        """What stands for an address that is to be forgotten: always the same, and an address that gets no mail."""
        found = hmac.digest(self._part("pseudonym"), canonical(address).encode(), hashlib.sha256)
        return f"forgotten-{found[:_PSEUDONYM].hex()}@{FORGOTTEN_DOMAIN}"

    def seal(self, address: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, address.encode(), self.digest(address))

    def opened(self, sealed: bytes, digest: bytes) -> str:
        """The address that belongs to a digest; "" if somebody has changed either."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], digest).decode()
        except (InvalidTag, ValueError, TypeError):
            return ""

    def _mac(self, text: str) -> bytes:
        return hmac.digest(self._index, text.encode(errors="replace"), hashlib.sha256)[:_DIGEST]

    @cached_property
    def _index(self) -> bytes:
        return self._part("index")

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self._part("seal"))

    def _part(self, purpose: str) -> bytes:
        return HKDFExpand(algorithm=SHA256(), length=_LENGTH, info=purpose.encode()).derive(self.secret)


@lru_cache(maxsize=4096)
def _domain_number(key: AddressKey, domain: str) -> int:
    return number_of(key.domain_digest(domain))


class AddressNumbers(NamedTuple):
    """What a mail is found by in the columns of its row, and beside it where it goes to several."""

    recipient_key: int | None = None
    domain_key: int | None = None
    names: Sequence[int] = ()


_NO_NUMBERS: Final = AddressNumbers()


def numbers_of(key: AddressKey, addresses: Sequence[str]) -> AddressNumbers:
    """The numbers of a mail's recipients."""
    if len(addresses) == 1:
        return AddressNumbers(number(key, addresses[0]), domain_number(key, addresses[0]))
    names = {number(key, address) for address in addresses}
    domains = {domain_number(key, address) for address in addresses}
    if len(domains) == 1:
        return AddressNumbers(SEVERAL, domains.pop(), sorted(names))
    return AddressNumbers(SEVERAL, SEVERAL, sorted(names | domains))


def number(key: AddressKey, address: str) -> int:
    """What stands for an address in a column."""
    return number_of(key.digest(address))


def domain_number(key: AddressKey, address_or_domain: str) -> int:
    return _domain_number(key, address_or_domain.rpartition("@")[2])


def numbers_now(addresses: Sequence[str]) -> AddressNumbers:
    """The same under the key as it is at hand. Without one there are none, and the mail is indexed later.

    Never raises: mail goes on without.
    """
    engine = db.engine
    key = _read.get(engine)
    if key is None:
        if time.monotonic() < _not_before.get(engine, 0.0):
            return _NO_NUMBERS
        try:
            key = find()
        except (KeyAway, SQLAlchemyError):
            key = None
        if key is None:
            _not_before[engine] = time.monotonic() + _LOOK_SECONDS
            return _NO_NUMBERS
    return numbers_of(key, addresses)


def canonical(address: str) -> str:
    """An address as it is compared."""
    if address.isascii() and "@xn--" not in address and ".xn--" not in address:
        return address.lower()
    local, _, domain = address.rpartition("@")
    return f"{unicodedata.normalize('NFC', local.lower())}@{canonical_domain(domain)}"


def canonical_domain(domain: str) -> str:
    """A domain as it is compared: in A-labels, where it has any."""
    try:
        return ascii_domain(f"a@{domain}").lower()
    except InvalidAddress:
        return domain.lower()


def find(session: Session | None = None) -> AddressKey | None:
    """The key, None while no address was kept yet. Raises KeyAway."""
    known = _read.get(db.engine)
    if known:
        return known
    if session is None:
        with reading() as own:
            row = address_key_db.find(own)
    else:
        row = address_key_db.find(session)
    return _remembered(_opened(row)) if row else None


def find_or_make(session: Session) -> AddressKey:
    """The key, made now if there was none, with the caller's transaction. Raises Conflict if it cannot be opened."""
    try:
        found = find(session)
        if found:
            return found
        made = AddressKey(os.urandom(_LENGTH))
        # It is remembered when it is read again: whatever made it may be undone.
        if address_key_db.add(session, _sealed(made), current_key_id()):
            return made
        session.expire_all()
        row = address_key_db.find(session)
    except KeyAway:
        raise Conflict(MISSING) from None
    if row is None:
        raise Conflict("The key of addresses was just deleted. Try again.")
    return _remembered(_opened(row))


def is_away() -> bool:
    """Whether there is a key that none of ours opens."""
    try:
        find()
    except KeyAway:
        return True
    return False


def sealed_with() -> str | None:
    """The id of the key of ours that this one is sealed with."""
    with reading() as session:
        row = address_key_db.find(session)
    return row.key_id if row else None


def seal_anew() -> bool:
    """Seal the key with the current key of ours, if it was sealed with a previous one; whether it was."""
    with transaction() as session:
        row = address_key_db.find(session)
        if row is None or row.key_id == current_key_id() or row.key_id not in known_keys():
            return False
        row.sealed, row.key_id = _sealed(_opened(row)), current_key_id()
    return True


def forget(session: Session) -> None:
    """Delete the key: whatever was kept under it is lost. For one that cannot be opened any more."""
    row = address_key_db.find(session)
    if row:
        session.delete(row)
    mail_index_db.forget_all(session)
    _read.pop(db.engine, None)


def _remembered(key: AddressKey) -> AddressKey:
    _read[db.engine] = key
    return key


def _sealed(key: AddressKey) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + _cipher_of(get_fernet_key()).encrypt(nonce, key.secret, _PURPOSE.encode())


def _opened(row: StoredAddressKey) -> AddressKey:
    ours = known_keys().get(row.key_id)
    if ours is None:
        raise KeyAway
    try:
        return AddressKey(_cipher_of(ours).decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], _PURPOSE.encode()))
    except (InvalidTag, ValueError, TypeError):
        raise KeyAway from None


def _cipher_of(fernet_key: bytes) -> AESGCM:
    return AESGCM(subkey(_PURPOSE, fernet_key))
