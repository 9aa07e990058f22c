"""Back-ups of the database, and putting one back: SQLite's here, PostgreSQL's by its own programs, which are named."""

import shlex
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import URL, create_engine, delete, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from database import schema_db, sqlite_copy, sqlite_file
from database.engine import db
from database.mail_deed_db import MailDeed
from database.oauth_db import PendingOAuth
from database.outbox_db import OutboxMail
from database.session_db import BrowserSession
from database.sqlite_copy import CopyRefused
from services import audit
from services.audit import Action
from services.outbox import holding
from utils import clock
from utils.numbers import counted

STOP_ALL: Final = "Stop every process of Sealpost first"
# pg_restore drops only what the back-up has too, and fails where a newer table depends on that.
OLDER_ON_POSTGRESQL: Final = "A back-up from an earlier version needs an empty database."
AFTERWARDS: Final = "flask db upgrade && flask mail hold --all"
_SECRETS: Final = ("password", "sslpassword")  # in the query of PostgreSQL's address


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a file holds that can be put back."""

    made_at: datetime
    revision: str
    is_older: bool  # than this version: it has to be upgraded then


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came of it: mails that are held, sessions that ended, and where the database before is kept, if any was."""

    held: int
    sessions: int
    kept: str | None
    is_older: bool


def write(target: Path, *, overwrite: bool = False) -> int:
    """Write a consistent copy of the database, also while others write to it; its size. Raises CopyRefused."""
    source = _database(f"Run: {_pg_dump(target)}")
    if not source.exists():
        raise CopyRefused("There is no database yet. Run: flask db upgrade")
    _check_target(target, source, overwrite=overwrite)
    with sqlite_copy.copied(source, target.parent) as copy:
        size = copy.stat().st_size
        sqlite_copy.keep_as(copy, target, overwrite=overwrite)
    return size


def look_at(file: Path) -> Backup:
    """What would be put back. Raises CopyRefused, also while somebody uses the database that would be replaced."""
    path = _database(f"{OLDER_ON_POSTGRESQL} {STOP_ALL}, then run: {_pg_restore(file)} && {AFTERWARDS}")
    revision = sqlite_copy.revision(file)
    if path.exists() and file.samefile(path):
        raise CopyRefused(f"{file} is the database itself.")
    db.engine.dispose()  # we do not stand in our own way
    with sqlite_copy.alone(path):
        made_at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return Backup(made_at=made_at, revision=revision, is_older=schema_db.is_older(revision))


def restore(file: Path) -> Restored:
    """Put a back-up in the place of the database: what waits in it is held, and whoever was signed in is so no more.

    Whole or not at all. Raises CopyRefused.
    """
    found = look_at(file)
    path = _database("")
    moment = f"{clock.now():%Y%m%dT%H%M%S}"
    with sqlite_copy.alone(path), sqlite_copy.copied(file, path.parent) as copy:
        try:
            held, sessions = _made_harmless(copy, file.name)
        except DBAPIError as error:
            raise CopyRefused(f"The back-up cannot be prepared in {path.parent}: {error.orig}.") from None
        sqlite_copy.give_to_owner(copy, path)
        kept = sqlite_copy.put_in_place(copy, path, moment)
    return Restored(held=held, sessions=sessions, kept=str(kept) if kept else None, is_older=found.is_older)


def _made_harmless(copy: Path, name: str) -> tuple[int, int]:
    """Hold the mail of a back-up, and end its sessions and sign-ins under way; how many of the first two.

    Tables that its version did not have yet count as empty.
    """
    engine = create_engine(URL.create("sqlite", database=str(copy)), poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA secure_delete = ON"))
    with Session(engine) as session, session.begin():
        tables = set(inspect(session.connection()).get_table_names())
        held = holding.hold_restored(session) if OutboxMail.__tablename__ in tables else 0
        if MailDeed.__tablename__ in tables:
            holding.stop_restored_deeds(session)
        sessions = 0
        if BrowserSession.__tablename__ in tables:
            sessions = len(session.scalars(delete(BrowserSession).returning(BrowserSession.id_hash)).all())
        if PendingOAuth.__tablename__ in tables:  # whoever began them is not signed in any more
            session.execute(delete(PendingOAuth))
        if "audit_event" in tables:
            details = [f"{counted(held, 'email')} held", f"{counted(sessions, 'session')} ended"]
            audit.record(session, Action.DATABASE_RESTORED, name, details)
    engine.dispose()
    return held, sessions


def _database(instead: str) -> Path:
    """The file of the database. Raises CopyRefused where it is in none; PostgreSQL's programs are named ``instead``."""
    path = sqlite_file.path_of(db.engine.url)
    if path is None and db.engine.dialect.name == "sqlite":
        raise CopyRefused("The database is only in memory.")
    if path is None:
        raise CopyRefused(f"PostgreSQL has its own programs for this. {instead}")
    return path.resolve()


def _check_target(target: Path, source: Path, *, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise CopyRefused(f"The folder {target.parent} does not exist.")
    if target.resolve() in sqlite_file.with_companions(source) or (target.exists() and target.samefile(source)):
        raise CopyRefused(f"{target} is the database itself, or its log.")
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise CopyRefused(f"{target} already exists. Choose another name, or pass --overwrite.")
    if not stat.S_ISREG(target.lstat().st_mode):
        raise CopyRefused(f"{target} is not a regular file.")


def _pg_dump(file: Path) -> str:
    """Without sessions and sign-ins under way, which what is restored must not bring back; for nobody else to read."""
    left_out = [f"--exclude-table-data={table}" for table in ("session", PendingOAuth.__tablename__)]
    options = ["--format=custom", *left_out, f"--file={file}"]
    return f"(umask 077; {shlex.join(['pg_dump', *options, f'--dbname={_address()}'])})"


def _pg_restore(file: Path) -> str:
    options = ["--clean", "--if-exists", "--no-owner", "--single-transaction"]
    return shlex.join(["pg_restore", *options, f"--dbname={_address()}", str(file)])


def _address() -> str:
    """PostgreSQL's address without a password, which its programs ask for or find in ~/.pgpass."""
    url = db.engine.url.difference_update_query(_SECRETS)
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    return bare.render_as_string(hide_password=False)
