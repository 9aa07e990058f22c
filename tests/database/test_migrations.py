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

from database.engine import db, transaction
from database.smtp_db import SmtpConfig
from services import smtp_configs
from services.smtp_fields import parse_change

SPECIFIED = {
    "id", "smtp_server", "smtp_port", "smtp_username", "smtp_password", "from_email", "from_name",
    "use_tls", "use_ssl", "is_active", "created_at", "updated_at",
}  # fmt: skip


def test_the_migrated_schema_is_that_of_the_models(app: Flask) -> None:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        assert compare_metadata(context, db.metadata) == []


def test_the_migrations_can_be_undone_and_done_again(app: Flask) -> None:
    downgrade(revision="base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    upgrade()
    assert "smtp_config" in inspect(db.engine).get_table_names()


def test_the_specified_columns_are_there(app: Flask) -> None:
    assert {column["name"] for column in inspect(db.engine).get_columns("smtp_config")} >= SPECIFIED


def test_the_database_itself_holds_both_partial_indexes(migrated_database: Path) -> None:
    with sqlite3.connect(migrated_database) as connection:
        found = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'smtp_config'")
        indexes = " ".join(str(row[0]) for row in found)
    connection.close()
    assert "(account_id) WHERE is_active" in indexes
    assert "(is_active) WHERE is_active AND account_id IS NULL" in indexes


def test_the_database_refuses_a_second_active_row_in_the_global_scope(app: Flask) -> None:
    first = smtp_configs.save(parse_change({"smtp_server": "a.example", "from_email": "a@example.com"}), actor="test")
    with pytest.raises(IntegrityError), transaction() as session:
        values = {c.name: getattr(first.row, c.name) for c in SmtpConfig.__table__.columns if c.name != "id"}
        session.add(SmtpConfig(**values))


def test_sqlite_is_durable_and_wipes_what_it_replaces(app: Flask) -> None:
    with db.engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
