"""The thread that writes opens: woken by one, never lost by a stop, and not stopped by a database that is away."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

from services.email_service import queue_email
from services.outbox import log, opens
from services.worker import open_writer
from services.worker.open_writer import OpenWriter
from tests.outbox import row_of
from tests.patience import PATIENCE

HEADERS = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}


@pytest.fixture(autouse=True)
def _nothing_noted() -> Iterator[None]:
    opens.forget_all()
    yield
    opens.forget_all()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Let go once for each time that the thread has written, or could not."""
    each, write = threading.Semaphore(0), OpenWriter._write

    def told(writer: OpenWriter) -> bool:
        done = write(writer)
        each.release()
        return done

    monkeypatch.setattr(OpenWriter, "_write", told)
    return each


def opened() -> str:
    """A mail that was opened just now; its id."""
    mail_id = queue_email("jane@example.com", "Hello", "Hello", "<p>Hello</p>", track_opens=True)
    opens.note(row_of(mail_id).pixel or "", HEADERS, "192.0.2.1")
    return mail_id


def count_of(mail_id: str) -> int:
    found = log.story(mail_id).opens
    return found.count if found else 0


def test_an_open_wakes_it(app: Flask, monkeypatch: pytest.MonkeyPatch, written: threading.Semaphore) -> None:
    monkeypatch.setattr(open_writer, "GATHER_SECONDS", 0.01)
    writer = OpenWriter(app).start()
    mail_id = opened()
    assert written.acquire(timeout=PATIENCE)
    assert count_of(mail_id) == 1
    writer.stop()


def test_a_stop_writes_what_was_gathered(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_writer, "GATHER_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr(open_writer, "LAST_SECONDS", PATIENCE)
    writer = OpenWriter(app).start()
    mail_id = opened()
    writer.stop()
    assert count_of(mail_id) == 1


def test_what_could_not_be_written_is_tried_again(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: threading.Semaphore
) -> None:
    monkeypatch.setattr(open_writer, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(open_writer, "AGAIN_SECONDS", 0.01)
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        connection.execute("ALTER TABLE mail_open RENAME TO away")
    writer = OpenWriter(app).start()
    mail_id = queue_email("jane@example.com", "Hello", "Hello", "<p>Hello</p>", track_opens=True)
    opens.note(row_of(mail_id).pixel or "", HEADERS, "192.0.2.1")
    assert written.acquire(timeout=PATIENCE)
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        connection.execute("ALTER TABLE away RENAME TO mail_open")
    while not count_of(mail_id):
        assert written.acquire(timeout=PATIENCE)
    assert count_of(mail_id) == 1
    writer.stop()
