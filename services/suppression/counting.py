"""What mail shows of addresses: refused for good at two emails, one is put on the list; a delivery ends the count."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import suppression_db
from database.engine import transaction
from database.suppression_db import EVERYONE, Suppression
from services import address_key
from services.address_key import AddressKey
from services.suppression import listing
from services.suppression.listing import Cause
from utils import clock
from utils.addresses import mask_address
from utils.errors import Conflict

log = structlog.get_logger(__name__)

ENOUGH: Final = 2  # emails at which an address is refused for good
KEPT: Final = timedelta(days=180)  # that an address stays on the list, or one refusal counts


class ListSource(StrEnum):
    """How an address came to be on the list."""

    REFUSALS = "refusals"
    MANUAL = "manual"
    IMPORT = "import"


class DeadAddress(NamedTuple):
    """A refusal for good of an address that is no mailbox. ``scope``: an account's id, if its own server said so."""

    address: str
    scope: int
    mail_id: str
    code: int | None
    enhanced: str | None


class LiveAddress(NamedTuple):
    """An address for which a server has accepted an email."""

    address: str
    scope: int


def scope_of(account_id: int | None) -> int:
    """For whose mail it counts what a server says: an account's own server is believed for that account alone."""
    return EVERYONE if account_id is None else account_id


def note(dead: Sequence[DeadAddress], live: Sequence[LiveAddress] = ()) -> None:
    """Write down what mail has shown. Never raises for a database that is away: the next email shows it again."""
    if not dead and not live:
        return
    try:
        with transaction(durable=False) as session:
            key = address_key.find_or_make(session)
            listed = [each for each in _in_order(dead, key) if _count(session, key, each, clock.now())]
            for address, scope in sorted(set(live), key=lambda each: key.digest(each.address)):
                suppression_db.end_count(session, key.digest(address), scope)
                suppression_db.note_accepted(session, key.digest(address), scope, clock.now())
    except (SQLAlchemyError, Conflict) as failure:
        log.error("refusals_not_counted", kind=type(failure).__name__)
        return
    listing.note_change()
    for each in listed:
        log.info("address_suppressed", recipient=mask_address(each.address), code=each.code, enhanced=each.enhanced)


def _in_order(dead: Iterable[DeadAddress], key: AddressKey) -> list[DeadAddress]:
    """In one order, so that no two processes wait for each other."""
    return sorted(dead, key=lambda each: (key.digest(each.address), each.scope))


def _count(session: Session, key: AddressKey, dead: DeadAddress, now: datetime) -> bool:
    """Count a refusal, each email once; whether that puts the address on the list."""
    digest = key.digest(dead.address)
    row = suppression_db.held(session, digest, dead.scope)
    if row is None:
        row = Suppression(
            digest=digest,
            domain_digest=key.domain_digest(dead.address),
            scope=dead.scope,
            sealed=key.seal(dead.address),
            reason=Cause.REFUSED,
            source=ListSource.REFUSALS,
            created_at=now,
        )
        _say(row, dead, now, refusals=1)
        if suppression_db.add(session, row):
            return False
        row = suppression_db.held(session, digest, dead.scope)
        if row is None:
            return False
    is_over = row.ends_at is not None and row.ends_at <= now
    if (row.listed_at and not is_over) or row.mail_id == dead.mail_id:
        return False
    if is_over:
        row.listed_at, row.reason, row.source = None, Cause.REFUSED, ListSource.REFUSALS
        row.created_at, row.note, row.added_by, row.accepted_at = now, "", "", None
        row.sealed = key.seal(dead.address)  # which may have been forgotten
    _say(row, dead, now, refusals=1 if is_over else row.refusals + 1)
    if row.refusals < ENOUGH:
        return False
    row.listed_at = now
    return True


def _say(row: Suppression, dead: DeadAddress, now: datetime, *, refusals: int) -> None:
    row.refusals, row.mail_id, row.code, row.enhanced = refusals, dead.mail_id, dead.code, dead.enhanced
    row.ends_at = now + KEPT
