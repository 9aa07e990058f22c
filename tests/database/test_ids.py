"""An id that was given once is given to no other row, whatever has been deleted."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text

from app import create_app
from database.engine import db, transaction
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.visitors import make_alice
from utils.errors import NotFound


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


def environment_of(url: str) -> dict[str, str]:
    return {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}


@pytest.fixture(params=["sqlite", "postgresql"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    url = f"sqlite:///{tmp_path / 'ids.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    environment = environment_of(url)
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        yield app
        downgrade(revision="base")
        db.engine.dispose()


def make(name: str, host: str) -> StoredConfig:
    return configs.create(parse_change({"name": name, "smtp_server": host, "from_email": "a@example.com"}))


def rows_of(table: str) -> list[dict[str, object]]:
    with db.engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY id")).mappings()]


def without_newer(rows: list[dict[str, object]], older: list[dict[str, object]]) -> list[dict[str, object]]:
    """The rows without the columns that the older schema lacks."""
    assert len(rows) == len(older)
    return [{name: row[name] for name in known} for row, known in zip(rows, older, strict=True)]


def test_the_id_of_a_deleted_configuration_is_given_to_no_other(app: Flask) -> None:
    make("A", "a.example")
    gone = make("B", "b.example")
    configs.delete(gone.row.id)
    assert make("C", "c.example").row.id > gone.row.id


def test_a_stale_change_of_a_deleted_configuration_does_not_rewrite_the_next(app: Flask) -> None:
    gone = make("B", "b.example")
    configs.delete(gone.row.id)
    following = make("C", "c.example")
    with pytest.raises(NotFound):
        configs.update(gone.row.id, parse_change({"version": 1, "from_name": "Stale"}))
    assert configs.get(following.row.id).row.from_name == ""


def test_the_id_of_a_deleted_account_is_given_to_no_other(app: Flask) -> None:
    first = make_alice().id
    with transaction() as session:
        session.execute(text("DELETE FROM account"))
    assert make_alice().id > first


def test_every_table_with_an_id_counts_on(migrated_database: Path) -> None:
    with sqlite3.connect(migrated_database) as connection:
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
        with_id = [
            name for name in tables if not name.startswith("sqlite_") and re.search(r"\bid INTEGER", tables[name])
        ]
    connection.close()
    assert [name for name in with_id if "AUTOINCREMENT" not in tables[name]] == []
    assert {"account", "api_token", "smtp_config", "email_outbox", "email_attempt", "audit_event"} <= set(with_id)


def test_the_migration_keeps_rows_and_what_points_at_them(app: Flask) -> None:
    make_alice()
    make("A", "a.example")
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO reset_token (account_id, token_hash, created_at, expires_at)"
                " SELECT id, 'h', created_at, created_at FROM account"
            )
        )
    tables = ("account", "smtp_config", "reset_token", "audit_event")
    before = {table: rows_of(table) for table in tables}
    downgrade(revision="0009")
    older = {table: rows_of(table) for table in tables}
    assert older == {table: without_newer(before[table], older[table]) for table in tables}
    upgrade()
    assert {table: rows_of(table) for table in tables} == before
    with transaction() as session:
        session.execute(text("DELETE FROM account"))
    assert rows_of("reset_token") == []  # by the foreign key, which still leads there


def test_the_migration_keeps_indexes_checks_and_triggers(tmp_path: Path) -> None:
    environment = environment_of(f"sqlite:///{tmp_path / 'old.db'}")
    with create_app(environment, instance_path=tmp_path).app_context():
        upgrade(revision="0009")
        with transaction() as session:
            session.execute(
                text(
                    "CREATE TRIGGER told AFTER UPDATE ON account BEGIN"
                    " UPDATE account SET last_sign_in_at = NULL WHERE id = new.id; END"
                )
            )
        before = made_by_hand()
        upgrade(revision="0010")
        assert {name: sql for name, sql in made_by_hand().items() if name in before} == before
        with db.engine.connect() as connection:
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
            table = "SELECT sql FROM sqlite_master WHERE name = 'smtp_config'"
            assert "one_mode" in str(connection.execute(text(table)).scalar())


def test_a_row_from_before_that_was_switched_off_is_known_as_active_last(app: Flask) -> None:
    make("Never", "never.example")
    for name in ("First", "Last"):
        configs.create(
            parse_change(
                {
                    "name": name,
                    "smtp_server": f"{name.lower()}.example",
                    "from_email": "a@example.com",
                    "is_active": True,
                }
            )
        )
    configs.save(parse_change({"is_active": False}))
    downgrade(revision="0009")
    upgrade()
    assert configs.save(parse_change({"is_active": True})).row.name == "Last"


def made_by_hand() -> dict[str, str]:
    """Indexes and triggers as the database holds them."""
    query = "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    with db.engine.connect() as connection:
        return {row.name: row.sql for row in connection.execute(text(query))}


def test_ids_that_attempts_and_pins_remember_are_not_given_after_the_migration(tmp_path: Path) -> None:
    environment = environment_of(f"sqlite:///{tmp_path / 'old.db'}")
    with create_app(environment, instance_path=tmp_path).app_context():
        upgrade(revision="0009")
        with transaction() as session:
            session.execute(
                text(
                    "INSERT INTO email_attempt (started_at, ms, kind, recipients, refused, message_id, config_id,"
                    " server, outcome, account_id) VALUES ('2026-01-01', 1, 'direct', '', '[]', '', 7, '', 'accepted', 5)"  # noqa: E501 - SQL
                )
            )
            session.execute(
                text(
                    "INSERT INTO email_outbox (mail_id, message_id, kind, priority, state, recipients, key_id,"
                    " created_at, due_at, expires_at, attempts, uncertain, pinned_to, reason)"
                    " VALUES ('m', '', 'mail', 1, 'uncertain', '[]', '', '2026-01-01', '2026-01-01', '2026-01-01', 1, 1, 'config:9', '')"  # noqa: E501 - SQL
                )
            )
        upgrade()
        assert make("New", "new.example").row.id > 9
        assert make_alice().id > 5
