"""When a session was seen and a token used, while another process writes to the database and does not end."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from flask import Flask

from database import engine
from services.accounts import api_tokens, sessions
from tests.patience import PATIENCE
from tests.turned_clock import Now
from tests.visitors import Visitor, make_alice
from utils import clock

T = TypeVar("T")

FOR_EVER = 10 * PATIENCE
PAGE = "/account"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def elsewhere(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Another process's connection. Whoever waits for what it holds would do so for ever."""
    monkeypatch.setattr(engine, "_BUSY_SECONDS", int(FOR_EVER))
    engine.db.engine.dispose()
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as connection:
        yield connection


def answered(app: Flask, ask: Callable[[], T]) -> T:
    """What is answered, in a thread of its own, so that one that waits does not hold up the test."""
    found: list[T] = []

    def run() -> None:
        with app.app_context():
            found.append(ask())

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    assert found, "it waits for the other process"
    return found[0]


def test_a_page_comes_while_another_process_writes(
    app: Flask, now: Now, admin: Visitor, elsewhere: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    now.turn(120)
    elsewhere.execute("BEGIN IMMEDIATE")
    assert [answered(app, lambda: admin.get(PAGE).status_code) for _ in range(3)] == [200] * 3
    assert given_up(caplog) == 1


def test_a_token_is_taken_while_another_process_writes(
    app: Flask, now: Now, elsewhere: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    text, _ = api_tokens.create(make_alice(is_admin=True).id, "deploy script")
    elsewhere.execute("BEGIN IMMEDIATE")
    assert all(answered(app, lambda: api_tokens.find_good(text)) for _ in range(3))
    assert given_up(caplog) == 1


def test_it_is_tried_again_after_a_minute(app: Flask, now: Now, admin: Visitor, elsewhere: sqlite3.Connection) -> None:
    now.turn(120)
    elsewhere.execute("BEGIN IMMEDIATE")
    answered(app, lambda: admin.get(PAGE))
    elsewhere.execute("ROLLBACK")
    now.turn(59)
    admin.get(PAGE)
    assert seen_ago(now) == 179
    now.turn(1)
    admin.get(PAGE)
    assert seen_ago(now) == 0


def test_what_failed_for_a_session_is_not_tried_for_a_token(
    app: Flask, now: Now, admin: Visitor, elsewhere: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    text, _ = api_tokens.create(1, "deploy script")
    now.turn(120)
    elsewhere.execute("BEGIN IMMEDIATE")
    answered(app, lambda: admin.get(PAGE))
    answered(app, lambda: api_tokens.find_good(text))
    assert given_up(caplog) == 1


def test_whoever_writes_on_the_same_connection_afterwards_waits_as_ever(
    app: Flask, now: Now, admin: Visitor, elsewhere: sqlite3.Connection
) -> None:
    now.turn(120)
    elsewhere.execute("BEGIN IMMEDIATE")
    answered(app, lambda: admin.get(PAGE))
    elsewhere.execute("ROLLBACK")
    with engine.reading() as session:
        assert session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar_one() == FOR_EVER * 1000


def given_up(caplog: pytest.LogCaptureFixture) -> int:
    """How often it was tried in vain."""
    return caplog.text.count("not_noted")


def seen_ago(now: Now) -> float:
    """Seconds since Alice was seen, as far as it was noted."""
    (session,) = sessions.of_account(1)
    return (now() - session.last_seen_at).total_seconds()
