"""The stored configurations of the global scope: save, list, activate, delete; each change in one transaction.

How one row is written, whichever scope it is of, is here as well: ``written``, within ``committed``.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, count
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import smtp_db
from database.engine import driver_reading, reading, transaction
from database.smtp_db import LONGEST_NAME_KEY, LONGEST_UPDATED_BY, SmtpConfig
from database.user_db import Account, comparable
from services import audit
from services.audit import Action
from services.oauth import keeping
from services.settings import config_trail, rules, sealing, server_habits, sign_ins
from services.settings.config_trail import subject_of
from services.settings.fields import SmtpChange, parse_change
from services.settings.personal_route import OWN_NAME
from services.settings.reach import Reach
from services.settings.sealing import StoredConfig, are_stored, fingerprint, merged_with, unsealed
from services.settings.table import REMOVALS, SECRETS, SWITCHES, VALUES
from services.smtp.settings import NOT_CONFIGURED, Security, SmtpSettings
from utils import clock
from utils.env_utils import Settings, get_settings
from utils.errors import Conflict, InvalidInput, NotFound
from utils.numbers import LARGEST

FIRST_NAME: Final = "Primary"
STALE: Final = "Someone else has saved these settings. Reload the page."
NO_SUCH: Final = "No such configuration."
NAME_TAKEN: Final = "That name is already in use. Choose another."
SERVES_UNTIL_TESTED: Final = "The password serves until a sign-in by token has passed a test. Connect the server."
NAME_OF_OWN: Final = f"“{OWN_NAME}” is the name of accounts’ servers. Choose another."
TRIES: Final = 3  # of a change that meets another process's new row

_IT_WORKS: Final = {
    Reach.EVERYWHERE: "it works",
    Reach.OWN_DOMAIN: "it works, to its own domain only",
    Reach.UNSEEN: "it works, as far as was seen",
}

Lock = Callable[[Session], object]
# The row that was active last, and what it came to; per application, since each has keys of its own.
_last_opened: Final[WeakKeyDictionary[Settings, tuple[SmtpConfig, StoredConfig]]] = WeakKeyDictionary()


def find_active(*, session: Session | None = None) -> StoredConfig | None:
    """The active global configuration, as a mail would use it; read in the caller's session if there is one."""
    if session:
        row = smtp_db.find_active(session)
        return unsealed(row) if row else None
    with driver_reading() as driver:
        found = smtp_db.read_active(driver)
    return replace(_opened(found[0]), quiet=found[1]) if found else None


def _opened(row: SmtpConfig) -> StoredConfig:
    """The row as a mail would use it: read for each mail, and opened once for each change of it, or of our keys."""
    ours = get_settings()
    before = _last_opened.get(ours)
    if before and before[0] == row:
        return before[1]
    stored = unsealed(row)
    _last_opened[ours] = row, stored
    return stored


def as_used(session: Session, row: SmtpConfig) -> StoredConfig:
    """A row as a mail would use it: an account's own server by whether that is an administrator now."""
    return unsealed(row, by_administrator=not keeping.is_personal(session, row))


def of_any_scope(config_id: int) -> StoredConfig:
    """A configuration by its id, also one that is an account's own, for whoever knows whose it is. Raises NotFound."""
    with reading() as session:
        row = smtp_db.find(session, config_id) if 0 < config_id <= LARGEST else None
        if row is None:
            raise NotFound(NO_SUCH)
        return as_used(session, row)


def get(config_id: int) -> StoredConfig:
    """A global configuration by its id. Raises NotFound."""
    with reading() as session:
        return unsealed(row_of(session, config_id))


def find_by_name(name: str) -> StoredConfig | None:
    """A global configuration by its name, whatever the case."""
    with reading() as session:
        row = smtp_db.find_by_name(session, comparable(name.strip()))
    return unsealed(row) if row else None


def has_any() -> bool:
    """Whether a global configuration is stored."""
    with reading() as session:
        return smtp_db.has_global(session)


