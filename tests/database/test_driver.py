"""The driver's own connection: errors, undone work and dead connections are as they are elsewhere."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier, Thread

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError

from app import create_app
from database.driver import PlainDriver
from database.engine import db, driver_reading, driver_transaction, reading, transaction
from database.prepared import added_to
from database.types import UtcDateTime
from tests import postgresql_server
from tests.conftest import APP_KEY

SECRET = "canary-7f3a"


@pytest.fixture(params=["true", "false"], ids=["driver-path", "plain"])
def path(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"DATABASE_DRIVER_PATH": request.param}


@pytest.fixture(params=["sqlite", "postgresql"])
def app(request: pytest.FixtureRequest, tmp_path: Path, path: dict[str, str]) -> Iterator[Flask]:
    if request.param == "sqlite":
        yield from application(path | {"DATABASE_URL": f"sqlite:///{tmp_path / 'driver.db'}"}, tmp_path)
        return
    with postgresql_server.running() as url:
        yield from application(path | {"DATABASE_URL": url}, tmp_path)


def application(variables: dict[str, str], instance: Path) -> Iterator[Flask]:
    app = create_app({"APP_KEY": APP_KEY, "APP_ENV": "development", **variables}, instance_path=instance)
    with app.app_context():
        with transaction() as session:
            session.execute(text("CREATE TABLE note (id INTEGER PRIMARY KEY, words VARCHAR(20) NOT NULL)"))
        yield app
        db.engine.dispose()


def add(number: int, words: str | None = "words") -> None:
    with driver_transaction() as driver:
        driver.run(f"INSERT INTO note VALUES ({number}, {repr(words) if words else 'NULL'})")


def count() -> int:
    with reading() as session:
        return len(session.execute(text("SELECT id FROM note")).all())


def test_the_switch_decides_which_way_is_taken(app: Flask, path: dict[str, str]) -> None:
    with driver_transaction() as driver:
        assert isinstance(driver, PlainDriver) == (path["DATABASE_DRIVER_PATH"] == "false")
    with driver_reading() as driver:
        assert isinstance(driver, PlainDriver) == (path["DATABASE_DRIVER_PATH"] == "false")


def test_an_error_is_one_of_sqlalchemys_and_nothing_of_the_transaction_stays(app: Flask) -> None:
    def add_twice() -> None:
        with driver_transaction() as driver:
            driver.run("INSERT INTO note VALUES (1, 'a')")
            driver.run("INSERT INTO note VALUES (1, 'b')")

    with pytest.raises(IntegrityError):
        add_twice()
    assert count() == 0
    add(1)
    assert count() == 1


def test_what_fails_in_between_undoes_what_was_said_before(app: Flask) -> None:
    def stumble() -> None:
        with driver_transaction() as driver:
            driver.run("INSERT INTO note VALUES (1, 'a')")
            raise ValueError("stumbled")

    with pytest.raises(ValueError, match="stumbled"):
        stumble()
    assert count() == 0


def test_a_statement_that_makes_no_sense_is_told_without_its_values(app: Flask) -> None:
    name = "?" if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite") else "%s"
    with pytest.raises(DBAPIError) as raised, driver_reading() as driver:
        driver.rows(f"SELECT words FROM nowhere WHERE words = {name}", (SECRET,))
    assert SECRET not in str(raised.value)


def test_a_value_that_no_column_takes_is_told_without_it(app: Flask) -> None:
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))  # in UTC it is beyond all years
    moments = Table("moments", MetaData(), Column("id", Integer, primary_key=True), Column("moment", UtcDateTime))
    with pytest.raises(StatementError) as raised, driver_transaction() as driver:
        added_to(moments).run(driver, [{"moment": late}])
    assert "9999" not in str(raised.value)


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(1000, 1, 1), max_value=datetime(9998, 1, 1)))
def test_sqlite_is_given_a_moment_in_the_very_text_that_sqlalchemy_reads(moment: datetime) -> None:
    dialect = sqlite.dialect()
    write = UtcDateTime().dialect_impl(dialect).bind_processor(dialect)
    theirs = DateTime().dialect_impl(dialect).bind_processor(dialect)
    assert write is not None
    assert theirs is not None
    assert write(moment) == theirs(moment.astimezone(UTC))


def test_a_value_that_has_to_be_given_is_missed(app: Flask) -> None:
    note = Table("note", MetaData(), Column("id", Integer, primary_key=True), Column("words", Text, nullable=False))
    with pytest.raises(StatementError), driver_transaction() as driver:
        added_to(note).run(driver, [{"word": "misspelt"}])


@pytest.mark.parametrize("app", ["postgresql"], indirect=True)
def test_after_the_server_has_ended_all_connections_one_statement_fails_and_the_next_goes_on(app: Flask) -> None:
    held = [db.engine.connect() for _ in range(3)]
    processes = [connection.execute(text("SELECT pg_backend_pid()")).scalar_one() for connection in held]
    for connection in held[1:]:
        connection.close()
    for process in processes[1:]:
        held[0].execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})
    with pytest.raises(OperationalError) as raised:
        add(1)
    assert raised.value.connection_invalidated
    add(2)
    assert count() == 1
    held[0].close()


def test_many_threads_write_at_once_and_none_is_turned_away(app: Flask) -> None:
    together = Barrier(8)

    def write(first: int) -> None:
        with app.app_context():
            together.wait()
            for number in range(first, first + 25):
                add(number)

    threads = [Thread(target=write, args=(100 * each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count() == 200
