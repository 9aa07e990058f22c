"""What keeps an installation from serving at all, and what is probably a mistake: told at start, on the page, and by
`flask smtp validate`.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import migrating, outbox_db, schema_db, smtp_db
from database.engine import reading, transaction
from services.outbox import log as mail_log
from services.outbox.log import DueMail
from services.settings import key_rotation, personal_policy
from services.settings.personal_policy import Allowed
from utils import clock, interpreter
from utils.addresses import is_loopback
from utils.encryption_utils import current_key_id, key_id_of
from utils.env_reader import ConfigurationError
from utils.env_utils import fernet_key_from, get_settings
from utils.key_strength import NEW_KEY_COMMAND

log = structlog.get_logger(__name__)

NO_DATABASE: Final = "The database cannot be used. Check DATABASE_URL"
NOT_READY: Final = "The database is not ready."
SET_BASE_URL: Final = "Set BASE_URL to the public address, like https://app.example.com"
LEAVE_THE_KEY: Final = (
    f"Create a new one with: {NEW_KEY_COMMAND} Move the old one to APP_KEY_PREVIOUS, "
    "restart, and run: flask keys rotate"
)
_LONG_ENOUGH: Final = timedelta(days=30)  # for a previous key to be needed after a rotation


def check(*, is_database_needed: bool = True) -> None:
    """Raises ConfigurationError, in one line with what to run, where this code cannot work with what is stored."""
    try:
        with reading() as session:
            _refuse_old_tables(session)
            check_key(session)
    except SQLAlchemyError as error:
        if is_database_needed:
            raise ConfigurationError(words_for(error)) from None


def check_tables() -> None:
    """Raises ConfigurationError if the tables are older than this code. A database that cannot be asked is told by
    what comes next.
    """
    with suppress(SQLAlchemyError), reading() as session:
        _refuse_old_tables(session)


def bring_up_to_date() -> None:
    """Migrate, with every part's tables, unless there is nothing to do. Raises SQLAlchemyError."""
    with reading() as session:
        is_current = schema_db.is_current(session)
    if not is_current:
        migrating.upgrade()


def check_writing() -> None:
    """Write nothing, in a transaction that could. Raises SQLAlchemyError."""
    with transaction() as session:
        schema_db.touch(session)


def check_key(session: Session) -> None:
    """A key that a person thought of is taken only where something is sealed with it. Raises ConfigurationError."""
    doubt = get_settings().app_key_doubt
    if doubt and not _seals_something(session):
        raise ConfigurationError(f"APP_KEY {doubt}. Create a new one with: {NEW_KEY_COMMAND}")


def check_new_key() -> None:
    """The same, for a command that might be the first to seal something. Raises ConfigurationError.

    It asks the database only about a doubtful key; one that cannot be asked is told by what comes next.
    """
    if get_settings().app_key_doubt:
        with suppress(SQLAlchemyError), reading() as session:
            check_key(session)


def words_for(error: SQLAlchemyError) -> str:
    """What a failure of the database means to an administrator: missing migrations are not a database that is away."""
    if needed := upgrade_needed(error):
        return f"{NOT_READY} {needed}"
    if schema_db.is_read_only(error):
        return (
            "The database cannot be written to. Make the user that Sealpost runs as the owner of its file and folder."
        )
    return f"{NO_DATABASE} and run: flask db upgrade"


def upgrade_needed(error: SQLAlchemyError) -> str:
    """What to run where migrations are missing, or ""."""
    return schema_db.UPGRADE if schema_db.lacks_something(error) else ""


def doubts(due: DueMail | None = None) -> list[str]:
    """What is probably a mistake and stops nothing, in sentences with their remedies. Raises SQLAlchemyError.

    ``due`` is how it is with mail that is due, if the caller knows.
    """
    settings = get_settings()
    key = f"APP_KEY {settings.app_key_doubt}: anyone who has the database can guess it. {LEAVE_THE_KEY}"
    return [
        *settings.doubts,
        *([key] if settings.app_key_doubt else []),
        *_kept_keys(),
        *_idle_hosts(),
        *([mail_log.NOBODY_SENDS] if (due or mail_log.due()).is_unattended else []),
    ]


def closed_links() -> str:
    """What is wrong with the links in emails of a production that has no public address; "" if nothing is."""
    settings = get_settings()
    if not settings.is_production or not is_loopback(settings.base_host):
        return ""
    return f"Links in emails lead to {settings.base_url}, which only this machine can open"


def warn() -> None:
    """Write each doubt to the log, once a start, links that nobody else can open, and the faults of the interpreter."""
    for doubt in doubts():
        log.warning("configuration_doubt", doubt=doubt)
    if closed := closed_links():
        log.warning("links_open_here_alone", problem=closed, remedy=SET_BASE_URL)
    for fault in interpreter.faults():
        log.warning("interpreter_fault", fault=fault)


def _refuse_old_tables(session: Session) -> None:
    if schema_db.is_behind(session):
        raise ConfigurationError(f"{NOT_READY} {schema_db.UPGRADE}")


def _seals_something(session: Session) -> bool:
    key_id = current_key_id()
    return any(row.key_id == key_id for row in smtp_db.every(session)) or key_id in outbox_db.keys_in_use(session)


def _kept_keys() -> list[str]:
    """The previous keys, once the last rotation is so long ago that they have stayed behind."""
    previous = get_settings().app_key_previous
    if not previous:
        return []
    rotated_at = key_rotation.last_at()
    if rotated_at is None or clock.now() - rotated_at < _LONG_ENOUGH:
        return []
    days = (clock.now() - rotated_at).days
    ids = ", ".join(key_id_of(fernet_key_from(key)) for key in previous)
    return [f"APP_KEY_PREVIOUS still contains {ids}, {days} days after the rotation. See: flask keys status"]


def _idle_hosts() -> list[str]:
    """Hosts that are named and restrict nobody, or none where others are refused."""
    policy = personal_policy.current()
    if "hosts" in policy.fixed and policy.allowed is Allowed.ANY:
        return [
            "PERSONAL_SMTP_HOSTS has no effect. It is used only with PERSONAL_SMTP=named, or "
            "“Only these hosts and domains”."
        ]
    if policy.allowed is Allowed.NAMED and not policy.hosts:
        return ["Accounts may only use named servers, but none is named. Set PERSONAL_SMTP_HOSTS."]
    return []
