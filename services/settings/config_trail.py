"""What the audit trail is told of a change to a stored configuration: names of fields, never a value."""

from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database.smtp_db import SmtpConfig
from services import audit
from services.audit import Action
from services.settings.row import StoredRow
from services.settings.table import AUDITED
from utils.log_utils import logged

log = structlog.get_logger(__name__)


def subject_of(row: SmtpConfig | StoredRow) -> str:
    """What the trail calls a configuration."""
    return f"configuration {row.name} ({row.smtp_server}:{row.smtp_port})"


def note_viewed(row: StoredRow) -> None:
    """Record that somebody looked at it. A database that takes no changes does not keep them from looking."""
    with logged(log.error, "view_not_recorded", SQLAlchemyError, config_id=row.id):
        audit.note(Action.VIEWED, subject_of(row))


def facts(row: SmtpConfig) -> dict[str, object]:
    """The row as it is now, to tell later what has changed."""
    return {name: getattr(row, name) for name in AUDITED}


def record_change(session: Session, row: SmtpConfig, before: dict[str, object], secrets: Sequence[str]) -> None:
    """Record what has become of the row since ``before``, empty for a new one; ``secrets`` are those that changed."""
    after = facts(row)
    changed = [name for name in AUDITED if name != "is_active" and before.get(name) != after[name]]
    changed += secrets
    if not before:
        audit.record(session, Action.CREATED, subject_of(row))
    elif changed:
        audit.record(session, Action.UPDATED, subject_of(row), changed)
    if bool(before.get("is_active")) is not after["is_active"]:
        switched_on = Action.ACTIVATED if after["is_active"] else Action.DEACTIVATED
        audit.record(session, switched_on, subject_of(row))
