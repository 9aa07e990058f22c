"""What every test may ask for: a fresh application on a migrated database, its client, its people."""

import gc
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade

from app import create_app
from blueprints import live
from services.delivery import pace
from services.smtp import habits, pool
from tests import made_once
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, make_alice, visit
from utils.addresses import is_loopback

APP_KEY = "k3y-f0r-t3sts-QmxyZ1vJ8sWd0aBnL7uRt5eHc"
LONGEST = (
    "test_server_habits.py",
    "test_pages.py",
    "test_no_secrets.py",
    "test_run.py",
    "test_starting.py",
)
GARBAGE_LOOKS = 50_000, 10, 5  # an application of a test is some 40,000 objects
ADMIN_TOKEN = "t0k3n-f0r-t3sts-Xw9vPq2LrM6yKd4Zs8Fh1Jc"


def _stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every look-up and connection that would leave the loopback address."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if not is_loopback(name.partition("%")[0]):
        raise socket.gaierror(socket.EAI_NONAME, "tests stay on this machine")


sys.addaudithook(_stay_on_this_machine)
# A process that a test starts takes a fifth less where one before it could keep what it had compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
gc.disable()  # until what all tests share is there
made_once.share_templates()
made_once.share_addresses()
made_once.share_statements()
made_once.hash_cheaply()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: where several processes share them, none is left alone with one at the end."""
    first = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.name, len(first)))


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make, and more seldom, not among all that is there from the beginning.

    Python's own looks, of which most met the same modules and tests again, were a sixth of what a test took.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_LOOKS)
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing may be skipped: a missing component is a failure there."""
    report = yield
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database as the migrations make it, to be copied for each test."""
    folder = tmp_path_factory.mktemp("database")
    environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": f"sqlite:///{folder / 'empty.db'}"}
    app = create_app(environment, instance_path=folder)
    with app.app_context():
        upgrade()
    with sqlite3.connect(folder / "empty.db") as connection:
        connection.execute("VACUUM")  # no page is left over from the migrations' work
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return folder / "empty.db"


@pytest.fixture
def environment(tmp_path: Path, migrated_database: Path) -> dict[str, str]:
    """The variables that `app` is made from; a test module may override this fixture to change some."""
    shutil.copy(migrated_database, tmp_path / "test.db")
    return {
        "APP_KEY": APP_KEY,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "APP_ENV": "development",
        "BASE_URL": "http://localhost:5000",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'test.db'}",
        "LOCAL_INBOX_PORT": "0",
    }


@pytest.fixture(scope="module")
def module_server() -> Iterator[RecordingServer]:
    """A mail server that takes everything, for all tests of a module."""
    with RecordingServer() as server:
        yield server


@pytest.fixture
def mail_server(module_server: RecordingServer) -> RecordingServer:
    """The module's mail server, as one that has got no mail yet."""
    module_server.mails.clear()
    return module_server


@pytest.fixture(autouse=True, scope="session")
def _streams_end_at_once() -> Iterator[None]:
    """A list that stays current tells what it shows, and ends: a test's visitor reads every answer to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "LIFE", 0.0)
        yield


@pytest.fixture(autouse=True)
def _no_habits_known() -> None:
    """A port that another test's server had tells nothing of the server that has it now."""
    habits.forget_all()
    pace.forget_all()


@pytest.fixture
def app(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    """An application of its own for one test, inside its application context."""
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        yield app
    pool.pool.close()


@pytest.fixture
def client(app: Flask) -> Visitor:
    """Somebody with a fresh browser."""
    return visit(app)


@pytest.fixture
def admin(app: Flask) -> Visitor:
    """Alice, an administrator, signed in."""
    make_alice(is_admin=True)
    visitor = visit(app)
    assert visitor.sign_in().status_code == 303
    return visitor


@pytest.fixture
def bearer() -> dict[str, str]:
    """The header of a script that holds ADMIN_TOKEN."""
    return {"Authorization": f"Bearer {ADMIN_TOKEN}"}
