"""The stored configurations of the global scope: save, list, activate, delete; each change in one transaction."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from database import smtp_db
from database.engine import reading, transaction
from database.smtp_db import SmtpConfig
from database.user_db import comparable
from services import audit, smtp_sealing
from services.audit import Action
from services.smtp_fields import MASK, SmtpChange, parse_change
from services.smtp_sealing import StoredConfig, are_stored, fingerprint, merged_with, unsealed
from services.smtp_settings import Security, SmtpSettings
from utils import clock
from utils.errors import Conflict, InvalidInput, NotFound

FIRST_NAME: Final = "Primary"
STALE: Final = "Somebody else saved these settings meanwhile. Load the page again."
NO_SUCH: Final = "There is no such configuration."
NAME_TAKEN: Final = "Another configuration has this name. Choose a different one."
TRIES: Final = 3  # of a switch that another process crosses

_Result = TypeVar("_Result")


def find_active(account_id: int | None = None) -> StoredConfig | None:
    """The active configuration of a scope, as a mail would use it."""
    with reading() as session:
        row = smtp_db.find_active(session, account_id)
    return unsealed(row) if row else None


def get(config_id: int) -> StoredConfig:
    """A global configuration by its id. Raises NotFound."""
    with reading() as session:
        return unsealed(_row(session, config_id))


def find_by_name(name: str) -> StoredConfig | None:
    """A global configuration by its name, whatever the case."""
    with reading() as session:
        row = smtp_db.find_by_name(session, comparable(name.strip()))
    return unsealed(row) if row else None


def search(
    text: str = "", *, active: bool | None = None, security: str = "", has_error: bool = False
) -> list[StoredConfig]:
    """The global configurations, the active one first, then by name.

    ``text`` is looked for in name, host and user name; ``security`` is starttls, tls or none.
    """
    with reading() as session:
        rows = smtp_db.search(session, text.strip())
    found = [unsealed(row) for row in rows]
    return [
        stored
        for stored in found
        if (active is None or stored.row.is_active is active)
        and (not security or stored.settings.security == security)
        and (not has_error or stored.row.last_error or not stored.is_usable)
    ]


def preview(change: SmtpChange, config_id: int | None = None) -> SmtpSettings:
    """What saving this change would give, for a test of values that are stored nowhere.

    Without an id the change stands alone. Raises InvalidInput, NotFound.
    """
    return merged_with(get(config_id) if config_id is not None else None, change)


def save(change: SmtpChange, *, actor: str = "", proof: str = "") -> StoredConfig:
    """Merge over the active global configuration; without one make or reuse the one named Primary.

    Raises InvalidInput, or Conflict if ``change.version`` is no longer the stored one.
    """

    def work(session: Session) -> SmtpConfig:
        row = smtp_db.find_active(session) or smtp_db.find_by_name(session, comparable(FIRST_NAME))
        if row is None and change.given("version"):
            raise Conflict(STALE)
        return _written(session, row, change, proof, actor)

    return _committed(work)


def create(change: SmtpChange, *, actor: str = "", proof: str = "") -> StoredConfig:
    """Store a new global configuration; inactive unless the change says otherwise. Raises InvalidInput."""
    if not change.given("name"):
        raise InvalidInput({"name": ["Give the configuration a name, like “Backup server”."]})
    return _committed(lambda session: _written(session, None, change, proof, actor, is_active=False))


def update(config_id: int, change: SmtpChange, *, actor: str = "", proof: str = "") -> StoredConfig:
    """Merge a change over one configuration. Raises InvalidInput, NotFound, Conflict."""
    return _committed(lambda session: _written(session, _row(session, config_id), change, proof, actor))


def activate(config_id: int, *, version: int | None = None, actor: str = "") -> StoredConfig:
    """Make this the one that sends, and no other, in one transaction. Raises NotFound, Conflict."""
    return update(config_id, _switch(True, version), actor=actor)


def deactivate(config_id: int, *, version: int | None = None, actor: str = "") -> StoredConfig:
    """Switch one off; the route goes on to the next step. Raises NotFound, Conflict."""
    return update(config_id, _switch(False, version), actor=actor)


def delete(config_id: int, *, version: int | None = None) -> None:
    """Forget one for good, its sealed password included. Raises NotFound, Conflict."""
    with transaction() as session:
        row = _row(session, config_id)
        if version is not None and row.version != version:
            raise Conflict(STALE)
        audit.record(session, Action.DELETED, _subject(row))
        session.delete(row)


def mark_tested(settings: SmtpSettings, error_message: str | None, config_id: int | None) -> None:
    """Note a test's result on the stored row, if it is exactly the stored values that were tested."""
    if config_id is None:
        return
    with transaction() as session:
        row = smtp_db.find(session, config_id)
        if row is None or not are_stored(settings, unsealed(row)):
            return
        if error_message is None:
            smtp_db.note_verified(session, config_id, fingerprint(settings), clock.now())
        else:
            smtp_db.note_error(session, config_id, error_message)