def search(
    text: str = "", *, active: bool | None = None, security: str = "", has_error: bool = False
) -> list[StoredConfig]:
    """The global configurations, the active one first, then by name.

    ``text`` is looked for in name, host and user name; ``security`` is starttls, tls or none.
    """
    wanted = text.replace("\0", "").strip()  # which PostgreSQL takes in no text
    with reading() as session:
        rows = smtp_db.search(session, wanted, comparable(wanted))
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
    """Merge over the active global configuration; without one over that which was active last, or make a new one.

    It is then active unless the change says otherwise. Raises InvalidInput, NotFound, or Conflict if ``change.version``
    is no longer the stored one.
    """

    def work(session: Session) -> SmtpConfig:
        row = _saved_over(session, change)
        if row is None and change.given("version"):
            raise Conflict(STALE)
        is_active = change.is_active if change.given("is_active") else True
        return written(session, row, change, proof, actor, turns_active=is_active)

    _look_at_place(change)
    return committed(work)


def find_saved_over(change: SmtpChange) -> StoredConfig | None:
    """What ``save`` would merge this change over, or None if it would make a new one. Raises NotFound."""
    with reading() as session:
        row = _saved_over(session, change)
    return unsealed(row) if row else None


def create(change: SmtpChange, *, actor: str = "", proof: str = "") -> StoredConfig:
    """Store a new global configuration; inactive unless the change says otherwise. Raises InvalidInput."""
    if not change.given("name"):
        raise InvalidInput({"name": ["Enter a name, like “Backup server”."]})
    _look_at_place(change)
    is_active = change.is_active if change.given("is_active") else False
    return committed(lambda session: written(session, None, change, proof, actor, turns_active=is_active))


def update(config_id: int, change: SmtpChange, *, actor: str = "", proof: str = "") -> StoredConfig:
    """Merge a change over one configuration. Raises InvalidInput, NotFound, Conflict."""

    def work(session: Session) -> SmtpConfig:
        row = row_of(session, config_id)
        is_active = change.is_active if change.given("is_active") else row.is_active
        return written(session, row, change, proof, actor, turns_active=is_active)

    _look_at_place(change)
    return committed(work)


def activate(config_id: int, *, version: int | None = None, actor: str = "") -> StoredConfig:
    """Make this the one that sends, and no other, in one transaction. Raises NotFound, Conflict."""
    return update(config_id, _switch(True, version), actor=actor)


def deactivate(config_id: int, *, version: int | None = None, actor: str = "") -> StoredConfig:
    """Switch one off; the route goes on to the next step. Raises NotFound, Conflict."""
    return update(config_id, _switch(False, version), actor=actor)


def delete(config_id: int, *, version: int | None = None) -> None:
    """Forget one for good, its sealed password included. Raises NotFound, Conflict."""
    with transaction() as session:
        smtp_db.lock_global(session)
        forget(session, row_of(session, config_id), version)


def forget(session: Session, row: SmtpConfig, version: int | None = None) -> None:
    """Delete a row of any scope, which is held. Raises Conflict if ``version`` is no longer its own."""
    if version is not None and row.version != version:
        raise Conflict(STALE)
    audit.record(session, Action.DELETED, subject_of(row))
    sign_ins.forget(session, row)
    session.delete(row)


def holds(config_id: int, settings: SmtpSettings) -> bool:
    """Whether these are the values of this configuration, of any scope, as far as a test exercises them."""
    with reading() as session:
        return _row_with(session, config_id, settings) is not None


def mark_tested(
    settings: SmtpSettings,
    error_message: str | None,
    config_id: int | None,
    *,
    reach: Reach = Reach.EVERYWHERE,
    keeps_mark: bool = False,
) -> None:
    """Write down a test: in the trail, and on the stored row if it is exactly its values that were tested.

    A success marks the row for what it has ``reach``ed; a failure takes a mark away unless it ``keeps_mark``.
    """
    with transaction() as session:
        row = _row_with(session, config_id, settings)
        subject = subject_of(row) if row else f"unsaved settings ({settings.host}:{settings.port})"
        audit.record(session, Action.TESTED, subject, [error_message or _IT_WORKS[reach]])
        if row is not None:
            _write_mark(session, row, settings, error_message, reach, keeps_mark=keeps_mark)
    server_habits.keep(settings.host, settings.port)


def _row_with(session: Session, config_id: int | None, settings: SmtpSettings) -> SmtpConfig | None:
    """The row of this configuration, of any scope, if it stores these values, as far as a test exercises them."""
    row = smtp_db.find(session, config_id) if config_id is not None else None
    return row if row and are_stored(settings, as_used(session, row)) else None


