"""What is said for every mail is planned once: to plan the claim took SQLite twice as long as to carry it out."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade

from app import create_app
from database import outbox_turn_db
from database.engine import db, driver_transaction
from database.outbox_db import Priority, State
from services.worker.turns import LAP
from tests import postgresql_server
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.visitors import mail_through
from utils import clock

_MAIL_TABLES = {"email_outbox", "email_attempt", "outbox_rest"}


@pytest.fixture
def app(environment: dict[str, str], server: RecordingServer, tmp_path: Path) -> Iterator[Flask]:
    app = create_app({**environment, **mail_through(server)}, instance_path=tmp_path)
    with app.app_context():
        yield app
        db.engine.dispose()


@contextmanager
def planned() -> Iterator[set[str | None]]:
    """The tables of a mail that a statement was planned for: SQLite asks its authorizer while it plans."""
    found: set[str | None] = set()

    def note(_action: int, table: str | None, *_others: object) -> int:
        found.update({table} & _MAIL_TABLES)
        return sqlite3.SQLITE_OK

    connection = db.engine.raw_connection()
    driver = connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    connection.close()  # it is the only one, and comes out of the pool again
    driver.set_authorizer(note)
    try:
        yield found
    finally:
        driver.set_authorizer(None)


def test_a_mail_is_queued_claimed_fenced_and_settled_without_a_new_plan(app: Flask) -> None:
    with planned() as tables:
        for _ in range(2):  # an authorizer has everything planned once more
            queued("ann@example.com")
            drain()
        assert tables
        tables.clear()
        last = queued("ann@example.com")
        drain()
        assert not tables
    assert row_of(last).state == State.SENT


@pytest.fixture
def on_postgresql(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    with postgresql_server.running() as url:
        app = create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path)
        with app.app_context():
            upgrade()
            yield app
            db.engine.dispose()


@pytest.mark.parametrize("most", [1, LAP])
def test_postgresql_keeps_its_plan_of_whose_mail_is_due(on_postgresql: Flask, most: int) -> None:
    queued("ann@example.com")
    with driver_transaction() as driver:
        for _ in range(20):  # psycopg prepares the sixth, and PostgreSQL settles on a plan with the sixth of those
            outbox_turn_db.due_accounts(driver, Priority.NORMAL, after=0, most=most, now=clock.now())
        prepared = driver.rows("SELECT generic_plans FROM pg_prepared_statements WHERE statement LIKE %s", ("%walk%",))
    assert [kept > 0 for (kept,) in prepared] == [True]
