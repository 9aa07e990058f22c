"""The driver's own connection, for the few statements that are said for every mail.

SQLAlchemy writes them and keeps the connections; but around each execution it costs as much as the database does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection


class Driver:
    """A connection from the pool, and statements in its dialect's words."""

    def __init__(self, dialect: Dialect, connection: PoolProxiedConnection) -> None:
        self.dialect: Final = dialect
        self.info: Final = connection.info
        self._connection: Final = connection
        self._cursor: Final = connection.cursor()

    def run(self, sql: str) -> None:
        """Run a statement that gives no rows."""
        self._cursor.execute(sql)

    def run_many(self, sql: str, parameters: Sequence[Any]) -> None:
        """Run a statement once for each of these parameters, which are tuples or dictionaries as the dialect has it."""
        self._cursor.executemany(sql, parameters)

    def rows(self, sql: str, parameters: Any) -> Sequence[tuple[Any, ...]]:  # noqa: ANN401 - a tuple or dictionary
        """Run a statement that gives rows."""
        self._cursor.execute(sql, parameters)
        rows: Sequence[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def commit(self) -> None:
        self._connection.commit()


@contextmanager
def connected(engine: Engine) -> Iterator[Driver]:
    """A connection for a ``with`` block; what it did not commit is undone. Errors are SQLAlchemy's, as elsewhere."""
    connection: PoolProxiedConnection | None = None
    try:
        connection = engine.raw_connection()
        yield Driver(engine.dialect, connection)
    except engine.dialect.loaded_dbapi.Error as error:
        translated = _translated(engine.dialect, error, connection)
        if connection and translated.connection_invalidated:
            engine.pool._invalidate(connection, error)  # and those that are idle, as SQLAlchemy's own connections do
        raise translated from error
    finally:
        if connection:
            connection.close()


@contextmanager
def borrowed(connection: Connection) -> Iterator[Driver]:
    """The driver's side of a connection that SQLAlchemy has in a transaction."""
    try:
        yield Driver(connection.dialect, connection.connection)
    except connection.dialect.loaded_dbapi.Error as error:
        translated = _translated(connection.dialect, error, connection.connection)
        if translated.connection_invalidated:
            connection.engine.pool._invalidate(connection.connection, error)
            connection.invalidate(error)
        raise translated from error


def _translated(
    dialect: Dialect,
    error: Any,  # noqa: ANN401 - of the driver, whichever that is
    connection: PoolProxiedConnection | None,
) -> DBAPIError:
    is_gone = connection is not None and dialect.is_disconnect(error, connection.dbapi_connection, None)
    base = dialect.loaded_dbapi.Error
    found = DBAPIError.instance(None, None, error, base, connection_invalidated=is_gone, dialect=dialect)
    return cast(DBAPIError, found)