def _write_mark(
    session: Session,
    row: SmtpConfig,
    settings: SmtpSettings,
    error_message: str | None,
    reach: Reach,
    *,
    keeps_mark: bool,
) -> None:
    before = sealing.marked_reach(row, settings)
    is_less = before is Reach.EVERYWHERE and reach is not Reach.EVERYWHERE  # which takes nothing of it back
    if error_message is None and reach and not is_less:
        smtp_db.note_verified(session, row.id, fingerprint(settings, reach=reach), clock.now())
        return
    smtp_db.note_error(session, row.id, error_message)
    if error_message is not None and not keeps_mark:
        smtp_db.take_mark(session, row.id, sealing.marks_of(settings))


def named(name_or_id: str | int) -> StoredConfig:
    """A configuration by its id or its name. Raises NotFound."""
    if isinstance(name_or_id, int) and not isinstance(name_or_id, bool):
        return get(name_or_id)
    found = find_by_name(name_or_id) if isinstance(name_or_id, str) else None
    if found is None:
        raise NotFound(NO_SUCH)
    return found


def _switch(is_active: bool, version: int | None) -> SmtpChange:
    return parse_change({"is_active": is_active} | ({"version": version} if version is not None else {}))


def _look_at_place(change: SmtpChange) -> None:
    if change.given("smtp_server"):
        rules.look_at_place(change.smtp_server)


def committed(work: Callable[[Session], SmtpConfig], lock: Lock = smtp_db.lock_global) -> StoredConfig:
    """Run a change in one transaction, one at a time; again if a row came in meanwhile that it had not seen."""
    for _ in range(TRIES):
        try:
            with transaction() as session:
                lock(session)
                return as_used(session, work(session))
        except IntegrityError:
            continue  # now it is seen, and taken up or refused by name
    raise Conflict(STALE)


def switched(session: Session, row: SmtpConfig, version: int | None, actor: str, *, is_active: bool) -> SmtpConfig:
    """Make a row the active one, or switch it off. Raises InvalidInput, Conflict."""
    return written(session, row, _switch(is_active, version), "", actor, turns_active=is_active)


def row_of(session: Session, config_id: int) -> SmtpConfig:
    """A global configuration's row. Raises NotFound."""
    row = smtp_db.find(session, config_id) if 0 < config_id <= LARGEST else None
    if row is None or row.account_id is not None:
        raise NotFound(NO_SUCH)
    return row


def _saved_over(session: Session, change: SmtpChange) -> SmtpConfig | None:
    """A change that names a host is about that server: it may take up none that somebody set up for another."""
    if active := smtp_db.find_active(session):
        return active
    last = smtp_db.find_active_last(session)
    if not change.given("smtp_server"):
        if last is None:
            raise NotFound(NOT_CONFIGURED)
        return last
    place = [column for column in ("smtp_server", "smtp_port", "smtp_username") if change.given(column)]
    is_same = last is not None and all(getattr(last, column) == getattr(change, column) for column in place)
    return last if is_same else None


def written(
    session: Session,
    row: SmtpConfig | None,
    change: SmtpChange,
    proof: str,
    actor: str,
    *,
    turns_active: bool,
    owner: Account | None = None,
) -> SmtpConfig:
    """Check a change against its row, or none, and write it. ``owner`` is the account whose own server it is."""
    if row is not None and _is_stale(row, change):
        raise Conflict(STALE)
    stored = as_used(session, row) if row else None
    before = config_trail.facts(row) if row else {}
    known = sign_ins.find(session, row) if row else None
    name = OWN_NAME if owner else _free_name(session, row, change)
    is_personal = owner is not None and not owner.is_admin
    settings = _settings_after(stored, change, turns_active=turns_active, is_personal=is_personal)
    gives_up_password = stored is not None and bool(stored.row.smtp_password)
    if settings is not None and settings.is_by_token and gives_up_password and not sealing.is_proof(proof, settings):
        raise InvalidInput({"auth_method": [SERVES_UNTIL_TESTED]})
    if turns_active:
        if settings is not None and settings.is_by_token and settings.bearer is None:
            raise InvalidInput({"is_active": [sealing.UNCONNECTED]})
        _switch_off_others(session, row, actor, owner)
    if row is None:
        account_id = owner.id if owner else None
        row = SmtpConfig(created_at=clock.now(), version=1, failover=owner is None, account_id=account_id)
    else:
        row.version += 1
    row.name, row.name_key = name, comparable(name)
    _switch_to(row, turns_active)
    secrets = {column for column in SECRETS if row.id and getattr(row, column)}
    if settings is not None:
        _write(row, settings)
        sealing.seal(row, settings, kept=[column for column in SECRETS if stored and not getattr(change, column)])
        sealing.note_proof(row, settings, proof)
        if known and stored:
            sign_ins.follow(session, row, known, stored.settings, settings)
    for switch in filter(change.given, SWITCHES):
        setattr(row, switch, getattr(change, switch))
    _note_update(row, actor)
    session.add(row)
    session.flush()
    told = [column for column in SECRETS if getattr(change, column) or getattr(change, REMOVALS[column])]
    told += [column for column in SECRETS if column in secrets and not getattr(row, column) and column not in told]
    config_trail.record_change(session, row, before, told)
    return row


