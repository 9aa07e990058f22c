"""A closed browser tab ends the connection test: the mail server hears the end, and the place is free again."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import ADMIN_TOKEN
from tests.live_server import DATABASE, DEVELOPMENT, Browser, LiveServer, gunicorn, start
from tests.loopback import free_port
from tests.patience import PATIENCE, stretched
from tests.scripted_server import Connection, ScriptedServer, hang

URL: Final = "/api/settings/smtp/test"
SOON: Final = 3.0  # seconds in which the mail server hears that nobody waits any more
AT_ONCE: Final = 2
KINDS: Final = {"step by step": "application/x-ndjson", "in one answer": "application/json"}


@pytest.fixture(scope="module", params=["gunicorn", "development"])
def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("live")
    shutil.copy(migrated_database, folder / DATABASE)
    port = free_port()
    command = gunicorn(port, "--threads", "4") if request.param == "gunicorn" else DEVELOPMENT
    with start(command, folder, PORT=str(port), ADMIN_TOKEN=ADMIN_TOKEN) as server:
        yield server


@pytest.fixture
def silent() -> Iterator[tuple[ScriptedServer, threading.Semaphore]]:
    """A mail server that hangs at EHLO, and what counts the callers that have come so far."""
    callers = threading.Semaphore(0)

    def count(_: Connection) -> None:
        callers.release()

    with ScriptedServer({"EHLO": (count, hang)}) as server:
        yield server, callers


def body_for(port: int) -> bytes:
    fields = {"smtp_server": "127.0.0.1", "smtp_port": port, "from_email": "a@example.com", "use_tls": False}
    return json.dumps({**fields, "use_ssl": False}).encode()


def tab(live: LiveServer, port: int, accept: str) -> socket.socket:
    """A browser's connection on which a test of ``port`` was asked for."""
    body = body_for(port)
    connection = socket.create_connection(("127.0.0.1", live.port), PATIENCE)
    head = [
        f"POST {URL} HTTP/1.1",
        f"Host: 127.0.0.1:{live.port}",
        f"Authorization: Bearer {ADMIN_TOKEN}",
        "Content-Type: application/json",
        f"Accept: {accept}",
        f"Content-Length: {len(body)}",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
    return connection


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_tab_ends_the_test_and_gives_the_place_back(
    live: LiveServer, silent: tuple[ScriptedServer, threading.Semaphore], kind: str
) -> None:
    server, callers = silent
    tabs = [tab(live, server.port, KINDS[kind]) for _ in range(AT_ONCE)]
    for _ in tabs:
        assert callers.acquire(timeout=PATIENCE)
    for opened in tabs:
        opened.close()
    server.wait_until_left(timeout=stretched(SOON))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ADMIN_TOKEN}"}
    answer = Browser(live).send("POST", URL, body_for(free_port()), headers)
    assert answer.status == 422
