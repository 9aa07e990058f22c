"""Sealing the stored configurations anew with the present ``APP_KEY``, row by row; and which keys are still needed.

With each row goes its sign-in by token, in the same transaction.

Queued mails are not sealed anew: the key of each is needed until its content is gone. The key of addresses is, and so
whatever is kept of them, and what was said in attempts.

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

from database import alert_db, audit_db, oauth_db, outbox_db, smtp_db
from database.engine import reading, transaction
from database.oauth_db import OAuthSignIn
from database.smtp_db import SmtpConfig
from services import address_key, audit, conversations
from services.audit import Action
from services.oauth import sealed
from services.oauth.sealed import StoredSignIn
from services.settings import config_trail, sealing, sign_ins
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
    """A key by its id, with how many configurations (``rows``), sign-ins by token, queued mails, channels of alerts and
    conversations it seals.

    ``addresses``: and the key of addresses, by which the suppression list is read.
    ``position`` counts within ``APP_KEY_PREVIOUS`` from 1. Dead letters that can be sent again count as queued mails.
    """

    key_id: str
    role: Role
    position: int | None
    rows: int
    mails: int
    sign_ins: int = 0
    addresses: bool = False
    channels: int = 0
    conversations: int = 0

    @property
    def is_needed(self) -> bool:
        return bool(self.to_rotate or self.mails)

    @property
    def to_rotate(self) -> int:
        """How much of it a rotation seals anew."""
        return self.rows + self.sign_ins + self.addresses + self.channels + self.conversations


@dataclass(frozen=True)
class SealedRow:
    """A stored configuration as a report names it; ``sign_in_key_id`` is "" where it has no sign-in by token."""

    id: int
    name: str
    account_id: int | None
    key_id: str
    sign_in_key_id: str = ""

    def __str__(self) -> str:
        owner = f", account {self.account_id}" if self.account_id is not None else ""
        return f"{self.name} (id {self.id}{owner})"


@dataclass(frozen=True)
class Refusal:
    """A row that no key at hand opens, or that does not match its binding."""

    row: SealedRow
    condition: Condition
    problem: str
    key_id: str

    @property
    def reason(self) -> str:
        """What is wrong and what to do."""
        if self.condition is Condition.KEY_MISSING:
            return f"Key {self.key_id} is missing. {self.problem}"
        return self.problem


@dataclass(frozen=True)
class Status:
    """Every key that is at hand or named by a row or a mail, and the rows that cannot be read."""

    keys: list[KeyUse]
    refused: list[Refusal]

    @property
    def is_well(self) -> bool:
        """Whether every configuration can be read, and the key of every queued mail, and of addresses, is at hand."""
        return not self.refused and not self.missing_for_mails and not self.is_missing_for_addresses

    @property
    def is_missing_for_addresses(self) -> bool:
        return any(use.role is Role.UNKNOWN and use.addresses for use in self.keys)

    @property
    def missing_for_mails(self) -> list[KeyUse]:
        """The keys that queued mails wait for and that are not at hand."""
        return [use for use in self.keys if use.role is Role.UNKNOWN and use.mails]

    @property
    def to_rotate(self) -> int:
        """How many rows, channels and conversations a previous key seals, and the key of addresses among them."""
        return sum(use.to_rotate for use in self.keys if use.role is Role.PREVIOUS)

    @property
    def unreferenced(self) -> list[KeyUse]:
        """The previous keys that seal nothing any more."""
        return [use for use in self.keys if use.role is Role.PREVIOUS and not use.is_needed]


@dataclass(frozen=True)
class Rotation:
    """What a rotation did, or would do; ``after`` is how things stand then.

    ``has_addresses``: the key of addresses was sealed anew, or would be, and so were so many ``conversations``.
    """

    rotated: list[SealedRow]
    refused: list[Refusal]
    after: Status
    has_addresses: bool = False
    conversations: int = 0


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


@dataclass(frozen=True)
class _Server:
    """A stored configuration with its sign-in by token, if it has one."""

    stored: StoredConfig
    sign_in: StoredSignIn | None

    @property
    def named(self) -> SealedRow:
        row = self.stored.row
        return SealedRow(row.id, row.name, row.account_id, row.key_id, self.sign_in.key_id if self.sign_in else "")

    @property
    def is_row_due(self) -> bool:
        return self.stored.is_readable and self.stored.row.key_id != current_key_id()

    @property
    def is_sign_in_due(self) -> bool:
        return self.sign_in is not None and self.sign_in.is_usable and self.sign_in.key_id != current_key_id()

    @property
    def is_due(self) -> bool:
        return self.is_row_due or self.is_sign_in_due

    @property
    def refusals(self) -> list[Refusal]:
        found = []
        if not self.stored.is_readable:
            key_id = self.stored.row.key_id
            found.append(Refusal(self.named, self.stored.condition, self.stored.problem, key_id))
        if self.sign_in and (problem := sign_ins.problem_of(self.sign_in)):
            found.append(Refusal(self.named, Condition(self.sign_in.condition), problem, self.sign_in.key_id))
        return found

    def rotated(self) -> SealedRow:
        """As it is named once all of it that is due is under the current key."""
        named = self.named
        if self.is_row_due:
            named = replace(named, key_id=current_key_id())
        return replace(named, sign_in_key_id=current_key_id()) if self.is_sign_in_due else named


def status() -> Status:
    """Which keys seal what, and which rows cannot be read."""
    found = _every()
    return _status([each.named for each in found], _refusals(found))


def last_at() -> datetime | None:
    """When a row was last sealed anew, as far back as the audit trail goes."""
    with reading() as session:
        found = audit_db.find(session, action=Action.KEY_ROTATED, before_id=None, limit=1)
    return found[0].at if found else None


def rotate(*, dry_run: bool = False, hear: RotationObserver = _unheard) -> Rotation:
    """Seal every row of a previous key with the current one, each in a transaction of its own.

    ``hear`` is told of each point that is reached. Without writing, ``dry_run`` tells what would be done.
    """
    found = _every()
    due = [each for each in found if each.is_due]
    if dry_run:
        refused = _refusals(found)
        after = _status([each.rotated() for each in found], refused)
        has_addresses = any(use.role is Role.PREVIOUS and use.addresses for use in after.keys)
        named = [each.named for each in due]
        said = sum(use.conversations for use in after.keys if use.role is Role.PREVIOUS)
        return Rotation(named, refused, after, has_addresses=has_addresses, conversations=said)
    rotated = [row for row in (_rotate(each.stored.row.id, hear) for each in due) if row]
    has_addresses = address_key.seal_anew()
    said = conversations.seal_anew()
    after = status()
    return Rotation(rotated, after.refused, after, has_addresses=has_addresses, conversations=said)


def _rotate(config_id: int, hear: RotationObserver) -> SealedRow | None:
    """Seal one row anew; None if there is nothing to do with it any more. Raises Conflict, having changed nothing."""
    for _ in range(TRIES):
        with transaction() as session:
            token_row = oauth_db.held(session, config_id)  # first, as whoever keeps a consent takes it
            row = smtp_db.find(session, config_id)
            if row is None:
                return None
            before = _Server(unsealed(row), sealed.unsealed(token_row, row) if token_row else None)
            if not before.is_due:
                return None
            name = before.named
            hear(Point.OPENED, name)
            if before.is_row_due and not smtp_db.reseal(session, row, **asdict(sealing.current_seal(before.stored))):
                continue
            if token_row:
                sealed.seal_anew(token_row, row)
                session.flush()
            hear(Point.WRITTEN, name)
            _verify(session, before, row, token_row)
            hear(Point.VERIFIED, name)
            _record(session, row, before)
            hear(Point.RECORDED, name)
        hear(Point.COMMITTED, name)
        return name
    raise Conflict("Someone else keeps changing a mail server. Run the rotation again: what is resealed stays so.")


def _verify(session: Session, before: _Server, row: SmtpConfig, token_row: OAuthSignIn | None) -> None:
    """Read back what was written with the new key alone, before it is committed."""
    keys = {current_key_id(): get_fernet_key()}
    session.refresh(row)
    after = unsealed(row, keys)
    is_good = not before.stored.is_readable or (after.is_readable and after.settings == before.stored.settings)
    if before.sign_in and before.sign_in.is_usable and token_row:
        session.refresh(token_row)
        is_good = is_good and sealed.unsealed(token_row, row, keys=keys) == replace(
            before.sign_in, key_id=current_key_id()
        )
    if not is_good:
        raise AppError(f"{row.name} was resealed but could not be read back. It was left unchanged.")


def _record(session: Session, row: SmtpConfig, before: _Server) -> None:
    keys = [before.stored.row.key_id] if before.is_row_due else []
    keys += [before.sign_in.key_id] if before.sign_in and before.is_sign_in_due else []
    changes = [f"from key {key} to {current_key_id()}" for key in dict.fromkeys(keys)]
    audit.record(session, Action.KEY_ROTATED, config_trail.subject_of(row), changes)
    session.flush()


def _every() -> list[_Server]:
    """All but those that no key is needed for any more."""
    with reading() as session:
        rows = smtp_db.every(session)
        known = sign_ins.of(session, rows)
        found = [_Server(unsealed(row), known.get(row.id)) for row in rows]
    return [each for each in found if each.stored.condition is not Condition.ERASED]


def _refusals(found: list[_Server]) -> list[Refusal]:
    return [refusal for each in found for refusal in each.refusals]


def _status(rows: list[SealedRow], refused: list[Refusal]) -> Status:
    used = Counter(row.key_id for row in rows)
    tokens = Counter(row.sign_in_key_id for row in rows if row.sign_in_key_id)
    of_addresses = address_key.sealed_with()
    said = conversations.keys_in_use()
    with reading() as session:
        mails = outbox_db.keys_in_use(session)
        channels = Counter(channel.key_id for channel in alert_db.channels(session))

    def use(key_id: str, role: Role, position: int | None = None) -> KeyUse:
        return KeyUse(
            key_id,
            role,
            position,
            rows=used.pop(key_id, 0),
            mails=mails.pop(key_id, 0),
            sign_ins=tokens.pop(key_id, 0),
            addresses=key_id == of_addresses,
            channels=channels.pop(key_id, 0),
            conversations=said.pop(key_id, 0),
        )

    keys = [use(current_key_id(), Role.CURRENT)]
    for position, key in enumerate(get_settings().app_key_previous, 1):
        keys.append(use(key_id_of(fernet_key_from(key)), Role.PREVIOUS, position))
    at_hand = {each.key_id for each in keys}
    others = {*used, *tokens, *mails, *channels, *said, *([of_addresses] if of_addresses else [])} - at_hand
    return Status([*keys, *(use(key_id, Role.UNKNOWN) for key_id in sorted(others))], refused)