def named(name_or_id: str | int) -> StoredConfig:
    """A configuration by its id or its name. Raises NotFound."""
    if isinstance(name_or_id, int):
        return get(name_or_id)
    found = find_by_name(name_or_id)
    if found is None:
        raise NotFound(NO_SUCH)
    return found


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
        "failover": row.failover,
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


def _switch(is_active: bool, version: int | None) -> SmtpChange:
    return parse_change({"is_active": is_active} | ({"version": version} if version is not None else {}))


def _committed(work: Callable[[Session], SmtpConfig]) -> StoredConfig:
    """Run a change in one transaction; again if another process's switch crossed it (PostgreSQL)."""
    for _ in range(TRIES):
        try:
            with transaction() as session:
                row = work(session)
                session.flush()
            return unsealed(row)
        except IntegrityError as error:
            if "name_key" in str(error.orig):
                raise InvalidInput({"name": [NAME_TAKEN]}) from None
        except OperationalError as error:
            if "deadlock" not in str(error.orig):
                raise
    raise Conflict(STALE)


def _row(session: Session, config_id: int) -> SmtpConfig:
    row = smtp_db.find(session, config_id)
    if row is None or row.account_id is not None:
        raise NotFound(NO_SUCH)
    return row


def _written(
    session: Session, row: SmtpConfig | None, change: SmtpChange, proof: str, actor: str, *, is_active: bool = True
) -> SmtpConfig:
    """Check a change against its row and write it; ``is_active`` is for a new row that does not say."""
    if row is not None and change.given("version") and row.version != change.version:
        raise Conflict(STALE)
    switches_only = row is not None and change.model_fields_set <= {"is_active", "version", "name", "failover"}
    before = _facts(row) if row else {}
    stored = unsealed(row) if row else None
    new_row = SmtpConfig(name=FIRST_NAME, created_at=clock.now(), version=1, is_active=is_active, failover=True)
    settings = None if switches_only else merged_with(stored, change)
    turns_active = change.is_active if change.given("is_active") else (row or new_row).is_active
    if turns_active and switches_only and stored and not stored.is_usable:
        raise InvalidInput({"smtp_password": [smtp_sealing.UNUSABLE[stored.condition]]})
    if turns_active:
        smtp_db.deactivate_others(session, row.id if row else None)
    row = _claimed(session, row) if row else new_row
    row.is_active = turns_active
    if settings is not None:
        _write(row, settings)
        smtp_sealing.seal(row, settings, keeps_token=bool(stored and not change.smtp_password))
        smtp_sealing.note_proof(row, settings, proof)
    _name(session, row, change)
    row.failover = change.failover if change.given("failover") else row.failover
    row.updated_at, row.updated_by = clock.now(), actor or audit.actor().name
    session.add(row)
    session.flush()
    _record(session, row, before, _facts(row), password_changed=bool(change.smtp_password or change.remove_password))
    return row


def _claimed(session: Session, row: SmtpConfig) -> SmtpConfig:
    """The row with its version raised by one, unless somebody else was faster."""
    if not smtp_db.take_version(session, row.id, row.version):
        raise Conflict(STALE)
    session.refresh(row)
    return row


def _name(session: Session, row: SmtpConfig, change: SmtpChange) -> None:
    if change.given("name"):
        row.name = change.name
    row.name_key = comparable(row.name)
    other = smtp_db.find_by_name(session, row.name_key)
    if other is not None and other is not row and other.id != row.id:
        raise InvalidInput({"name": [NAME_TAKEN]})


def _write(row: SmtpConfig, settings: SmtpSettings) -> None:
    row.smtp_server, row.smtp_port = settings.host, settings.port
    row.smtp_username = settings.username
    row.from_email, row.from_name, row.reply_to = settings.from_email, settings.from_name, settings.reply_to
    row.use_tls = settings.security is Security.STARTTLS
    row.use_ssl = settings.security is Security.TLS
    row.helo_hostname, row.auth_method = settings.helo_hostname, settings.auth_method
    row.timeout_seconds = settings.timeout_seconds


AUDITED: Final[Sequence[str]] = (
    "name", "smtp_server", "smtp_port", "smtp_username", "from_email", "from_name", "use_tls", "use_ssl",
    "reply_to", "helo_hostname", "auth_method", "timeout_seconds", "failover", "is_active",
)  # fmt: skip


def _facts(row: SmtpConfig) -> dict[str, object]:
    return {name: getattr(row, name) for name in AUDITED}


def _record(
    session: Session, row: SmtpConfig, before: dict[str, object], after: dict[str, object], *, password_changed: bool
) -> None:
    """What happened, for the trail: names of changed fields, never a value."""
    changed = [name for name in AUDITED if name != "is_active" and before.get(name) != after[name]]
    changed += ["smtp_password"] if password_changed else []
    if not before:
        audit.record(session, Action.CREATED, _subject(row))
    elif changed:
        audit.record(session, Action.UPDATED, _subject(row), changed)
    if bool(before.get("is_active")) is not after["is_active"]:
        switched_on = Action.ACTIVATED if after["is_active"] else Action.DEACTIVATED
        audit.record(session, switched_on, _subject(row))


def _subject(row: SmtpConfig) -> str:
    return f"configuration {row.name} ({row.smtp_server}:{row.smtp_port})"