def _is_stale(row: SmtpConfig, change: SmtpChange) -> bool:
    """Whether the change was made from another state of the row, or from another row's."""
    if not change.given("version"):
        return False
    return row.version != change.version or (change.id is not None and change.id != row.id)


def _settings_after(
    stored: StoredConfig | None, change: SmtpChange, *, turns_active: bool, is_personal: bool
) -> SmtpSettings | None:
    """The settings to write, or None where the change leaves them as they are sealed."""
    if stored is None or not change.model_fields_set <= {"version", *SWITCHES}:
        return merged_with(stored, change, is_personal=is_personal)
    if turns_active and change.given("is_active") and not stored.is_usable:
        raise InvalidInput(stored.errors)
    return None


def _switch_off_others(session: Session, row: SmtpConfig | None, actor: str, owner: Account | None) -> None:
    other = smtp_db.find_active(session, owner.id if owner else None)
    if other is not None and other is not row:
        _switch_to(other, False)
        other.version += 1
        _note_update(other, actor)
        session.flush()  # before the new one is written: at no moment may two be active
        audit.record(session, Action.DEACTIVATED, subject_of(other))


def _switch_to(row: SmtpConfig, is_active: bool) -> None:
    if row.is_active and not is_active:
        row.active_until = clock.now()
    row.is_active = is_active
    if is_active:
        row.inactive_reason = ""


def _note_update(row: SmtpConfig, actor: str) -> None:
    row.updated_at, row.updated_by = clock.now(), (actor or audit.actor().name)[:LONGEST_UPDATED_BY]


def _free_name(session: Session, row: SmtpConfig | None, change: SmtpChange) -> str:
    """The name after the change. Raises InvalidInput if another configuration has it."""
    if row is None and not change.given("name"):
        return _next_first_name(session)
    name = change.name if change.given("name") or row is None else row.name
    if len(comparable(name)) > LONGEST_NAME_KEY:
        raise InvalidInput({"name": ["Use a shorter name."]})
    if _is_name_of_own(name) and (row is None or row.name != name):
        raise InvalidInput({"name": [NAME_OF_OWN]})
    other = smtp_db.find_by_name(session, comparable(name))
    if other is not None and other is not row:
        raise InvalidInput({"name": [NAME_TAKEN]})
    return name


def _is_name_of_own(name: str) -> bool:
    """Whether the log, which keeps a server as “name (host:port)”, would take it for an account's own."""
    return f"{comparable(name)} (".startswith(f"{comparable(OWN_NAME)} (")


def _next_first_name(session: Session) -> str:
    """Primary, or Primary 2, …: the first that nobody has."""
    names = chain([FIRST_NAME], (f"{FIRST_NAME} {number}" for number in count(2)))
    return next(name for name in names if smtp_db.find_by_name(session, comparable(name)) is None)


def _write(row: SmtpConfig, settings: SmtpSettings) -> None:
    for column, setting in VALUES.items():
        setattr(row, column, getattr(settings, setting))
    row.use_tls = settings.security is Security.STARTTLS
    row.use_ssl = settings.security is Security.TLS
    row.client_certificate = settings.client_certificate
