"""Sealing the stored configurations anew with the present ``APP_KEY``, row by row; and which keys are still needed.

Queued mails are not sealed anew: the key of each is needed until its content is gone.

A rotation can be killed at any moment and started again: each row is either under its old key or under the new one,
and what is done is left alone.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import alert_db, audit_db, outbox_db, smtp_db
from database.engine import reading, transaction
from database.smtp_db import SmtpConfig
from services import audit
from services.audit import Action
from services.settings import config_trail, sealing
from services.settings.row import StoredRow
from services.settings.sealing import Condition, StoredConfig, unsealed
from utils.encryption_utils import current_key_id, key_id_of
from utils.env_utils import fernet_key_from, get_fernet_key, get_settings
from utils.errors import AppError, Conflict

TRIES: Final = 5  # of a row that others change meanwhile (PostgreSQL; on SQLite writers wait)


class Role(StrEnum):
    """What a key is to this process."""

    CURRENT = "current"
    PREVIOUS = "previous"
    UNKNOWN = "unknown"  # configurations or mails name it, and it is not at hand


@dataclass(frozen=True)
class KeyUse:
    """A key by its id, with how many configurations (``rows``), queued mails and channels of alerts it seals.

    ``position`` counts within ``APP_KEY_PREVIOUS`` from 1. Dead letters that can be sent again count as queued mails.
    """

    key_id: str
    role: Role
    position: int | None
    rows: int
    mails: int
    channels: int = 0

    @property
    def is_needed(self) -> bool:
        return bool(self.rows or self.mails or self.channels)


@dataclass(frozen=True)
class SealedRow:
    """A stored configuration as a report names it."""

    id: int
    name: str
    account_id: int | None
    key_id: str

    def __str__(self) -> str:
        owner = f", account {self.account_id}" if self.account_id is not None else ""
        return f"{self.name} (id {self.id}{owner})"


@dataclass(frozen=True)
class Refusal:
    """A row that no key at hand opens, or that does not match its binding."""

    row: SealedRow
    condition: Condition
    problem: str

    @property
    def reason(self) -> str:
        """What is wrong and what to do."""
        if self.condition is Condition.KEY_MISSING:
            return f"Key {self.row.key_id} is missing. {self.problem}"
        return self.problem


@dataclass(frozen=True)
class Status:
    """Every key that is at hand or named by a row or a mail, and the rows that cannot be read."""

    keys: list[KeyUse]
    refused: list[Refusal]

    @property
    def is_well(self) -> bool:
        """Whether every configuration can be read, and the key of every queued mail is at hand."""
        return not self.refused and not self.missing_for_mails

    @property
    def missing_for_mails(self) -> list[KeyUse]:
        """The keys that queued mails wait for and that are not at hand."""
        return [use for use in self.keys if use.role is Role.UNKNOWN and use.mails]

    @property
    def to_rotate(self) -> int:
        """How many rows and channels are sealed with a previous key."""
        return sum(use.rows + use.channels for use in self.keys if use.role is Role.PREVIOUS)

    @property
    def unreferenced(self) -> list[KeyUse]:
        """The previous keys that seal nothing any more."""
        return [use for use in self.keys if use.role is Role.PREVIOUS and not use.is_needed]


@dataclass(frozen=True)
class Rotation:
    """What a rotation did, or would do; ``after`` is how things stand then."""

    rotated: list[SealedRow]
    refused: list[Refusal]
    after: Status


class Point(StrEnum):
    """How far the work on a row has come; before COMMITTED nothing of it lasts."""

    OPENED = "opened"
    WRITTEN = "written"
    VERIFIED = "verified"
    RECORDED = "recorded"
    COMMITTED = "committed"


RotationObserver = Callable[[Point, SealedRow], None]


def _unheard(_point: Point, _row: SealedRow) -> None:
    """Nobody listens."""


def status() -> Status:
    """Which keys seal what, and which rows cannot be read."""
    stored = _every()
    return _status([_named(each.row) for each in stored], _refusals(stored))


def last_at() -> datetime | None:
    """When a row was last sealed anew, as far back as the audit trail goes."""
    with reading() as session:
        found = audit_db.find(session, action=Action.KEY_ROTATED, before_id=None, limit=1)
    return found[0].at if found else None


def rotate(*, dry_run: bool = False, hear: RotationObserver = _unheard) -> Rotation:
    """Seal every row of a previous key with the current one, each in a transaction of its own.

    ``hear`` is told of each point that is reached. Without writing, ``dry_run`` tells what would be done.
    """
    stored = _every()
    refused = _refusals(stored)
    due = [each.row.id for each in stored if each.is_readable and each.row.key_id != current_key_id()]
    if dry_run:
        rows = [_named(each.row) for each in stored]
        return Rotation(
            rotated=[row for row in rows if row.id in due],
            refused=refused,
            after=_status([replace(row, key_id=current_key_id()) if row.id in due else row for row in rows], refused),
        )
    rotated = [row for row in (_rotate(config_id, hear) for config_id in due) if row]
    after = status()
    return Rotation(rotated=rotated, refused=after.refused, after=after)


def _rotate(config_id: int, hear: RotationObserver) -> SealedRow | None:
    """Seal one row anew; None if there is nothing to do with it any more. Raises Conflict, having changed nothing."""
    for _ in range(TRIES):
        with transaction() as session:
            row = smtp_db.find(session, config_id)
            if row is None or row.key_id == current_key_id():
                return None
            stored = unsealed(row)
            if not stored.is_readable:
                return None
            name = _named(row)
            hear(Point.OPENED, name)
            if not smtp_db.reseal(session, row, **asdict(sealing.current_seal(stored))):
                continue
            hear(Point.WRITTEN, name)
            session.refresh(row)
            _verify(row, stored)
            hear(Point.VERIFIED, name)
            _record(session, row, name)
            hear(Point.RECORDED, name)
        hear(Point.COMMITTED, name)
        return name
    raise Conflict("Someone else keeps changing a mail server. Run the rotation again: what is resealed stays so.")


def _verify(row: SmtpConfig, before: StoredConfig) -> None:
    """Read back what was written with the new key alone, before it is committed."""
    after = unsealed(row, {current_key_id(): get_fernet_key()})
    if not after.is_readable or after.settings != before.settings:
        raise AppError(f"{row.name} was resealed but could not be read back. It was left unchanged.")


def _record(session: Session, row: SmtpConfig, before: SealedRow) -> None:
    change = f"from key {before.key_id} to {row.key_id}"
    audit.record(session, Action.KEY_ROTATED, config_trail.subject_of(row), [change])
    session.flush()


def _every() -> list[StoredConfig]:
    """All but those that no key is needed for any more."""
    with reading() as session:
        stored = [unsealed(row) for row in smtp_db.every(session)]
    return [each for each in stored if each.condition is not Condition.ERASED]


def _refusals(stored: list[StoredConfig]) -> list[Refusal]:
    return [Refusal(_named(each.row), each.condition, each.problem) for each in stored if not each.is_readable]


def _status(rows: list[SealedRow], refused: list[Refusal]) -> Status:
    used = Counter(row.key_id for row in rows)
    with reading() as session:
        mails = outbox_db.keys_in_use(session)
        channels = Counter(channel.key_id for channel in alert_db.channels(session))

    def use(key_id: str, role: Role, position: int | None = None) -> KeyUse:
        return KeyUse(key_id, role, position, used.pop(key_id, 0), mails.pop(key_id, 0), channels.pop(key_id, 0))

    keys = [use(current_key_id(), Role.CURRENT)]
    for position, key in enumerate(get_settings().app_key_previous, 1):
        keys.append(use(key_id_of(fernet_key_from(key)), Role.PREVIOUS, position))
    return Status([*keys, *(use(key_id, Role.UNKNOWN) for key_id in sorted({*used, *mails, *channels}))], refused)


def _named(row: SmtpConfig | StoredRow) -> SealedRow:
    return SealedRow(row.id, row.name, row.account_id, row.key_id)
