"""The threads that send: woken by a commit, with a place for security mail, started by servers only."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.outbox_db import Priority, State
from services.settings import configs
from services.settings.fields import parse_change
from services.worker import threads
from tests.mails import queued
from tests.outbox import row_of
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, Connection, ScriptedServer, hang
from tests.visitors import mail_through, visit


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def test_a_commit_wakes_the_worker(app: Flask, server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SWEEP_SECONDS", 10 * PATIENCE)  # no sweep finds it first
    started = threads.start(app)
    try:
        queued("ann@example.com")
        assert server.wait_for_mail()
    finally:
        started.stop()


def test_a_stopped_worker_leaves_nothing_half_done_and_takes_nothing_more(app: Flask, server: RecordingServer) -> None:
    started = threads.start(app)
    mail_ids = [queued(f"{number}@example.com") for number in range(30)]
    server.wait_for_mail()
    started.stop()
    late = queued("late@example.com")
    states = [row_of(mail_id).state for mail_id in mail_ids]
    assert set(states) <= {State.SENT, State.QUEUED, State.DEFERRED}
    assert states.count(State.SENT) == len(server.mails)
    assert row_of(late).state == State.QUEUED
    assert not started.is_alive()


def test_security_mail_does_not_wait_behind_mail_that_takes_long(app: Flask, servers: ExitStack) -> None:
    is_busy = threading.Event()

    def hang_busily(connection: Connection) -> None:
        is_busy.set()
        hang(connection)

    script: list[Answer] = [hang, hang_busily, "250 2.1.0 ok"]
    slow = servers.enter_context(ScriptedServer({"MAIL": script}))
    place = {"smtp_server": slow.host, "smtp_port": slow.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change(place), actor="tester")
    for _ in range(9):  # a group for each of the two senders
        queued("ann@example.com")
    started = threads.start(app)
    try:
        assert is_busy.wait(PATIENCE)
        queued("ann@example.com", priority=Priority.SECURITY)
        slow.wait_for("DATA")
    finally:
        servers.close()
        started.stop()
    assert slow.verbs.count("DATA") == 1


def test_an_application_alone_starts_no_thread(environment: dict[str, str], tmp_path: Path) -> None:
    before = threading.active_count()
    visit(create_app(environment, instance_path=tmp_path)).get("/readyz")
    assert threading.active_count() == before
