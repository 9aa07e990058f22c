"""The suppression list, as administrators see and change it."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import suppression_db
from database.engine import reading, transaction
from database.suppression_db import EVERYONE, LONGEST_NOTE, Suppression
from services import address_key, audit
from services.address_key import MISSING, AddressKey, KeyAway
from services.audit import Action
from services.outbox import reasons
from services.suppression import listing
from services.suppression.counting import ListSource
from services.suppression.listing import Cause, reason_of
from utils import clock
from utils.addresses import InvalidAddress, mask_address, parse_recipient
from utils.errors import Conflict, InvalidInput, NotFound
from utils.json_shapes import Moment
from utils.log_utils import printable

PAGE: Final = 50
MOST: Final = 200
MOST_DAYS: Final = 3650
MOST_NOTE: Final = LONGEST_NOTE
NO_SUCH: Final = "No such entry. It may have been removed already."
_UNREADABLE: Final = "unreadable"  # somebody has changed the row, so that its address does not open


@dataclass(frozen=True, kw_only=True)
class EntryData:
    """An address on the list. ``account_id``: it holds for that account’s mail alone, whose own server refused it.

    ``address`` is a pseudonym once it was forgotten. ``accepted_at``: a server has accepted an email for it since.
    """

    id: int
    address: str
    reason: str
    source: str
    code: int | None
    enhanced: str | None
    mail_id: str
    note: str
    added_by: str
    account_id: int | None
    listed_at: Moment
    ends_at: Moment | None
    accepted_at: Moment | None


@dataclass(frozen=True, kw_only=True)
class Entry(EntryData):
    is_forgotten: bool

    @property
    def masked(self) -> str:
        return self.address if self.is_forgotten else mask_address(self.address)

    @property
    def words(self) -> str:
        return reasons.words(reason_of(self.reason))

    @property
    def is_over(self) -> bool:
        return self.ends_at is not None and self.ends_at <= clock.now()


def page(asked: str = "", before: int | None = None, limit: int = PAGE) -> tuple[list[Entry], int | None]:
    """The newest entries first, and what ``before`` to ask for to get older ones; None if there are none.

    ``asked`` is a whole address, or a domain; another text finds nothing. Raises Conflict while the key is away.
    """
    asked = asked.strip()
    key = _key()
    if key is None:
        return [], None
    wanted = {"digest": key.digest(asked)} if asked.rpartition("@")[0] else {"domain": key.domain_digest(asked)}
    with reading() as session:
        rows = suppression_db.page(session, before, limit + 1, **(wanted if asked else {}))
    return [_entry(row, key) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None


def count() -> int:
    with reading() as session:
        return suppression_db.count(session)


def get(number: int) -> Entry:
    """One entry. Raises NotFound, and Conflict while the key is away."""
    key = _key()
    with reading() as session:
        row = suppression_db.find(session, number)
    if row is None or key is None:
        raise NotFound(NO_SUCH)
    return _entry(row, key)


def of_addresses(addresses: Iterable[str], account_id: int | None = None) -> dict[str, Entry]:
    """The entries that mail of this account, or of the system, meets at these addresses."""
    try:
        key = address_key.find()
    except KeyAway:
        return {}
    found: dict[str, Entry] = {}
    if key is None:
        return found
    with reading() as session:
        for address in addresses:
            for row in suppression_db.of_digest(session, key.digest(address)):
                if row.listed_at and row.scope in (EVERYONE, account_id) and not _entry(row, key).is_over:
                    found.setdefault(address, _entry(row, key))
    return found


def add(address: str, cause: Cause = Cause.MANUAL, *, days: int | None = None, note: str = "") -> Entry:
    """Put an address on the list, for so many days or until it is removed; one that is there is changed.

    Raises InvalidInput.
    """
    address = checked_address(address)
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise InvalidInput({"days": [f"Enter 1 to {MOST_DAYS}, or nothing."]})
    note = printable(note, LONGEST_NOTE)
    with transaction() as session:
        key = address_key.find_or_make(session)
        now = clock.now()
        ends_at = now + timedelta(days=days) if days else None
        row = suppression_db.held(session, key.digest(address), EVERYONE) or fresh(session, key, address)
        write(row, key, address, cause, ListSource.MANUAL, ends_at=ends_at, note=note)
        session.flush()
        audit.record(session, Action.ADDRESS_SUPPRESSED, _subject(row, key), [cause])
        entry = _entry(row, key)
    listing.note_change()
    return entry


def fresh(session: Session, key: AddressKey, address: str) -> Suppression:
    """A row for an address that has none."""
    row = Suppression(
        digest=key.digest(address), domain_digest=key.domain_digest(address), scope=EVERYONE, created_at=clock.now()
    )
    session.add(row)
    return row


def write(
    row: Suppression,
    key: AddressKey,
    address: str,
    cause: Cause,
    source: ListSource,
    *,
    ends_at: datetime | None,
    note: str = "",
) -> None:
    """Make a row an entry for all mail, in the place of what was known of the address."""
    row.sealed, row.reason, row.source = key.seal(address), cause, source
    row.ends_at, row.note, row.added_by, row.accepted_at = ends_at, note, audit.actor().name, None
    row.mail_id, row.code, row.enhanced, row.refusals = "", None, None, 0
    row.listed_at = clock.now()


def remove(number: int) -> Entry:
    """Take one entry off the list. Raises NotFound."""
    entry = get(number)
    remove_all_of([number])
    return entry


def remove_all_of(numbers: Collection[int]) -> int:
    """Take these entries off the list, as far as they are there; how many were."""
    key = _key()
    with transaction() as session:
        rows = [row for number in sorted(set(numbers)) if (row := suppression_db.find(session, number))]
        for row in rows:
            audit.record(session, Action.SUPPRESSION_REMOVED, _subject(row, key))
        return suppression_db.remove(session, [row.id for row in rows])


def remove_address(address: str) -> int:
    """Take an address off the list, for whoever it stands there, and forget what was counted. Raises NotFound."""
    address = checked_address(address)
    key = _key()
    with transaction() as session:
        rows = suppression_db.of_digest(session, key.digest(address)) if key else []
        if not any(row.listed_at for row in rows):
            raise NotFound("This address is not on the suppression list.")
        audit.record(session, Action.SUPPRESSION_REMOVED, f"address {mask_address(address)}")
        return suppression_db.remove(session, [row.id for row in rows])


def remove_domain(domain: str) -> int:
    """Take every address of a domain off the list; how many there were."""
    key = _key()
    domain = domain.strip().rpartition("@")[2]
    if key is None or not domain:
        return 0
    with transaction() as session:
        removed = suppression_db.remove_of_domain(session, key.domain_digest(domain))
        if removed:
            audit.record(session, Action.SUPPRESSION_REMOVED, f"domain {domain}", [in_words(removed)])
    return removed


def remove_everything() -> int:
    """Empty the list; how many entries it had. The way on where its key is lost for good, too."""
    is_away = address_key.is_away()
    with transaction() as session:
        removed = suppression_db.remove_all(session)
        if is_away:
            address_key.forget(session)
        audit.record(session, Action.SUPPRESSION_REMOVED, "all", [in_words(removed)])
    return removed


def every(*, chunk: int = 1000) -> Iterator[Entry]:
    """All entries, the newest first, so many in memory at a time."""
    before: int | None = None
    while True:
        found, before = page("", before, chunk)
        yield from found
        if before is None:
            return


def in_words(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"


def checked_address(text: str) -> str:
    """The address as it is written down. Raises InvalidInput."""
    try:
        return parse_recipient(text.strip())
    except InvalidAddress as refused:
        raise InvalidInput({"address": [str(refused)]}) from None


def _key() -> AddressKey | None:
    try:
        return address_key.find()
    except KeyAway:
        raise Conflict(MISSING) from None


def _subject(row: Suppression, key: AddressKey | None) -> str:
    """How the audit trail names an entry: never by the whole address."""
    return f"entry {row.id}, {_entry(row, key).masked}" if key else f"entry {row.id}"


def _entry(row: Suppression, key: AddressKey) -> Entry:
    is_forgotten = row.sealed is None
    address = row.note if is_forgotten else key.opened(row.sealed or b"", bytes(row.digest)) or _UNREADABLE
    return Entry(
        id=row.id,
        address=address,
        reason=row.reason,
        source=row.source,
        code=row.code,
        enhanced=row.enhanced,
        mail_id=row.mail_id,
        note="" if is_forgotten else row.note,
        added_by=row.added_by,
        account_id=None if row.scope == EVERYONE else row.scope,
        listed_at=row.listed_at or row.created_at,
        ends_at=row.ends_at,
        accepted_at=row.accepted_at,
        is_forgotten=is_forgotten,
    )
