"""A database that has lived through every version comes to the newest one with all that was written into it.

Each table gets a row, with something in each column, at every version in which it is new or another: so each migration
finds rows of every version before it.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    insert,
    select,
    text,
)
from sqlalchemy.types import TypeEngine

from app import create_app
from database import schema_db
from database.engine import db, reading
from database.schema_db import MIGRATIONS
from services.settings import configs
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.database.test_migrations import differences
from tests.database.test_sealing_anew import NAMES, ROWS, put_back
from tests.rotations import NEW_KEY

SEALED: Final = "0003"  # the version of which there are stored servers with passwords, as it sealed them
WRITTEN_ANEW: Final = {"reason"}  # by a migration, since it means something else there
FIRST: Final = 101  # number of a row; those of ROWS have lower ones
_MOMENT: Final = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)

Row = Mapping[str, Any]
Written = list[tuple[str, Row]]  # into which table, and what


def revisions() -> list[str]:
    """Every migration's number, the first one first."""
    return [each.revision for each in reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions()))]


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """On an empty database."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    keys = {"APP_KEY": APP_KEY, "APP_KEY_PREVIOUS": NEW_KEY}
    environment = {**keys, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def shapes(connection: Connection) -> dict[str, str]:
    """What each table is like now; asked of the database itself, since to reflect all of them takes long."""
    sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    if connection.dialect.name == "postgresql":
        sql = (
            "SELECT table_name, string_agg(concat(column_name, data_type, is_nullable), ',' ORDER BY column_name)"
            " FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name"
        )
    return {name: shape for name, shape in connection.execute(text(sql)) if name != schema_db.VERSION}


def a_row_in_each(connection: Connection, tables: Collection[str], number: int) -> Written:
    """Write one row more into these tables, and those that they refer to, with something in each column."""
    metadata = MetaData()
    metadata.reflect(connection, only=list(tables))
    written: dict[str, Row] = {}
    for table in metadata.sorted_tables:
        values = {column.name: something(column, number, written) for column in table.c}
        connection.execute(insert(table).values(values))
        written[table.name] = values
    return list(written.items())


def something(column: Column[Any], number: int, written: Mapping[str, Row]) -> object:
    """A value that this row alone has, where there can be so many; what refers to another row refers to the newest."""
    for key in column.foreign_keys:
        table, _, name = key.target_fullname.rpartition(".")
        return written[table][name] if table in written else None
    kinds: dict[type[TypeEngine[Any]], object] = {
        Boolean: False,
        Integer: number,
        Float: number / 2,
        DateTime: _MOMENT if getattr(column.type, "timezone", True) else _MOMENT.replace(tzinfo=None),
        Date: date(2026, 11, number % 30 + 1),
        LargeBinary: b"%d" % number,
        JSON: [],
        String: f"{number} of {column.name}"[: getattr(column.type, "length", None)],
    }
    return next(value for kind, value in kinds.items() if isinstance(column.type, kind))


def is_kept(row: Row, rows: Collection[Row]) -> bool:
    """Whether a row is among those of today, in the columns that it had."""
    return any(
        all(now[name] == value for name, value in row.items() if name in now and name not in WRITTEN_ANEW)
        for now in rows
    )


def test_rows_of_every_version_are_there_after_every_migration(app: Flask) -> None:
    written: Written = []
    before: dict[str, str] = {}
    for number, revision in enumerate(revisions(), FIRST):
        upgrade(revision=revision)
        with db.engine.begin() as connection:
            now = shapes(connection)
            if changed := [name for name in now if now[name] != before.get(name)]:
                written += a_row_in_each(connection, changed, number)
        before = now
        if revision == SEALED:
            put_back(ROWS)
    assert differences() == []
    metadata = MetaData()
    with db.engine.connect() as connection:
        metadata.reflect(connection)
        rows = {name: connection.execute(select(table)).mappings() for name, table in metadata.tables.items()}
        today = {name: [dict(row) for row in found] for name, found in rows.items()}
    assert [(name, row) for name, row in written if not is_kept(row, today[name])] == []
    with reading() as session:
        assert schema_db.missing(session) == []
    stored = {each.row.name: each for each in configs.search()}
    assert all(stored[name].is_usable for name in NAMES)
