"""A stored server's columns as they were read: a value, which no later change of the database reaches."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

from database.smtp_db import SmtpConfig
from utils.json_shapes import Moment

ACCOUNT_DISABLED: Final = "account_disabled"  # among the codes of ``inactive_reason``: no secret was left in the row


@dataclass(frozen=True, kw_only=True)
class ShownColumns:
    """The columns that may be shown, secrets as the mask."""

    id: int
    name: str
    smtp_server: str
    smtp_port: int
    smtp_username: str
    smtp_password: str = field(repr=False)
    from_email: str
    from_name: str
    use_tls: bool
    use_ssl: bool
    is_active: bool
    failover: bool
    emails_per_minute: int | None
    emails_per_day: int | None
    reply_to: str
    helo_hostname: str
    timeout_seconds: int
    auth_method: str
    client_certificate: str
    client_key: str = field(repr=False)
    verified_at: Moment | None
    last_error: str | None
    failed_over_at: Moment | None
    failed_over_to: str | None
    version: int
    created_at: Moment
    updated_at: Moment
    updated_by: str


@dataclass(frozen=True, kw_only=True)
class StoredRow(ShownColumns):
    """Every column, secrets as their tokens."""

    account_id: int | None
    name_key: str
    key_id: str
    binding_mac: str = field(repr=False)
    verified_fingerprint: str | None = field(repr=False)
    failover_told_at: datetime | None
    inactive_reason: str
    fell_back: int
    broken_told_at: datetime | None
    oauth_consent: int
    active_until: datetime | None

    @property
    def is_connected(self) -> bool:
        """Whether somebody has agreed to a sign-in by token, and it was not forgotten since."""
        return self.oauth_consent > 0


_COLUMNS: Final = tuple(column.name for column in fields(StoredRow))


def copied(row: SmtpConfig | StoredRow) -> StoredRow:
    """The columns as they are now."""
    return StoredRow(**{name: getattr(row, name) for name in _COLUMNS})
