"""A signal ends each kind of process within 8 seconds, though a mail server is silent at each step; nothing is lost."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from flask import Flask

from database.engine import db
from database.outbox_db import OutboxMail, State
from services.outbox.reasons import Reason
from tests.live_server import DEVELOPMENT, environment_for, gunicorn, is_served
from tests.loopback import free_port, full_port
from tests.mails import queued
from tests.outbox import row_of
from tests.patience import PATIENCE, slowness, stretched, wait_until, wait_until_ended
from tests.redis_server import RedisServer
from tests.running import ROOT
from tests.scripted_server import ScriptedServer, hang
from tests.silences import STEPS, Silences, mail_through

pytestmark = pytest.mark.alone
SECONDS: Final = 8.0
TOO_SLOW: Final = 2.0  # times as slow as it should be, a machine may not get through what an end takes
UNKNOWN: Final = (State.TRANSMITTING, State.UNCERTAIN)
GROUP: Final = 8
FLASK: Final = (sys.executable, "-m", "flask", "--app", str(ROOT / "app.py"))
CELERY: Final = (sys.executable, "-m", "celery", "-A", "app:celery", "worker", "--loglevel=WARNING")
SENDERS: Final = len(STEPS)
CELERY_STEPS: Final = ("EHLO", "HANDSHAKE", "MESSAGE")  # a process each, which are heavy

KINDS: Final = {
    "make run": DEVELOPMENT,
    "gunicorn": ("--threads", "4"),
    "gunicorn, sync": ("--worker-class", "sync"),
    "gunicorn, preloaded": ("--threads", "4", "--preload"),
    "flask mail worker": (*FLASK, "mail", "worker", "--senders", str(SENDERS)),
    "celery": (*CELERY, "--concurrency", str(len(CELERY_STEPS))),
    "celery, threads": (*CELERY, "--pool", "threads", "--concurrency", str(len(CELERY_STEPS))),
}


@pytest.fixture
def running(app: Flask, environment: dict[str, str], tmp_path: Path) -> Iterator["Running"]:
    with ExitStack() as held:
        yield Running(environment, tmp_path, held)


class Running:
    """Processes on the database of ``app``; what is left of one ends with the test."""

    def __init__(self, environment: dict[str, str], folder: Path, held: ExitStack) -> None:
        self._environment = {name: value for name, value in environment.items() if name != "LOCAL_INBOX_PORT"}
        self._folder = folder
        self._held = held
        self.port = free_port()

    def start(self, kind: str, **variables: str) -> "subprocess.Popen[str]":
        db.engine.dispose()
        place = {"PORT": str(self.port), "BASE_URL": f"http://127.0.0.1:{self.port}", "MAIL_SENDERS": str(SENDERS)}
        if kind.startswith("celery"):
            broker = RedisServer()
            broker.start()
            self._held.callback(broker.stop)
            place["CELERY_BROKER_URL"] = broker.url
        command = KINDS[kind]
        process = subprocess.Popen(
            gunicorn(self.port, *command) if kind.startswith("gunicorn") else command,
            cwd=self._folder,
            env=environment_for(self._folder, **{**self._environment, **place, **variables}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._held.enter_context(process)
        self._held.callback(lambda: print(process.stdout.read() if process.stdout else ""))
        self._held.callback(process.kill)
        if kind.startswith("celery"):
            _hint(self._environment | place)
        return process


def _hint(environment: dict[str, str]) -> None:
    """Tell the broker that there is work, as a web process would; the broker keeps that until somebody asks."""
    program = "from app import celery; celery.tasks['mail.drain'].apply_async()"
    whole = environment_for(Path(environment["DATABASE_URL"].partition("///")[2]).parent, **environment)
    subprocess.run([sys.executable, "-c", program], env=whole, cwd=ROOT, check=True, timeout=PATIENCE)


def seconds_to_end(process: "subprocess.Popen[str]", *signals: signal.Signals) -> float:
    """From the first of these signals, which come one after the other."""
    began = time.monotonic()
    for number in signals:
        process.send_signal(number)
    wait_until_ended(process)
    return time.monotonic() - began


def asking_for_a_test(port: int, server_port: int, bearer: dict[str, str], accept: str) -> socket.socket:
    """A connection on which a test of that server was asked for."""
    fields = {"smtp_server": "127.0.0.1", "smtp_port": server_port, "from_email": "a@example.com"}
    body = json.dumps({**fields, "use_tls": False, "use_ssl": False}).encode()
    headers = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", "Accept": accept, **bearer}
    lines = ["POST /api/settings/smtp/test HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
    return connection


def look(row: OutboxMail) -> tuple[str, int, int]:
    return row.state, row.attempts, row.uncertain


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        *((kind, signal.SIGTERM) for kind in KINDS),
        *((kind, signal.SIGINT) for kind in ("make run", "gunicorn", "flask mail worker", "celery")),
    ],
)
def test_a_signal_ends_it_in_time_at_whatever_step_servers_are_silent(
    running: Running, kind: str, number: signal.Signals
) -> None:
    steps = CELERY_STEPS if kind.startswith("celery") else STEPS
    silences = Silences(steps)
    with silences.server as server:
        mail_ids = [queued(f"{mail}@example.com") for mail in range(GROUP * len(steps))]
        process = running.start(kind, **mail_through(server))
        silences.wait()
        assert seconds_to_end(process, number) < stretched(SECONDS)
        rows = [row_of(mail_id) for mail_id in mail_ids]
    said = process.stdout.read() if process.stdout else ""
    assert "Traceback" not in said
    assert len(server.messages) == 1
    if "stopped_in_midst" in said:  # the machine was so slow that the last resort came first
        assert slowness() > TOO_SLOW
        assert {row.state for row in rows} <= {State.QUEUED, State.DEFERRED, State.LEASED, *UNKNOWN}
        return
    looks = Counter(map(look, rows))
    assert looks.pop((State.UNCERTAIN, 1, 1)) == 1  # the one whose message is out; told, and pinned to its server
    assert set(looks) <= {(State.QUEUED, 0, 0), (State.DEFERRED, 0, 0)}
    assert {row.reason for row in rows if row.state == State.DEFERRED} <= {Reason.GIVEN_BACK}
    assert {row.lease_token for row in rows} == {None}


@pytest.mark.parametrize("kind", ["make run", "gunicorn", "flask mail worker"])
def test_a_second_signal_ends_it_at_once_and_the_next_start_finds_the_mail(running: Running, kind: str) -> None:
    silences = Silences(["MESSAGE"])
    with silences.server as server:
        mail_id = queued("ann@example.com")
        process = running.start(kind, **mail_through(server))
        silences.wait()
        assert seconds_to_end(process, signal.SIGINT, signal.SIGINT) < stretched(SECONDS)
        assert row_of(mail_id).state in UNKNOWN


@pytest.mark.parametrize("kind", ["make run", "gunicorn"])
def test_where_no_answer_comes_to_a_connection_at_all_the_mail_is_given_back(running: Running, kind: str) -> None:
    with full_port() as port:
        mail_id = queued("ann@example.com")
        place = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(port), "EMAIL_USE_TLS": "false"}
        process = running.start(kind, **place, DEFAULT_FROM_EMAIL="shop@example.com")
        wait_until(lambda: row_of(mail_id).lease_token)
        assert seconds_to_end(process, signal.SIGTERM) < stretched(SECONDS)
        row = row_of(mail_id)
    assert row.state in (State.QUEUED, State.DEFERRED)
    assert (row.attempts, row.uncertain, row.lease_token) == (0, 0, None)


@pytest.mark.parametrize("kind", ["make run", "gunicorn", "gunicorn, preloaded"])
@pytest.mark.parametrize("verb", ["GREETING", "RCPT"])
def test_connection_tests_under_way_are_told_and_keep_no_process(
    running: Running, bearer: dict[str, str], kind: str, verb: str
) -> None:
    with ExitStack() as held:
        process = running.start(kind, EMAIL_HOST="", ADMIN_TOKEN=bearer["Authorization"].removeprefix("Bearer "))
        wait_until(lambda: is_served(running.port))
        asking = []
        for accept in ("application/json", "application/x-ndjson"):
            silent = held.enter_context(ScriptedServer({verb: hang}))
            connection = held.enter_context(asking_for_a_test(running.port, silent.port, bearer, accept))
            wait_until(partial(is_reached, silent, verb))
            asking.append((accept, connection))
        assert seconds_to_end(process, signal.SIGTERM) < stretched(SECONDS)
        for accept, connection in asking:
            head, _, body = b"".join(iter(partial(connection.recv, 65536), b"")).partition(b"\r\n\r\n")
            assert b"Sealpost was stopped in the meantime." in body
            if accept == "application/json":
                assert head.startswith(b"HTTP/1.1 503 ")
            assert b"Could not connect" not in body
    assert "Traceback" not in (process.stdout.read() if process.stdout else "")


def is_reached(silent: ScriptedServer, verb: str) -> bool:
    """Whether somebody waits for the answer to that, which does not come."""
    return verb in silent.verbs or (verb == "GREETING" and bool(silent.connections))
