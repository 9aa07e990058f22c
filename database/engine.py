"""The engine, the base of every model, and the ways to a transaction: a session's, or the driver's own."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, CursorResult, Executable, Integer, MetaData, Update, event, make_url
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from database import driver as driver_path
from database import sqlite_file
from database.driver import Driver
from utils import private_files


class Base(DeclarativeBase):
    """Named constraints, so that a violation can become a field's message and migrations can drop them.

    An id is never used again, on SQLite either: whoever remembers one must not meet another row under it.
    """

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - as SQLAlchemy has it
        super().__init_subclass__(**options)
        table = cls.__dict__.get("__table__")
        if table is not None and "id" in table.c and isinstance(table.c.id.type, Integer):
            table.kwargs["sqlite_autoincrement"] = True


db = SQLAlchemy(model_class=Base)

_BUSY_SECONDS: Final = 5  # that a writer waits for others
_SPARE_SECONDS: Final = 0.1  # the same for what may be left out
_writers: Final[WeakKeyDictionary[Engine, Lock]] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_writers.clear)


def init_app(app: Flask, *, takes_driver_path: bool = True) -> None:
    """Make the engines of an application, and listen to these alone: others in this process are not ours to change.

    What they keep on the disk is for this user alone, whatever the process's umask. Raises OSError.
    """
    instance = Path(app.instance_path)
    file = sqlite_file.path_of(make_url(app.config["SQLALCHEMY_DATABASE_URI"]), instance)
    if file and file.is_relative_to(instance):
        private_files.make_folder(instance)
    receipts = instance / private_files.RECEIPTS
    private_files.mend([instance, receipts, *receipts.glob("*"), *(sqlite_file.with_companions(file) if file else ())])
    db.init_app(app)
    with app.app_context():
        for engine in db.engines.values():
            if engine.dialect.name == "sqlite":
                event.listen(engine, "do_connect", sqlite_file.make_private)
            event.listen(engine, "connect", _prepare, insert=True)  # before SQLAlchemy's first questions
            event.listen(engine, "begin", _begin)
            driver_path.switch(engine, on=takes_driver_path)


@contextmanager
def _turn_to_write(seconds: float = _BUSY_SECONDS) -> Iterator[None]:
    """SQLite has one writer at a time, and lets the others sleep and ask again: those of this process wait in line.

    The file's own lock still decides between processes.
    """
    engine = db.engine
    if engine.dialect.name != "sqlite":
        yield
        return
    lock = _writers.get(engine) or _writers.setdefault(engine, Lock())
    if not lock.acquire(timeout=seconds):
        raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
    try:
        yield
    finally:
        lock.release()


@contextmanager
def transaction(*, durable: bool = True, is_spare: bool = False) -> Iterator[Session]:
    """A short session that writes: commits at the end, rolls back on any exception.

    Never held open while a server is waited for. Without ``durable`` a power cut may take the last of these
    commits (never a killed process): for records of what has happened, whose wait for the disk nobody should pay.
    One that ``is_spare``, for what may be left out, hardly waits for whoever writes now, and raises OperationalError
    where that takes longer.
    """
    seconds = _SPARE_SECONDS if is_spare else _BUSY_SECONDS
    options = {"sealpost_writes": True, "sealpost_durable": durable, "sealpost_spare": is_spare}
    with _turn_to_write(seconds), Session(db.engine, expire_on_commit=False) as session, session.begin():
        session.connection(execution_options=options)
        yield session


@contextmanager
def driver_transaction(*, durable: bool = True) -> Iterator[Driver]:
    """As ``transaction``, on the driver's own connection: for what is written for every mail."""
    options = {"sealpost_writes": True, "sealpost_durable": durable}
    engine = db.engine
    with _turn_to_write(), driver_path.connected(engine, **options) as driver:
        if driver_path.is_taken(engine):  # else the first statement says it, see _begin
            for statement in _beginning(driver.dialect, driver.info, durable=durable):
                driver.run(statement)
        yield driver
        driver.commit()


@contextmanager
def reading() -> Iterator[Session]:
    """A short session that only reads; each of its statements sees what was committed by then."""
    with Session(db.engine.execution_options(sealpost_reads=True), expire_on_commit=False) as session:
        yield session


def reading_in(session: Session | None) -> AbstractContextManager[Session]:
    """The caller's session; where there is none, one that only reads."""
    return nullcontext(session) if session is not None else reading()


def driver_reading() -> AbstractContextManager[Driver]:
    """As ``reading``, on the driver's own connection."""
    return driver_path.connected(db.engine, sealpost_reads=True)


def changed(session: Session, statement: Executable) -> int:
    """Execute an UPDATE or DELETE; how many rows it was of."""
    return cast(CursorResult[Any], session.execute(statement)).rowcount


def compared_and_set(session: Session, statement: Update) -> bool:
    """Execute an UPDATE of one row; whether that was there, and as its conditions have it.

    What the session holds of the row stays as it was read.
    """
    return changed(session, statement.execution_options(synchronize_session=False)) == 1


def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - any driver's connection
    """SQLite: WAL, so that readers never wait; FULL, so that what was committed survives a power cut."""
    if not isinstance(connection, sqlite3.Connection):
        connection.autocommit = True  # we say BEGIN ourselves, see _begin
        return
    connection.isolation_level = None  # likewise
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:  # a read-only file: it can still be read
        cursor.execute("PRAGMA query_only = ON")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("sealpost_reads"):
        return
    durable = options.get("sealpost_durable", True)
    is_writer = options.get("sealpost_writes", False)
    with _waiting(connection, is_short=options.get("sealpost_spare", False)):
        for statement in _beginning(connection.dialect, connection.info, durable=durable, is_writer=is_writer):
            connection.exec_driver_sql(statement)


@contextmanager
def _waiting(connection: Connection, *, is_short: bool) -> Iterator[None]:
    """How long what is begun here waits for others: in SQLite it does so nowhere else."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_short and is_sqlite:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_SPARE_SECONDS * 1000:.0f}")
    try:
        yield
    finally:
        if is_short and is_sqlite:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    if is_short and not is_sqlite:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_SPARE_SECONDS * 1000:.0f}ms'")


def _beginning(dialect: Dialect, info: dict[str, Any], *, durable: bool, is_writer: bool = True) -> Iterator[str]:
    """The statements that begin a transaction; ``info`` belongs to the connection.

    A writer takes SQLite's lock at once: upgrading a reader fails instead of waiting.
    """
    if dialect.name != "sqlite":  # in one round trip
        yield "BEGIN" if durable else "BEGIN; SET LOCAL synchronous_commit = off"
        return
    wanted = "FULL" if durable else "NORMAL"
    if info.get("synchronous") != wanted:  # as whoever had the connection before left it
        yield f"PRAGMA synchronous = {wanted}"
        info["synchronous"] = wanted
    yield "BEGIN IMMEDIATE" if is_writer else "BEGIN"
