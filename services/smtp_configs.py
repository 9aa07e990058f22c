"""Stored configurations: save, load, mask, unseal. The only place where a stored password is opened."""

import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import smtp_db
from database.engine import reading, transaction
from database.smtp_db import SmtpConfig
from services.smtp_fields import MASK, SmtpChange
from services.smtp_settings import Security, SmtpSettings, merged
from utils import clock
from utils.encryption_utils import (
    CannotDecrypt,
    current_key_id,
    decrypt_smtp_password,
    encrypt_smtp_password,
    known_keys,
    mac,
)
from utils.errors import Conflict, InvalidInput
from utils.secret import Secret

FIRST_NAME: Final = "Primary"
BINDING: Final = "smtp-binding-v1"
FINGERPRINT: Final = "smtp-fingerprint-v1"
PROOF: Final = "smtp-proof-v1"
PROOF_SECONDS: Final = 3600
STALE: Final = "Somebody else saved these settings meanwhile. Load the page again."
UNREADABLE: Final = "The stored password cannot be read. Restore APP_KEY or enter the password again."
ALTERED: Final = (
    "These settings were changed outside of the application. Check every field and save them again."
)


class Condition(StrEnum):
    """Whether a stored row may be used."""

    GOOD = "good"
    KEY_MISSING = "key_missing"  # sealed under a key that is not at hand
    ALTERED = "altered"  # the binding does not match: somebody edited the row


UNUSABLE: Final = {Condition.KEY_MISSING: UNREADABLE, Condition.ALTERED: ALTERED}


@dataclass(frozen=True)
class StoredConfig:
    """A row with its password unsealed, if that was possible."""

    row: SmtpConfig
    settings: SmtpSettings
    condition: Condition

    @property
    def is_usable(self) -> bool:
        return self.condition is Condition.GOOD

    @property
    def is_verified(self) -> bool:
        """Whether exactly these values passed a test."""
        return (
            self.is_usable
            and self.row.verified_at is not None
            and self.row.verified_fingerprint == fingerprint(self.settings)
        )


def find(account_id: int | None = None) -> StoredConfig | None:
    """The configuration of a scope, active or not, as page and API show and edit it."""
    with reading() as session:
        row = smtp_db.find_latest(session, account_id)
    return unsealed(row) if row else None


def find_active(account_id: int | None = None) -> StoredConfig | None:
    """The active configuration of a scope, as a mail would use it."""
    with reading() as session:
        row = smtp_db.find_active(session, account_id)
    return unsealed(row) if row else None


def unsealed(row: SmtpConfig) -> StoredConfig:
    """Check the binding and open the password. Never raises: the condition says what is wrong."""
    condition, password = Condition.GOOD, ""
    key = known_keys().get(row.key_id)
    if key is None:
        condition = Condition.KEY_MISSING
    elif not hmac.compare_digest(row.binding_mac, _binding(row, key)):
        condition = Condition.ALTERED
    elif row.smtp_password:
        try:
            password = decrypt_smtp_password(row.smtp_password)
        except CannotDecrypt:
            condition = Condition.ALTERED
    return StoredConfig(row, _settings_of(row, password), condition)


def preview(change: SmtpChange, account_id: int | None = None) -> SmtpSettings:
    """What saving this change would give, for a test of values that are stored nowhere. Raises InvalidInput."""
    return _merged(find(account_id), change)


def save(change: SmtpChange, *, actor: str, proof: str = "", account_id: int | None = None) -> StoredConfig:
    """Merge a change into the scope's configuration and store it, in one transaction.

    ``proof`` is what a successful test of the same values handed out; with it the row is marked verified.
    Raises InvalidInput, or Conflict if ``change.version`` is no longer the stored one.
    """
    try:
        with transaction() as session:
            row = smtp_db.find_latest(session, account_id)
            stored = unsealed(row) if row else None
            if change.given("version") and (not row or row.version != change.version):
                raise Conflict(STALE)
            settings = _merged(stored, change)
            row = _claimed(session, row) if row else _new_row(session, account_id)
            _write(row, settings, change, actor, keeps_token=bool(stored and not change.smtp_password))
            _note_proof(row, settings, proof)
            if row.is_active:
                smtp_db.deactivate_others(session, row.id, account_id)
            session.add(row)
            session.flush()
    except IntegrityError:
        raise Conflict(STALE) from None
    return unsealed(row)


def mark_tested(settings: SmtpSettings, error_message: str | None, account_id: int | None = None) -> None:
    """Note a test's result on the stored row, if it is exactly the stored values that were tested."""
    stored = find(account_id)
    if not stored or not are_stored(settings, stored):
        return
    with transaction() as session:
        if error_message is None:
            smtp_db.note_verified(session, stored.row.id, fingerprint(settings), clock.now())
        else:
            smtp_db.note_error(session, stored.row.id, error_message)


def are_stored(settings: SmtpSettings, stored: StoredConfig) -> bool:
    """Whether these are exactly the stored values, as far as a test exercises them."""
    return stored.is_usable and fingerprint(stored.settings) == fingerprint(settings)


def fingerprint(settings: SmtpSettings) -> str:
    """A keyed digest of every value that a test exercises, the password included."""
    values = [*settings.destination, settings.password.reveal(), settings.from_email, settings.helo_hostname]
    return mac(FINGERPRINT, [str(value) for value in (*values, settings.auth_method)])


def issue_proof(settings: SmtpSettings) -> str:
    """A signed statement that these values passed a test now, for a save within the hour."""
    moment = str(int(time.time()))
    return f"{moment}.{mac(PROOF, [moment, fingerprint(settings)])}"


