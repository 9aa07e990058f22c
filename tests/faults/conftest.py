"""Where faults are made: an application on either database, in a folder of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest
from flask_migrate import upgrade

from app import create_app
from database.engine import db
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.faults.child import Place
from tests.faults.cutter import Cutter
from tests.faults.sabotage import TurnClock
from tests.patience import pace
from utils import clock

_numbers = count(1)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a migrated database that nobody is connected to, to be copied for each test."""
    with postgresql_server.running() as url:
        environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url}
        with create_app(environment, instance_path=tmp_path_factory.mktemp("instance")).app_context():
            upgrade()
            db.engine.dispose()
        yield url


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Place]:
    """An application on an empty database, in whose context the test runs."""
    if request.param == "PostgreSQL":
        environment["DATABASE_URL"] = _copy(request.getfixturevalue("postgresql"))
    folder = tmp_path / "instance"
    folder.mkdir()
    with create_app(environment, instance_path=folder).app_context():
        yield Place(environment=environment, folder=folder, pace=pace(lease=2))
        db.engine.dispose()


@pytest.fixture
def cutter() -> Iterator[Cutter]:
    """A server that takes every mail."""
    with Cutter(pipelining=True, chunking=True) as cutter:
        yield cutter


@pytest.fixture
def turn_clock(monkeypatch: pytest.MonkeyPatch) -> TurnClock:
    """Lets an hour pass."""
    hours = 0
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(hours=hours))

    def turn() -> None:
        nonlocal hours
        hours += 1

    return turn


def _copy(url: str) -> str:
    server, _, original = url.rpartition("/")
    name = f"faults_{next(_numbers)}"
    with psycopg.connect(f"{server}/template1", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {original}")
    return f"{server}/{name}"
