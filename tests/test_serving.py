"""gunicorn serves: its processes send queued mail and finish it when they are stopped; a fork shares nothing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from database.engine import db
from database.outbox_db import State
from tests.live_server import Browser, LiveServer, gunicorn, start
from tests.loopback import free_port
from tests.mails import queued
from tests.outbox import row_of
from tests.recording_server import RecordingServer
from tests.running import ROOT
from tests.scripted_server import ScriptedServer, late
from tests.visitors import mail_through


@contextmanager
def serving(app: Flask, environment: dict[str, str], folder: Path, *options: str) -> Iterator[LiveServer]:
    """gunicorn on the database of ``app``, which is not connected meanwhile."""
    db.engine.dispose()
    port = free_port()
    variables = environment | {"PORT": str(port), "BASE_URL": f"http://127.0.0.1:{port}"}
    del variables["LOCAL_INBOX_PORT"]  # which live servers never have
    with start(gunicorn(port, *options), folder, **variables) as server:
        yield server


def test_stopped_while_a_mail_is_under_way_it_finishes_that_and_gives_the_rest_back(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    mail_ids = [queued(f"{number}@example.com") for number in range(20)]
    with ScriptedServer({"EHLO": "250 plain.test", "MESSAGE": late("250 2.0.0 Ok", 0.2)}) as slow:
        place = {"EMAIL_HOST": slow.host, "EMAIL_PORT": str(slow.port), "EMAIL_USE_TLS": "false"}
        with serving(app, environment | place | {"DEFAULT_FROM_EMAIL": "a@example.com"}, tmp_path) as server:
            slow.wait_for("DATA")
    assert server.process.returncode == 0
    assert "Traceback" not in server.stderr.decode()
    rows = [row_of(mail_id) for mail_id in mail_ids]
    sent = [row for row in rows if row.state == State.SENT]
    waiting = [row for row in rows if row.state in (State.QUEUED, State.DEFERRED)]
    assert len(sent) == len(slow.messages) > 0
    assert len(waiting) == len(rows) - len(sent) > 0
    assert {row.attempts for row in waiting} == {0}


def test_preloaded_the_parent_hands_its_work_to_the_first_request_of_a_child(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    with RecordingServer() as mail_server:
        options = ("--preload", "--workers", "2")
        with serving(app, environment | mail_through(mail_server), tmp_path, *options) as server:
            server.wait_for_output("Booting worker")
            threads = {pid: len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in server.pids}
            assert threads[server.process.pid] == 1
            mail_id = queued("jane@example.com")
            assert Browser(server).get("/readyz").status == 200
            mail_server.wait_for_mail()
    assert row_of(mail_id).state == State.SENT
    assert len(mail_server.mails) == 1


def test_its_processes_share_most_of_their_memory(app: Flask, environment: dict[str, str], tmp_path: Path) -> None:
    with serving(app, environment, tmp_path, "--config", str(ROOT / "gunicorn.conf.py")) as server:
        assert Browser(server).get("/readyz").status == 200
        (worker, *_) = set(server.pids) - {server.process.pid}
        sizes = dict(re.findall(r"(\w+): +(\d+) kB", Path(f"/proc/{worker}/smaps_rollup").read_text()))
    assert int(sizes["Shared_Dirty"]) > int(sizes["Private_Dirty"])


@pytest.mark.parametrize("senders", ["0"])
def test_without_senders_the_mail_is_left_to_other_processes(
    app: Flask, environment: dict[str, str], tmp_path: Path, senders: str
) -> None:
    mail_id = queued("jane@example.com")
    with serving(app, environment | {"MAIL_SENDERS": senders}, tmp_path) as server:
        assert Browser(server).get("/readyz").status == 200
    assert row_of(mail_id).state == State.QUEUED
