"""Runs the migrations on the application's own engine. One process at a time does, and finds the others' work done."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import click
from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from database import migrating, schema_db, sqlite_file
from database.engine import db
from database.types import UtcDateTime
from utils.env_reader import ConfigurationError
from utils.folder_lock import alone_in

AWAY = "The database cannot be reached. Check DATABASE_URL, and that the database runs."
ADVISORY_LOCK = 7_365_616  # any number, the same for everybody who migrates


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:  # noqa: ANN401
    """Write our column type as the plain one that it is in the database."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


@contextmanager
def foreign_keys_waiting(connection: Connection) -> Iterator[None]:
    """A table that SQLite builds anew is dropped on the way, which would take every row that points at its rows along.

    The switch is deaf within a transaction.
    """
    sqlite = connection.connection.driver_connection
    if not isinstance(sqlite, sqlite3.Connection):
        yield
        return
    sqlite.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        connection.rollback()  # of what only read: each migration is committed by itself
        sqlite.execute("PRAGMA foreign_keys = ON")


def _turn_on_sqlite() -> AbstractContextManager[None]:
    """SQLite locks for one transaction, and there are several: whoever is not alone would create a table twice."""
    file = sqlite_file.path_of(db.engine.url)
    folder = file.resolve().parent if file else None
    return alone_in(folder) if folder and folder.is_dir() else nullcontext()


def _connected() -> Connection:
    """A database that is away costs whoever typed a command no traceback."""
    try:
        return db.engine.connect()
    except OperationalError:
        if click.get_current_context(silent=True) is None:
            raise
        raise click.ClickException(AWAY) from None


def _refuse_strange(found: Collection[str]) -> None:
    """Where Alembic would only say that it cannot locate a revision."""
    words = schema_db.strange(found)
    if words and click.get_current_context(silent=True) is not None:
        raise click.ClickException(words)
    if words:
        raise ConfigurationError(words)


def run_migrations() -> None:
    with _turn_on_sqlite(), _connected() as connection:
        context.configure(
            connection=connection,
            target_metadata=migrating.tables(),
            render_as_batch=True,
            render_item=render_item,
        )
        with foreign_keys_waiting(connection), context.begin_transaction():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            _refuse_strange(context.get_context().get_current_heads())
            context.run_migrations()


run_migrations()
