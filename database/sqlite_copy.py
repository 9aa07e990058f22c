"""Copies of SQLite's database: made while others write, and put in its place whole or not at all."""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from database import schema_db, sqlite_file
from utils import private_files
from utils.errors import AppError

_OURS: Final = {"account", "smtp_config"}  # tables of every version
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PRIMARY: Final = 0xFF  # the bits of an extended result code that tell what it extends


class CopyRefused(AppError):
    """A copy that was not made, or not put in place: nothing has changed."""


class InUse(CopyRefused):
    """Somebody has the database open."""


@contextmanager
def copied(source: Path, folder: Path) -> Iterator[Path]:
    """A copy of a database as one moment has it, in a file of its own in ``folder``, on the disk.

    Whoever keeps it moves it away; what is left there at the end of the block is deleted. Raises CopyRefused.
    """
    unfinished = folder / f".sealpost-{secrets.token_hex(8)}.part"
    try:
        with _told(folder):
            os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, private_files.FILE))
            _copy(source, unfinished)
        yield unfinished
    finally:
        for path in sqlite_file.with_companions(unfinished):
            path.unlink(missing_ok=True)


def revision(path: Path) -> str:
    """The migration that a back-up has come to. Raises CopyRefused for what is none that this version can work with."""
    try:
        with path.open("rb") as file:
            file.read(1)
        with closing(_reader(path)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables >= {*_OURS, schema_db.VERSION}:
                raise CopyRefused(f"{path} is not a Sealpost database.")
            rows = connection.execute(f"SELECT version_num FROM {schema_db.VERSION}")  # noqa: S608 - a constant
            found = [str(row[0]) for row in rows if schema_db.is_known(str(row[0]))]  # beside other branches
            if not found:
                raise CopyRefused(
                    f"{path} was made by another version of Sealpost, and this one does not know its tables."
                )
            if (state := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise CopyRefused(f"{path} is damaged: {state}")
    except OSError as error:
        raise CopyRefused(f"{path} cannot be read: {error.strerror}.") from None
    except sqlite3.Error as error:
        raise CopyRefused(f"{path} is not a readable SQLite database: {error}.") from None
    return found[0]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody else has the database open during the block. Raises InUse.

    Leaving WAL takes whoever does it alone, and brings all that is in the log into the file. One that cannot be read
    keeps nobody out.
    """
    if not path.exists():
        yield
        return
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY in _BUSY:
                raise InUse(
                    "The database is in use. Stop every process of Sealpost first: servers, workers, shells."
                ) from None
        except sqlite3.DatabaseError:  # damaged: the reason for which it is replaced
            pass
        yield


def put_in_place(copy: Path, path: Path, moment: str) -> Path | None:
    """Let a copy be the database from here on; where the one before is kept, or None if there was none.

    At every moment one of the two is there, whole. Raises CopyRefused.
    """
    with _told(path.parent):
        kept = _kept(path, moment) if path.exists() else None
        copy.replace(path)
        _sync(path.parent)
    return kept


def give_to_owner(copy: Path, path: Path) -> None:
    """Let a copy belong to whoever the database belongs to, or its folder: root restores for another user."""
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.chown(copy, owner.st_uid, owner.st_gid)


def keep_as(copy: Path, target: Path, *, overwrite: bool) -> None:
    """Give a copy its name. Raises CopyRefused if there is such a file, unless it may be overwritten."""
    with _told(target.parent):
        if overwrite:
            copy.replace(target)
        else:
            _named_anew(copy, target)
        _sync(target.parent)


def _named_anew(copy: Path, target: Path) -> None:
    try:
        target.hardlink_to(copy)  # unlike a rename, it fails if somebody was faster
    except FileExistsError:
        raise CopyRefused(f"{target} already exists. Choose another name, or pass --overwrite.") from None
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise CopyRefused(f"{target} already exists. Choose another name, or pass --overwrite.") from None
        copy.rename(target)


def _kept(path: Path, moment: str) -> Path:
    """Another name for the database that is replaced, and for what is beside it."""
    kept = path.with_name(f"{path.name}.before-{moment}-{secrets.token_hex(2)}")
    try:
        kept.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, kept)
    kept.chmod(private_files.FILE)
    for beside in sqlite_file.with_companions(path)[1:]:
        if beside.exists():  # of a damaged one; it must not be taken for the new one's
            beside.rename(kept.with_name(kept.name + beside.name.removeprefix(path.name)))
    return kept


def _copy(source: Path, target: Path) -> None:
    with closing(_reader(source)) as reader, closing(sqlite3.connect(target, isolation_level=None)) as writer:
        writer.execute("PRAGMA synchronous = OFF")  # all of it goes to the disk at the end
        reader.backup(writer)  # in one step: one moment, which in WAL no writer waits for
        writer.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What keeps a file from being written is told in one sentence."""
    try:
        yield
    except OSError as error:
        raise CopyRefused(f"Nothing can be written to {folder}: {error.strerror}.") from None
    except sqlite3.Error as error:
        raise CopyRefused(f"The database cannot be copied to {folder}: {error}.") from None


def _sync(folder: Path) -> None:
    with suppress(OSError):  # some file systems have no such thing
        private_files.sync(folder)