def public_dict(stored: StoredConfig) -> dict[str, Any]:
    """What the API and the page may show: an allow-list, with the mask for any password."""
    row = stored.row
    return {
        "id": row.id,
        "name": row.name,
        "smtp_server": row.smtp_server,
        "smtp_port": row.smtp_port,
        "smtp_username": row.smtp_username,
        "smtp_password": MASK if row.smtp_password else "",
        "has_password": bool(row.smtp_password),
        "needs_reentry": not stored.is_usable,
        "from_email": row.from_email,
        "from_name": row.from_name,
        "use_tls": row.use_tls,
        "use_ssl": row.use_ssl,
        "is_active": row.is_active,
        "reply_to": row.reply_to,
        "helo_hostname": row.helo_hostname,
        "timeout_seconds": row.timeout_seconds,
        "auth_method": row.auth_method,
        "verified": stored.is_verified,
        "verified_at": row.verified_at.isoformat() if stored.is_verified and row.verified_at else None,
        "last_error": row.last_error,
        "version": row.version,
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
        "updated_by": row.updated_by,
    }


def _merged(stored: StoredConfig | None, change: SmtpChange) -> SmtpSettings:
    if stored is None:
        return merged(None, change)
    if stored.is_usable:
        return merged(stored.settings, change)
    return _merged_over_doubtful(stored, change)


def _merged_over_doubtful(stored: StoredConfig, change: SmtpChange) -> SmtpSettings:
    """Nothing of a row that cannot be checked is blessed by saving it again: what is bound must all be given."""
    reason = UNREADABLE if stored.condition is Condition.KEY_MISSING else ALTERED
    if stored.row.smtp_password and not change.smtp_password and not change.remove_password:
        raise InvalidInput({"smtp_password": [reason]})
    bound = [
        "smtp_server",
        "smtp_port",
        "from_email",
        *(["smtp_username"] if stored.row.smtp_username else []),
    ]
    absent = [field for field in bound if not change.given(field)]
    if not change.given("use_tls") and not change.given("use_ssl"):
        absent.append("use_tls")
    if absent:
        raise InvalidInput({field: [reason] for field in absent})
    return merged(stored.settings, change)


def _settings_of(row: SmtpConfig, password: str) -> SmtpSettings:
    return SmtpSettings(
        host=row.smtp_server,
        port=row.smtp_port,
        security=_mode(row),
        username=row.smtp_username,
        password=Secret(password),
        from_email=row.from_email,
        from_name=row.from_name,
        reply_to=row.reply_to,
        helo_hostname=row.helo_hostname,
        timeout_seconds=row.timeout_seconds,
        auth_method=row.auth_method,
    )


def _mode(row: SmtpConfig) -> Security:
    if row.use_ssl:
        return Security.TLS
    return Security.STARTTLS if row.use_tls else Security.NONE


def _binding(row: SmtpConfig, key: bytes) -> str:
    scope = "global" if row.account_id is None else f"account:{row.account_id}"
    parts = [scope, row.smtp_server, str(row.smtp_port), _mode(row), row.smtp_username, row.from_email]
    return mac(BINDING, [*parts, row.smtp_password], key)


def _claimed(session: Session, row: SmtpConfig) -> SmtpConfig:
    """The row with its version raised by one, unless somebody else was faster."""
    if not smtp_db.take_version(session, row.id, row.version):
        raise Conflict(STALE)
    session.refresh(row)
    return row


def _new_row(session: Session, account_id: int | None) -> SmtpConfig:
    return SmtpConfig(
        account_id=account_id, name=FIRST_NAME, created_at=clock.now(), version=1, is_active=True
    )


def _write(
    row: SmtpConfig, settings: SmtpSettings, change: SmtpChange, actor: str, *, keeps_token: bool
) -> None:
    row.smtp_server, row.smtp_port = settings.host, settings.port
    row.smtp_username = settings.username
    row.from_email, row.from_name, row.reply_to = settings.from_email, settings.from_name, settings.reply_to
    row.use_tls = settings.security is Security.STARTTLS
    row.use_ssl = settings.security is Security.TLS
    row.helo_hostname, row.auth_method = settings.helo_hostname, settings.auth_method
    row.timeout_seconds = settings.timeout_seconds
    row.updated_at, row.updated_by = clock.now(), actor
    if change.given("is_active"):
        row.is_active = change.is_active
    _seal(row, settings, keeps_token=keeps_token)


def _seal(row: SmtpConfig, settings: SmtpSettings, *, keeps_token: bool) -> None:
    """Store the password's token, byte for byte the old one where the password did not change."""
    if not settings.password:
        row.smtp_password = ""
    elif not keeps_token:
        row.smtp_password = encrypt_smtp_password(settings.password.reveal())
    if not keeps_token or not row.smtp_password or not row.key_id:
        row.key_id = current_key_id()
    row.binding_mac = _binding(row, known_keys()[row.key_id])


def _note_proof(row: SmtpConfig, settings: SmtpSettings, proof: str) -> None:
    """Mark what was tested on screen and is now saved; any other change of tested values takes the mark away."""
    digest = fingerprint(settings)
    moment, _, signature = proof.partition(".")
    is_ours = hmac.compare_digest(signature.encode(), mac(PROOF, [moment, digest]).encode())
    if is_ours and time.time() - int(moment) <= PROOF_SECONDS:
        row.verified_at = datetime.fromtimestamp(int(moment), UTC)
        row.verified_fingerprint, row.last_error = digest, None
    elif row.verified_fingerprint != digest:
        row.verified_at = row.verified_fingerprint = row.last_error = None
