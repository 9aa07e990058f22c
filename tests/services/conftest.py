"""What tests of services share: a mail server that takes everything and remembers it, and a migrated PostgreSQL."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask_migrate import upgrade

from app import create_app
from database.engine import db
from services.delivery.circuit import Circuits
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.recording_server import RecordingServer
from tests.turned_clock import Now
from utils import clock


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def now(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Now:
    """The time, which the test turns."""
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    app.extensions["sealpost_circuits"] = Circuits(turned.seconds)
    return turned


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a migrated database."""
    with postgresql_server.running() as url:
        app = create_app(
            {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url},
            instance_path=tmp_path_factory.mktemp("app"),
        )
        with app.app_context():
            upgrade()
            db.engine.dispose()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def on_either(request: pytest.FixtureRequest, environment: dict[str, str]) -> dict[str, str]:
    """The environment with one database, then with the other."""
    if request.param == "postgresql":
        return environment | {"DATABASE_URL": request.getfixturevalue("postgresql")}
    return environment
