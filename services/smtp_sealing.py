"""What makes a stored configuration trustworthy: its sealed password, its binding, and the proof of a test."""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from database.smtp_db import SmtpConfig
from services import smtp_validity
from services.smtp_fields import SmtpChange
from services.smtp_settings import Security, SmtpSettings, merged
from utils.encryption_utils import (
    CannotDecrypt,
    current_key_id,
    encrypt_smtp_password,
    known_keys,
    mac,
    opened,
)
from utils.env_utils import get_fernet_key
from utils.errors import InvalidInput
from utils.secret import Secret

BINDING: Final = "smtp-binding-v1"
FINGERPRINT: Final = "smtp-fingerprint-v1"
PROOF: Final = "smtp-proof-v1"
PROOF_SECONDS: Final = 3600
UNREADABLE: Final = "The stored password cannot be read. Restore APP_KEY or enter the password again."
ALTERED: Final = "These settings were changed outside of the application. Check every field and save them again."


class Condition(StrEnum):
    """Whether a stored row may be used."""

    GOOD = "good"
    KEY_MISSING = "key_missing"  # sealed under a key that is not at hand
    ALTERED = "altered"  # the binding does not match: somebody edited the row
    INVALID = "invalid"  # a value is none that a save would take


INVALID: Final = "A stored value is not valid. Check every field and save the settings again."
UNUSABLE: Final = {Condition.KEY_MISSING: UNREADABLE, Condition.ALTERED: ALTERED, Condition.INVALID: INVALID}


@dataclass(frozen=True)
class StoredConfig:
    """A row with its password unsealed, if that was possible; ``invalid`` are the fields that a save would refuse."""

    row: SmtpConfig
    settings: SmtpSettings
    condition: Condition
    invalid: smtp_validity.Errors = field(default_factory=dict)

    def __str__(self) -> str:
        state = "Active" if self.row.is_active else "Inactive"
        return f"{self.row.name} - {self.row.smtp_server}:{self.row.smtp_port} ({state})"

    @property
    def is_usable(self) -> bool:
        return self.condition is Condition.GOOD

    @property
    def is_readable(self) -> bool:
        """Whether the row is as we wrote it, and its password open; a value of it may be invalid all the same."""
        return self.condition in (Condition.GOOD, Condition.INVALID)

    @property
    def problem(self) -> str:
        """Why it is not used and what to do; "" for a good one."""
        if self.condition is Condition.INVALID:
            return smtp_validity.in_words(self.invalid)
        return UNUSABLE.get(self.condition, "")

    @property
    def errors(self) -> smtp_validity.Errors:
        """The same at the fields concerned."""
        return self.invalid or {"smtp_password": [self.problem]}

    @property
    def is_verified(self) -> bool:
        """Whether exactly these values passed a test."""
        return self.is_usable and self.row.verified_at is not None and is_marked(self.row, self.settings)


@dataclass(frozen=True)
class Seal:
    """What the key has made of a row: all of it changes when the key does, and nothing else."""

    smtp_password: str
    key_id: str
    binding_mac: str
    verified_fingerprint: str | None


def unsealed(row: SmtpConfig, keys: Mapping[str, bytes] | None = None) -> StoredConfig:
    """Check the binding, open the password, check the values. Never raises: the condition says what is wrong.

    ``keys`` by their ids are the only ones used; without them those of the environment.
    """
    condition, password = Condition.GOOD, ""
    keys = known_keys() if keys is None else keys
    key = keys.get(row.key_id)
    if key is None:
        condition = Condition.KEY_MISSING
    elif not hmac.compare_digest(row.binding_mac, _binding(row, key)):
        condition = Condition.ALTERED
    elif row.smtp_password:
        try:
            password = opened(row.smtp_password, keys.values())
        except CannotDecrypt:
            condition = Condition.ALTERED
    invalid = smtp_validity.errors_of(row) if condition is Condition.GOOD else {}
    return StoredConfig(row, _settings_of(row, password), Condition.INVALID if invalid else condition, invalid)


def merged_with(stored: StoredConfig | None, change: SmtpChange) -> SmtpSettings:
    if stored is None:
        return merged(None, change)
    if not stored.is_readable:
        return _merged_over_doubtful(stored, change)
    if left := {name: told for name, told in stored.invalid.items() if not change.given(name)}:
        raise InvalidInput(left)
    return merged(stored.settings, change)


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


def _binding(row: SmtpConfig, key: bytes, token: str | None = None) -> str:
    """The binding of the row with its own token, or with another in its place."""
    scope = "global" if row.account_id is None else f"account:{row.account_id}"
    parts = [scope, row.smtp_server, str(row.smtp_port), _mode(row), row.smtp_username, row.from_email]
    return mac(BINDING, [*parts, row.smtp_password if token is None else token], key)


def seal(row: SmtpConfig, settings: SmtpSettings, *, keeps_token: bool) -> None:
    """Store the password's token, byte for byte the old one where the password did not change."""
    if not settings.password:
        row.smtp_password = ""
    elif not keeps_token:
        row.smtp_password = encrypt_smtp_password(settings.password.reveal())
    if not keeps_token or not row.smtp_password or not row.key_id:
        row.key_id = current_key_id()
    row.binding_mac = _binding(row, known_keys()[row.key_id])


def current_seal(stored: StoredConfig) -> Seal:
    """The seal that the current key puts on a good row: the same password, and a mark of a test stays good."""
    row, settings = stored.row, stored.settings
    token = encrypt_smtp_password(settings.password.reveal()) if settings.password else ""
    marked = is_marked(row, settings)
    return Seal(
        smtp_password=token,
        key_id=current_key_id(),
        binding_mac=_binding(row, get_fernet_key(), token),
        verified_fingerprint=fingerprint(settings) if marked else row.verified_fingerprint,
    )


def are_stored(settings: SmtpSettings, stored: StoredConfig) -> bool:
    """Whether these are exactly the stored values, as far as a test exercises them."""
    return stored.is_usable and fingerprint(stored.settings) == fingerprint(settings)


def fingerprint(settings: SmtpSettings, key: bytes | None = None) -> str:
    """A digest of every value that a test exercises, the password included, keyed with the current key or this one."""
    values = [*settings.destination, settings.password.reveal(), settings.from_email, settings.helo_hostname]
    return mac(FINGERPRINT, [str(value) for value in (*values, settings.auth_method, settings.timeout_seconds)], key)


def is_marked(row: SmtpConfig, settings: SmtpSettings) -> bool:
    """Whether the row's mark is of these values, made under the current key or a previous one."""
    mark = row.verified_fingerprint
    return mark is not None and any(mark == fingerprint(settings, key) for key in known_keys().values())


def issue_proof(settings: SmtpSettings) -> str:
    """A signed statement that these values passed a test now, for a save within the hour."""
    moment = str(int(time.time()))
    return f"{moment}.{mac(PROOF, [moment, fingerprint(settings)])}"


def note_proof(row: SmtpConfig, settings: SmtpSettings, proof: str) -> None:
    """Mark what was tested on screen and is now saved; any other change of tested values takes the mark away."""
    digest = fingerprint(settings)
    moment, _, signature = proof.partition(".")
    is_ours = hmac.compare_digest(signature.encode(), mac(PROOF, [moment, digest]).encode())
    if is_ours and time.time() - int(moment) <= PROOF_SECONDS:
        row.verified_at = datetime.fromtimestamp(int(moment), UTC)
        row.verified_fingerprint, row.last_error = digest, None
    elif not is_marked(row, settings):
        row.verified_at = row.verified_fingerprint = row.last_error = None
