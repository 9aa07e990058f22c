"""Accounts' own servers that fall silent behind the final dot hold no Celery process that others need."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from celery import Celery
from flask import Flask

from database.engine import db
from database.outbox_claim_db import GROUP
from database.outbox_db import State
from services.accounts import password_reset
from tests.live_server import environment_for
from tests.mails import queued
from tests.outbox import row_of
from tests.own_servers import PLACES, PORT, bring, free_host
from tests.patience import wait_until
from tests.recording_server import RecordingServer
from tests.redis_server import RedisServer
from tests.scripted_server import ScriptedServer, hang
from tests.visitors import mail_through, make_alice, make_bob

PROCESSES: Final = 2
WORKER: Final = (sys.executable, "-m", "celery", "-A", "app:celery", "worker", "--loglevel=WARNING")


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    limits = {"ACCOUNT_EMAILS_PER_MINUTE": "0", "FALLBACK_EMAILS_PER_MINUTE": "0"}
    return {**environment, **mail_through(server), **PLACES, **limits}


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Workers:
    """Processes that run tasks, and the broker that only this test gives hints."""

    def __init__(self, environment: dict[str, str], folder: Path, held: ExitStack) -> None:
        broker = RedisServer()
        broker.start()
        held.callback(broker.stop)
        others = {name: value for name, value in environment.items() if name != "LOCAL_INBOX_PORT"}
        whole = environment_for(folder, **others, CELERY_BROKER_URL=broker.url)
        self._client = Celery(broker=broker.url, set_as_current=False)
        held.callback(self._client.close)
        db.engine.dispose()
        process = subprocess.Popen(
            (*WORKER, "--concurrency", str(PROCESSES)),
            cwd=folder,
            env=whole,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        held.enter_context(process)
        held.callback(os.killpg, process.pid, signal.SIGKILL)  # with those that it forked

    def hint(self, times: int) -> None:
        """As a web process does; the broker keeps it until somebody asks."""
        for _ in range(times):
            self._client.send_task("mail.drain")


def test_one_silent_server_holds_one_process_and_security_mail_goes_though_all_are_held(
    app: Flask, environment: dict[str, str], server: RecordingServer, held: ExitStack, tmp_path: Path
) -> None:
    silent = [held.enter_context(ScriptedServer({"MESSAGE": hang}, host=free_host(), port=PORT)) for _ in range(2)]
    alice, bob = make_alice().id, make_bob().id
    for account, own in zip((alice, bob), silent, strict=True):
        bring(account, own.host, PORT)
    others = [queued("reader@example.net", account_id=alice) for _ in range(3 * GROUP)]
    workers = Workers(environment, tmp_path, held)
    workers.hint(PROCESSES)
    wait_until(lambda: silent[0].messages, "the first account's mail")

    system = queued("reader@example.net")
    workers.hint(3)
    server.wait_for_mail(1)
    wait_until(lambda: row_of(system).state == State.SENT)
    assert len(silent[0].connections) == 1
    assert [row_of(each).state for each in others].count(State.QUEUED) == 2 * GROUP

    queued("reader@example.net", account_id=bob)
    workers.hint(3)
    wait_until(lambda: silent[1].messages, "the second account's mail")
    password_reset.request_reset("alice@example.com")  # of which the broker is told nothing, and there is no sweep
    assert "alice@example.com" in server.wait_for_mail(2)[1].recipients
    assert [len(each.connections) for each in silent] == [1, 1]
