"""The suppression list as a table, out and in: our own, and those that mail providers give."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from database import suppression_db
from database.engine import transaction
from database.suppression_db import LONGEST_NOTE
from services import address_key, audit
from services.address_key import FORGOTTEN_DOMAIN
from services.audit import Action
from services.suppression import entries, listing
from services.suppression.counting import KEPT, ListSource
from services.suppression.entries import Entry
from services.suppression.listing import Cause
from utils import clock
from utils.addresses import LONGEST_ADDRESS
from utils.errors import InvalidInput
from utils.log_utils import printable

COLUMNS: Final = ("address", "reason", "source", "code", "listed at (UTC)", "ends at (UTC)", "account", "note")
SUBJECT: Final = "suppression list"  # as the audit trail names it
_BATCH: Final = 500  # lines in one transaction
_MOST_TOLD: Final = 20  # refused lines that are named
_LONGEST_LINE: Final = 16 * 1024
# A heading without all but its letters: ours, and those of SES, SendGrid, Mailgun, Postmark, Brevo and others.
_ADDRESS: Final = ("address", "email", "emailaddress", "recipient", "recipientemail", "mail", "contactemail")
_REASON: Final = ("reason", "suppressionreason", "type", "bouncetype", "blockreason")
_END: Final = ("endsatutc", "endsat", "expiresat", "until")
_NOTE: Final = ("note", "comment", "error", "details")
_COMPLAINT: Final = re.compile(r"complain|spam|abuse|feedback")
_REFUSAL: Final = re.compile(r"bounce|refus|hard|reject|invalid|unknown|5\.\d\.\d|^55\d")
# What our own export, and those of others, put before a cell that a spreadsheet would take for a formula.
_DEFUSED: Final = re.compile(r"^'(?=[=+\-@＝＋－＠])")


class RefusedLine(NamedTuple):
    number: int
    why: str


@dataclass(kw_only=True)
class Imported:
    """What became of a table: ``known`` stood on the list already, and stay as they are there."""

    added: int = 0
    known: int = 0
    refused: int = 0
    first_refused: list[RefusedLine] = field(default_factory=list)

    def refuse(self, number: int, why: str) -> None:
        self.refused += 1
        if len(self.first_refused) < _MOST_TOLD:
            self.first_refused.append(RefusedLine(number, why))

    @property
    def sentence(self) -> str:
        parts = [f"{entries.in_words(self.added)} added"]
        parts += [f"{self.known:,} already listed"] if self.known else []
        parts += [f"{self.refused:,} refused"] if self.refused else []
        return ", ".join(parts) + "."


class _Line(NamedTuple):
    number: int
    address: str
    cause: Cause
    ends_at: datetime | None
    note: str


def rows() -> Iterator[tuple[str, ...]]:
    """Each entry as the cells of ``COLUMNS``."""
    for entry in entries.every():
        yield _cells(entry)


def read(lines: Iterable[str]) -> Imported:
    """Put the addresses of a table on the list, some hundred at a time: what was read stays, whatever comes after.

    The first line may name the columns; else the first one holds the addresses. Raises InvalidInput where no line of a
    named table has an address.
    """
    told = Imported()
    batch: list[_Line] = []
    for line in _read(lines, told):
        batch.append(line)
        if len(batch) == _BATCH:
            _add(batch, told)
            batch = []
    _add(batch, told)
    if told.added or told.known:
        with transaction() as session:
            audit.record(session, Action.SUPPRESSION_IMPORTED, SUBJECT, [told.sentence])
    return told


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        entry.address,
        entry.reason,
        entry.source,
        " ".join(str(each) for each in (entry.code, entry.enhanced) if each),
        clock.in_lists(entry.listed_at),
        clock.in_lists(entry.ends_at) if entry.ends_at else "",
        str(entry.account_id or ""),
        entry.note,
    )


def _read(lines: Iterable[str], told: Imported) -> Iterator[_Line]:
    numbered = enumerate(_bounded(lines), 1)
    columns: dict[str, int] | None = None
    separator = ","
    for number, line in numbered:
        if columns is None:
            if not line.strip():
                continue
            separator = max(",;\t", key=line.count)
        cells = [_DEFUSED.sub("", cell.strip()) for cell in next(csv.reader([line], delimiter=separator), [])]
        if columns is None:
            columns = _columns(cells)
            if columns:
                continue
            columns = {"address": 0}
        if any(cells):
            found = _line(number, cells, columns, told)
            if found:
                yield found


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if len(line) > _LONGEST_LINE or "\0" in line:
            raise InvalidInput({"file": ["This is no CSV file."]})
        yield line.removeprefix("\ufeff").rstrip("\r\n")


def _columns(cells: Sequence[str]) -> dict[str, int]:
    """Where what stands, if this is a line of headings; {} if it is not.

    Raises InvalidInput for a table without addresses.
    """
    names = [re.sub(r"[^a-z]", "", cell.lower()) for cell in cells]
    wanted = {"address": _ADDRESS, "reason": _REASON, "ends_at": _END, "note": _NOTE}
    found = {what: names.index(name) for what, known in wanted.items() for name in reversed(known) if name in names}
    if "address" in found:
        return found
    if any("@" in cell for cell in cells):
        return {}
    raise InvalidInput({"file": ["No column is named “address” or “email”."]})


def _line(number: int, cells: Sequence[str], columns: dict[str, int], told: Imported) -> _Line | None:
    def cell(what: str) -> str:
        place = columns.get(what)
        return cells[place] if place is not None and place < len(cells) else ""

    try:
        address = entries.checked_address(cell("address")[: LONGEST_ADDRESS + 1])
        if address.endswith(f"@{FORGOTTEN_DOMAIN}"):
            raise InvalidInput({"address": ["This stands for an address that was deleted."]})
        cause = _cause(cell("reason"))
        ends_at = _moment(cell("ends_at")) if cell("ends_at") else _usual_end(cause)
    except InvalidInput as refused:
        told.refuse(number, " ".join(text for texts in refused.errors.values() for text in texts))
        return None
    if ends_at and ends_at <= clock.now():
        told.refuse(number, "Its time is over.")
        return None
    return _Line(number, address, cause, ends_at, printable(cell("note"), LONGEST_NOTE))


def _cause(text: str) -> Cause:
    text = text.lower()
    if text in list(Cause):
        return Cause(text)
    if _COMPLAINT.search(text):
        return Cause.COMPLAINT
    return Cause.REFUSED if _REFUSAL.search(text) else Cause.MANUAL


def _usual_end(cause: Cause) -> datetime | None:
    return clock.now() + KEPT if cause is Cause.REFUSED else None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput({"ends_at": ["Write the end like 2030-12-31 or 2030-12-31 18:00."]}) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _add(batch: Sequence[_Line], told: Imported) -> None:
    if not batch:
        return
    with transaction() as session:
        key = address_key.find_or_make(session)
        lines = {key.digest(line.address): line for line in reversed(batch)}  # of two, the first one counts
        held = suppression_db.held_of_all(session, lines)
        known = {digest for digest, row in held.items() if row.listed_at}
        for digest in sorted(lines.keys() - known):
            line, row = lines[digest], held.get(digest)
            row = row or entries.fresh(session, key, line.address)
            entries.write(row, key, line.address, line.cause, ListSource.IMPORT, ends_at=line.ends_at, note=line.note)
    listing.note_change()
    told.added += len(lines) - len(known)
    told.known += len(batch) - len(lines) + len(known)
