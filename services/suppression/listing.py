"""Who gets no mail: what the list says of the recipients of an email, and who is left of them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from database import suppression_db
from database.engine import db, driver_reading
from database.suppression_db import EVERYONE, AddressStanding
from services import address_key
from services.address_key import KeyAway
from services.outbox.reasons import Reason
from utils import clock

log = structlog.get_logger(__name__)


class Cause(StrEnum):
    """Why an address is on the list."""

    REFUSED = "refused"  # for good, at two emails
    COMPLAINT = "complaint"
    MANUAL = "manual"


_REASONS: Final = {
    Cause.REFUSED: Reason.LISTED_REFUSED,
    Cause.COMPLAINT: Reason.LISTED_COMPLAINT,
    Cause.MANUAL: Reason.LISTED_MANUAL,
}


def reason_of(cause: str) -> Reason:
    """What an email says of a recipient that is on the list for this cause."""
    return _REASONS.get(Cause(cause), Reason.LISTED_MANUAL) if cause in list(Cause) else Reason.LISTED_MANUAL


@dataclass(frozen=True)
class KnownAddresses:
    """What was known of some addresses when it was asked for: on the list, or refused once."""

    standings: Mapping[str, tuple[AddressStanding, ...]] = field(default_factory=dict)
    at: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.standings)

    def why(self, address: str, account_id: int | None) -> Reason | None:
        """Why mail of this account, or of the system, does not go to the address; None if it does."""
        for each in self.standings.get(address, ()):
            if each.listed_at and each.scope in (EVERYONE, account_id) and not self._is_over(each):
                return reason_of(each.reason)
        return None

    def held_back(self, addresses: Iterable[str], account_id: int | None) -> dict[str, Reason]:
        """Those of these addresses that are on the list, and why."""
        if not self.standings:
            return {}
        return {address: why for address in addresses if (why := self.why(address, account_id))}

    def knows(self, address: str, scope: int) -> bool:
        """Whether there is anything that a delivery ends."""
        return any(each.scope == scope for each in self.standings.get(address, ()))

    def _is_over(self, standing: AddressStanding) -> bool:
        return standing.ends_at is not None and self.at is not None and standing.ends_at <= self.at


NOTHING: Final = KnownAddresses()


_EMPTY_SECONDS: Final = 1.0  # for which a list that was empty is taken for that: others may have added to it

# Whether it was, and until when that holds; per engine, so that two applications in one process do not share it.
_looked: Final[WeakKeyDictionary[Engine, tuple[bool, float]]] = WeakKeyDictionary()
_changes: Final = count()
_last_change: Final = [next(_changes)]


def note_change() -> None:
    """Something was written down of an address, and is committed: the list is looked at again."""
    _last_change[0] = next(_changes)
    _looked.pop(db.engine, None)


def _was_empty() -> bool | None:
    """Whether the list was empty a moment ago; None if nobody has looked."""
    is_empty, until = _looked.get(db.engine, (False, 0.0))
    return is_empty if monotonic() < until else None


def _note_emptiness(is_empty: bool, last_change: int) -> None:
    """Remember what was seen, unless somebody here has written something down meanwhile."""
    if last_change == _last_change[0]:
        _looked[db.engine] = (is_empty, monotonic() + _EMPTY_SECONDS)


def look_up(addresses: Collection[str]) -> KnownAddresses:
    """What the list says of these addresses, by one question to the database; none while nothing is on the list.

    While that cannot be asked, or the key of addresses cannot be opened, nobody is held back: a list that cannot be
    read is no reason to keep mail from people.
    """
    was_empty, last_change = _was_empty(), _last_change[0]
    if not addresses or was_empty:
        return NOTHING
    try:
        key = address_key.find()
        by_digest: dict[bytes, list[str]] = {}
        if key:
            for address in dict.fromkeys(addresses):
                by_digest.setdefault(key.digest(address), []).append(address)
        with driver_reading() as driver:
            found = suppression_db.standings(driver, list(by_digest)) if by_digest else []
            if was_empty is None:
                _note_emptiness(key is None or (not found and suppression_db.is_empty(driver)), last_change)
    except SQLAlchemyError as failure:
        log.error("suppression_not_read", kind=type(failure).__name__)
        return NOTHING
    except KeyAway:
        log.error("suppression_not_read", kind="missing APP_KEY")
        return NOTHING
    if not found:
        return NOTHING
    standings: dict[str, tuple[AddressStanding, ...]] = {}
    for standing in dict.fromkeys(found):  # one that fills the place of another is found twice
        for address in by_digest[bytes(standing.digest)]:
            standings[address] = (*standings.get(address, ()), standing)
    return KnownAddresses(standings, clock.now())
