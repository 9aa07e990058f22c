"""A process that is stopped, or dies, while somebody waits for a mail at a silent server: nothing is lost."""

import json
import os
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pytest

from app import create_app
from services.accounts import api_tokens
from services.settings import configs
from services.settings.fields import parse_change
from tests.live_server import DATABASE, DEVELOPMENT, LiveServer, environment_for, gunicorn, is_served
from tests.loopback import free_port
from tests.patience import PATIENCE, stretched, wait_until, wait_until_ended
from tests.running import ROOT
from tests.scripted_server import ScriptedServer, hang
from tests.visitors import make_alice

pytestmark = pytest.mark.alone
SECONDS: Final = 10.0  # in which a stop has ended, on a machine that does little else
MAIL: Final = {"to": "jane@example.com", "subject": "Now", "text": "Now.", "wait": True}


@pytest.fixture
def silent() -> Iterator[ScriptedServer]:
    with ScriptedServer({"MAIL": hang}) as server:
        yield server


@pytest.fixture(params=["python app.py", "gunicorn"])
def waiting(
    request: pytest.FixtureRequest, tmp_path: Path, migrated_database: Path, silent: ScriptedServer
) -> Iterator[LiveServer]:
    """A server at which somebody waits for a mail, which is under way."""
    port = free_port()
    (tmp_path / DATABASE).write_bytes(migrated_database.read_bytes())
    base = f"http://127.0.0.1:{port}"
    environment = environment_for(tmp_path, PORT=str(port), BASE_URL=base, MAIL_SENDERS="0")
    with create_app(environment, instance_path=tmp_path).app_context():
        token, _ = api_tokens.create(make_alice().id, "shop", scopes=["send"])
        place = {"smtp_server": silent.host, "smtp_port": silent.port, "use_tls": False}
        configs.create(parse_change({"name": "Primary", "is_active": True, "from_email": "a@example.com", **place}))
    conf = ("--config", str(ROOT / "gunicorn.conf.py"), "--workers", "1")
    command = DEVELOPMENT if request.param == "python app.py" else gunicorn(port, *conf)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    call = urllib.request.Request(f"{base}/api/messages/send-email", json.dumps(MAIL).encode(), headers)

    def send() -> None:
        with suppress(OSError, urllib.error.URLError, ValueError):
            urllib.request.urlopen(call, timeout=PATIENCE).read()

    with LiveServer(command, environment, tmp_path, port) as server:
        wait_until(lambda: is_served(port))
        caller = threading.Thread(target=send)
        caller.start()
        silent.wait_for("MAIL")
        yield server
    caller.join()


def state_of(folder: Path) -> list[tuple[str, bool]]:
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        return connection.execute("SELECT state, content IS NOT NULL FROM email_outbox").fetchall()


def test_a_stop_comes_in_time_and_gives_the_mail_back(waiting: LiveServer) -> None:
    began = time.monotonic()
    waiting.process.send_signal(signal.SIGTERM)
    wait_until_ended(waiting.process)
    assert time.monotonic() - began < stretched(SECONDS)
    assert state_of(waiting.folder) == [("deferred", True)]
    assert b"Traceback" not in waiting.stderr


def test_a_kill_leaves_the_mail_to_the_queue(waiting: LiveServer) -> None:
    for pid in reversed(waiting.pids):
        signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)
    waiting.process.wait(PATIENCE)
    assert state_of(waiting.folder) == [("transmitting", True)]
