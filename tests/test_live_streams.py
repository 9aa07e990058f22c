"""Lists that stay current, under gunicorn: events come while others are served, to few at a time, and end with it."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprints import live
from tests.conftest import ADMIN_TOKEN
from tests.live_server import DATABASE, Browser, LiveServer, gunicorn, start
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.visitors import PASSWORD

THREADS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("live")
    shutil.copy(migrated_database, folder / DATABASE)
    port = free_port()
    command = gunicorn(port, "--threads", str(THREADS))
    with start(command, folder, PORT=str(port), ADMIN_TOKEN=ADMIN_TOKEN, EMAIL_HOST="") as server:
        yield server


class Stream:
    """A connection on which events come."""

    def __init__(self, server: LiveServer, browser: Browser) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        head = f"GET /emails/live HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nCookie: {cookies}\r\n\r\n"
        self._socket.sendall(head.encode())
        self.said = b""

    def read_until(self, part: bytes) -> None:
        while part not in self.said:
            more = self._socket.recv(65536)
            assert more, self.said
            self.said += more

    def read_to_end(self) -> bytes:
        while more := self._socket.recv(65536):
            self.said += more
        self.close()
        return self.said

    def close(self) -> None:
        self._socket.close()


def test_events_come_while_others_are_served_and_all_ends_at_once(server: LiveServer) -> None:
    alice = Browser(server)
    code = server.wait_for_output(r"Set-up code +((?:[A-Z2-9]{5}-?){4})")[1]
    person = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    assert alice.post_form("/setup", {**person, "code": code}).status == 303
    streams = [Stream(server, alice) for _ in range(live.EACH)]
    for stream in streams:
        stream.read_until(b'"order": []')
        assert b"text/event-stream" in stream.said
        assert b"X-Accel-Buffering: no" in stream.said
    one_too_many = Stream(server, alice)
    one_too_many.read_until(b"\r\n\r\n")
    assert b" 204 " in one_too_many.said
    one_too_many.close()
    mail = b'{"to": "jane@example.com", "subject": "Hi", "text": "Hello."}'
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    sent = alice.send("POST", "/api/messages/send-email", mail, headers)
    assert sent.status in (200, 202), sent.text
    for stream in streams:
        stream.read_until(b"j***@example.com")
        assert b"jane@example.com" not in stream.said
    server.process.terminate()
    for stream in streams:
        assert stream.read_to_end().endswith(b"\r\n0\r\n\r\n")  # the end of an answer, and not a cut line
    assert server.process.wait(PATIENCE) == 0
