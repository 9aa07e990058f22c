"""The driver path: the few statements that are said for every mail, on the driver's own connection.

SQLAlchemy writes them and keeps the connections; but around each execution it costs as much as the database does.
Measured on SQLite with two cores, queued, sent and settled: 2,731 mails a second, and 2,076 by SQLAlchemy alone.

It is the only file that uses private parts of SQLAlchemy. Should they change, or the path be suspected of something,
``DATABASE_DRIVER_PATH=false`` says the same statements on SQLAlchemy's own connections. Then mails that join a caller's
transaction are written one by one, at once; all else is as before. An engine that is not ours is always spoken to so.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection

_OPTION: Final = "sealpost_driver_path"  # among an engine's execution options


class Driver:
    """A connection from the pool, and statements in its dialect's words."""

    def __init__(self, dialect: Dialect, connection: PoolProxiedConnection) -> None:
        self.dialect = dialect
        self.info = connection.info
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


class PlainDriver(Driver):
    """The same on SQLAlchemy's own connection."""

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect
        self.info = connection.info
        self.connection: Final = connection

    def run(self, sql: str) -> None:
        self.connection.exec_driver_sql(sql)

    def run_many(self, sql: str, parameters: Sequence[Any]) -> None:
        self.connection.exec_driver_sql(sql, list(parameters))

    def rows(self, sql: str, parameters: Any) -> Sequence[tuple[Any, ...]]:  # noqa: ANN401 - as above
        return [tuple(row) for row in self.connection.exec_driver_sql(sql, parameters)]

    def commit(self) -> None:
        self.connection.commit()


def switch(engine: Engine, *, on: bool) -> None:
    """Let the statements for every mail take the driver path on this engine, or SQLAlchemy's own connections."""
    engine.update_execution_options(**{_OPTION: on})


def is_taken(bind: Engine | Connection) -> bool:
    """Whether the driver path is taken here."""
    return bool(bind.get_execution_options().get(_OPTION))


def can_wait(session: Session, bind: Engine | Connection) -> bool:
    """Whether what is added now is still written with the session's next flush, on the driver path.

    A listener of that flush is too late for it.
    """
    return is_taken(bind) and not session._flushing


@contextmanager
def connected(engine: Engine, **options: Any) -> Iterator[Driver]:  # noqa: ANN401 - execution options
    """A connection for a ``with`` block; what it did not commit is undone. Errors are SQLAlchemy's, as elsewhere.

    The options are of SQLAlchemy's own connection, where that is what is used.
    """
    if not is_taken(engine):
        with engine.connect().execution_options(**options) as plain:
            yield PlainDriver(plain)
        return
    connection: PoolProxiedConnection | None = None
    try:
        connection = engine.raw_connection()
        yield Driver(engine.dialect, connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise _translated(engine, error, connection) from error
    finally:
        if connection:
            connection.close()  # back to the pool, which undoes what was not committed


@contextmanager
def borrowed(connection: Connection) -> Iterator[Driver]:
    """The driver's side of a connection that SQLAlchemy has in a transaction."""
    if not is_taken(connection):
        yield PlainDriver(connection)
        return
    try:
        yield Driver(connection.dialect, connection.connection)
    except connection.dialect.loaded_dbapi.Error as error:
        translated = _translated(connection.engine, error, connection.connection)
        # The session must not go on over it, nor say ROLLBACK there.
        if translated.connection_invalidated:
            connection.invalidate(error)
        raise translated from error


def _translated(
    engine: Engine,
    error: Any,  # noqa: ANN401 - of the driver, whichever that is
    connection: PoolProxiedConnection | None,
) -> DBAPIError:
    """The error as SQLAlchemy says it. A connection that is lost, the pool gives up."""
    dialect, base = engine.dialect, engine.dialect.loaded_dbapi.Error
    is_gone = connection is not None and dialect.is_disconnect(error, connection.dbapi_connection, None)
    if connection and is_gone:
        engine.pool._invalidate(connection, error)  # and those that are idle, as SQLAlchemy's own connections do
    found = DBAPIError.instance(None, None, error, base, connection_invalidated=is_gone, dialect=dialect)
    return cast(DBAPIError, found)
