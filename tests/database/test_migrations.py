"""The migrations are the only way the schema comes to be, and they make what the models say."""

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from database import schema_db
from database.engine import db, reading, transaction
from database.smtp_db import SmtpConfig
from services.settings import configs
from services.settings.fields import parse_change

SPECIFIED = {
    "id", "smtp_server", "smtp_port", "smtp_username", "smtp_password", "from_email", "from_name",
    "use_tls", "use_ssl", "is_active", "created_at", "updated_at",
}  # fmt: skip


def differences() -> list[object]:
    """Between the schema in the database and that of the models."""
    with db.engine.connect() as connection:
        options = {"render_as_batch": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), db.metadata))


def checks_and_indexes() -> tuple[set[str], set[str]]:
    """Of smtp_config, as the database holds them."""
    with db.engine.connect() as connection:
        query = "SELECT sql FROM sqlite_master WHERE tbl_name = 'smtp_config' AND type = 'index' AND sql IS NOT NULL"
        indexes = set(connection.execute(text(query)).scalars())
    return {str(check["sqltext"]) for check in inspect(db.engine).get_check_constraints("smtp_config")}, indexes


def test_the_migrated_schema_is_that_of_the_models(app: Flask) -> None:
    assert differences() == []


def test_the_migrations_can_be_undone_and_done_again(app: Flask) -> None:
    downgrade(revision="base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    upgrade()
    assert differences() == []


def test_undoing_the_newest_migration_and_doing_it_again_loses_no_check_and_no_partial_index(app: Flask) -> None:
    before = checks_and_indexes()
    assert (len(before[0]), len(before[1])) == (2, 3)
    downgrade(revision="0001")
    upgrade()
    assert checks_and_indexes() == before
    assert differences() == []


def test_a_database_is_current_with_the_newest_migration_and_none_that_is_unknown(app: Flask) -> None:
    with reading() as session:
        assert schema_db.is_current(session)
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert not schema_db.is_current(session)
        session.execute(text("UPDATE alembic_version SET version_num = '0009'"))
        assert not schema_db.is_current(session)
        session.rollback()


def test_a_row_from_before_names_keeps_its_name_and_is_found_by_it(app: Flask) -> None:
    configs.save(parse_change({"smtp_server": "a.example", "from_email": "a@example.com"}), actor="test")
    downgrade(revision="0001")
    upgrade()
    found = configs.find_by_name("PRIMARY")
    assert found
    assert found.is_usable


def test_the_specified_columns_are_there(app: Flask) -> None:
    assert {column["name"] for column in inspect(db.engine).get_columns("smtp_config")} >= SPECIFIED


def test_the_database_itself_holds_the_partial_indexes(migrated_database: Path) -> None:
    with sqlite3.connect(migrated_database) as connection:
        found = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'smtp_config'")
        indexes = " ".join(str(row[0]) for row in found)
    connection.close()
    assert "(account_id) WHERE is_active" in indexes
    assert "(is_active) WHERE is_active AND account_id IS NULL" in indexes
    assert "(name_key) WHERE account_id IS NULL" in indexes


def test_the_database_refuses_a_second_active_row_in_the_global_scope(app: Flask) -> None:
    first = configs.save(parse_change({"smtp_server": "a.example", "from_email": "a@example.com"}), actor="test")
    with pytest.raises(IntegrityError, match="is_active"), transaction() as session:
        values = {c.name: getattr(first.row, c.name) for c in SmtpConfig.__table__.columns if c.name != "id"}
        session.add(SmtpConfig(**{**values, "name": "Second", "name_key": "second"}))


def test_the_database_refuses_a_second_row_of_the_same_name(app: Flask) -> None:
    first = configs.save(parse_change({"smtp_server": "a.example", "from_email": "a@example.com"}), actor="test")
    with pytest.raises(IntegrityError, match="name_key"), transaction() as session:
        values = {c.name: getattr(first.row, c.name) for c in SmtpConfig.__table__.columns if c.name != "id"}
        session.add(SmtpConfig(**{**values, "is_active": False}))


def test_sqlite_is_durable_and_wipes_what_it_replaces(app: Flask) -> None:
    with db.engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
