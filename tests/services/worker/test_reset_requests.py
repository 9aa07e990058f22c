"""Requests for a password reset at work: the worker answers them, when it starts and when one comes."""

import logging
import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from database.engine import reading
from database.reset_request_db import ResetRequest
from services.accounts import password_reset
from services.worker import threads
from services.worker.threads import MailWorker
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.visitors import (
    link_in,
    mail_through,
    make_alice,
)


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def requests() -> list[ResetRequest]:
    with reading() as session:
        return list(session.scalars(select(ResetRequest).order_by(ResetRequest.id)))


@pytest.fixture
def running(app: Flask) -> Iterator[MailWorker]:
    started = threads.start(app)
    yield started
    started.stop()


def test_the_worker_answers_at_once(running: MailWorker, mail_server: RecordingServer) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    assert link_in(mail_server.wait_for_mail()[0])


def test_the_worker_answers_what_waited_before_it_started(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    started = threads.start(app)
    try:
        assert mail_server.wait_for_mail()
    finally:
        started.stop()


def test_a_stopped_worker_leaves_requests_for_the_next_start(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    threads.start(app).stop()
    password_reset.request_reset("alice@example.com")
    assert [row.state for row in requests()] == ["waiting"]
    assert mail_server.mails == []


class LogWaiter(logging.Handler):
    """Waits for the first line of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.put(str(record.msg))

    def wait(self) -> str:
        return self._lines.get(timeout=PATIENCE)


def test_a_failing_pass_is_logged_without_content_and_does_not_end_the_worker(
    app: Flask, mail_server: RecordingServer, tmp_path: Path
) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute("ALTER TABLE reset_request RENAME TO hidden")
    logged = LogWaiter()
    logging.getLogger("services.worker.threads").addHandler(logged)
    started = threads.start(app)
    try:
        line = logged.wait()
        assert "mail_worker_failed" in line
        assert "alice" not in line
        connection.execute("ALTER TABLE hidden RENAME TO reset_request")
        connection.close()
        password_reset.request_reset("nobody@example.com")  # which wakes the worker
        assert mail_server.wait_for_mail()
    finally:
        started.stop()
        logging.getLogger("services.worker.threads").removeHandler(logged)
