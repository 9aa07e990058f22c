"""Where SQLite keeps a database, that nobody else can read it there, and how a transaction of it begins."""

import sqlite3
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection

from utils import private_files

BESIDE: Final = ("-wal", "-shm", "-journal")  # what may stand beside a database, with modes of the file's own
_MEMORY: Final = ":memory:"


def path_of(url: URL, folder: Path | None = None) -> Path | None:
    """The file of a database, below ``folder`` if its name is relative; None if it is in memory, or not SQLite's."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    name = url.database
    if name.startswith("file:"):  # SQLite's own kind of address (sqlite.org/uri.html)
        name = unquote(urlsplit(name).path)
        if "memory" in url.query.get("mode", ()) or name == _MEMORY:
            return None
    return None if name == _MEMORY else (folder or Path()) / name


def with_companions(path: Path) -> list[Path]:
    """The file, and whatever SQLite may have beside it."""
    return [path, *(path.with_name(path.name + suffix) for suffix in BESIDE)]


def make_private(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
    """Make the file before SQLite does, as others could read its own. What stands beside it gets the file's mode."""
    name = str(arguments[0]) if arguments else str(options.get("database", ""))
    if name.startswith("file:"):
        name = "" if "mode=" in name else unquote(urlsplit(name).path)
    if name and name != _MEMORY:
        private_files.make_file(Path(name))


def begin(connection: Connection) -> None:
    """See to it that a savepoint is within a transaction, or its release would commit.

    Python's SQLite driver, on an engine that is not ours, begins none before the first change.
    """
    raw = connection.connection.dbapi_connection
    if isinstance(raw, sqlite3.Connection) and not raw.in_transaction:
        connection.exec_driver_sql("BEGIN")
