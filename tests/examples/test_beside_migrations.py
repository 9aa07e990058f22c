"""An application whose tables share Sealpost's database, with migrations of its own by Flask-Migrate."""

import logging.config
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, Integer, Table, create_engine, inspect

from app import create_app
from database import migrating, schema_db
from services.checks import start
from utils.env_reader import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated")  # in the env.py that Flask-Migrate writes


def is_own(_thing: object, name: str, kind: str, _reflected: bool, _compared: object) -> bool:
    return kind != "table" or name == "host_order"


@pytest.fixture
def sealpost(environment: dict[str, str], tmp_path: Path) -> Flask:
    return create_app({**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'shared.db'}"}, instance_path=tmp_path)


def host_of(sealpost: Flask, folder: Path, **options: Any) -> Flask:
    app = Flask("host")
    app.config["SQLALCHEMY_DATABASE_URI"] = sealpost.config["SQLALCHEMY_DATABASE_URI"]
    db = SQLAlchemy(app)
    Table("host_order", db.metadata, Column("id", Integer, primary_key=True))
    Migrate(app, db, directory=str(folder), **options)
    return app


def run(app: Flask, *words: str) -> None:
    told = app.test_cli_runner().invoke(args=["db", *words])
    assert told.exit_code == 0, told.output


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Alembic's own env.py, which the host has, sets it up anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.config, "fileConfig", lambda *_, **__: None)
        yield


def test_with_a_table_of_versions_of_its_own_both_migrate_and_neither_sees_the_other(
    sealpost: Flask, tmp_path: Path
) -> None:
    host = host_of(sealpost, tmp_path / "migrations", version_table="host_version", include_object=is_own)
    with sealpost.app_context():
        migrating.upgrade()
    run(host, "init")
    run(host, "migrate")
    (made,) = (tmp_path / "migrations" / "versions").glob("*.py")
    assert "host_order" in made.read_text()
    assert "drop_table('account')" not in made.read_text()
    run(host, "upgrade")
    run(host, "migrate")
    assert list((tmp_path / "migrations" / "versions").glob("*.py")) == [made]
    with sealpost.app_context():
        start.check()
        migrating.upgrade()
    engine = create_engine(sealpost.config["SQLALCHEMY_DATABASE_URI"])
    assert {"host_order", "host_version", "alembic_version", "email_outbox"} <= set(inspect(engine).get_table_names())
    engine.dispose()


def test_in_one_table_of_versions_sealpost_says_so_instead_of_migrating(sealpost: Flask, tmp_path: Path) -> None:
    host = host_of(sealpost, tmp_path / "migrations", include_object=is_own)
    run(host, "init")
    run(host, "migrate")
    run(host, "upgrade")
    with sealpost.app_context(), pytest.raises(ConfigurationError, match=schema_db.STRANGE[-40:]):
        migrating.upgrade()
    with sealpost.app_context(), pytest.raises(ConfigurationError):
        start.check()
