"""Requests that come in part, or never, straight to gunicorn: they stop nobody else, and are given up in time.

Each kind to each way of serving with FAULTS=full in the environment; otherwise each to the documented one.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.live_server import DATABASE, LiveServer, gunicorn, is_served, start
from tests.long_run import ALL
from tests.loopback import free_port
from tests.patience import PATIENCE, stretched, wait_until
from tests.running import ROOT

MANY: Final = 60
SECONDS: Final = 10.0
WHOLE: Final = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST: Final = b"POST /login HTTP/1.1\r\nHost: x\r\n"
HALVES: Final = {
    "nothing": b"",
    "half a line": b"GET /heal",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Lon",
    "a head without its end": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    "half a body": POST + b"Content-Length: 100\r\n\r\nlogin=al",
    "no body": POST + b"Content-Length: 100\r\n\r\n",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n40\r\nlogin",
    "no last chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nlogin\r\n",
    "half a trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1",
    "a body that waits for 100": POST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
    "a body that is too large": POST + b"Content-Length: 99999999\r\n\r\nlogin=al",
    "a malformed head": b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    "a bare line feed": b"GET /healthz HTTP/1.1\nHost: x\n",
    "half a request behind a whole one": WHOLE.replace(b"Connection: close\r\n", b"") + b"GET /heal",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00",
}
FEW: Final = ("nothing", "half a head", "half a body", "half a chunk")
OPTIONS: Final = {
    "as documented": ("--config", str(ROOT / "gunicorn.conf.py")),
    "--threads": ("--threads", "2"),
    "--preload": ("--preload", "--worker-class", "gthread", "--threads", "2"),
}


@pytest.fixture(scope="module", params=OPTIONS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Iterator[LiveServer]:
    folder, port = tmp_path_factory.mktemp("half"), free_port()
    (folder / DATABASE).write_bytes(migrated_database.read_bytes())
    with start(gunicorn(port, *OPTIONS[request.param]), folder, PORT=str(port)) as running:
        wait_until(lambda: is_served(port))  # preloaded, it says where it is before it listens there
        yield running


def connected(server: LiveServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


def answer(server: LiveServer, *pieces: bytes) -> bytes:
    """What is said to these pieces, until the server hangs up."""
    with connected(server) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("server", "kind"),
    [(way, kind) for number, way in enumerate(OPTIONS) for kind in (HALVES if ALL or number == 0 else FEW)],
    indirect=["server"],
)
def test_sixty_of_them_stop_nobody_else(server: LiveServer, kind: str) -> None:
    with ExitStack() as held:
        for _ in range(MANY):
            held.enter_context(connected(server)).sendall(HALVES[kind])
        began = time.monotonic()
        assert answer(server, WHOLE).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < stretched(SECONDS)


@pytest.mark.parametrize("kind", FEW)
def test_one_is_given_up_in_time(server: LiveServer, kind: str) -> None:
    said = answer(server, HALVES[kind])  # ends when the server hangs up
    assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
    assert bool(said) is (kind != "nothing")


def test_those_who_send_an_octet_now_and_then_are_given_up_as_well(server: LiveServer) -> None:
    with connected(server) as connection:
        connection.settimeout(0.2)
        said, began = b"", time.monotonic()
        for octet in POST * 1000:
            assert time.monotonic() < began + PATIENCE
            try:
                connection.sendall(bytes([octet]))
                said = connection.recv(100)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            break
    assert not said or said.startswith(b"HTTP/1.1 408 ")  # it may hang up while we speak, which loses what it said


@pytest.mark.parametrize(
    "pieces",
    [
        [WHOLE[:9], WHOLE[9:40], WHOLE[40:]],
        [bytes([octet]) for octet in WHOLE],
        [b"\r\n" + WHOLE],
        [WHOLE.replace(b"Connection: close\r\n", b"") + WHOLE],
        [WHOLE.replace(b"Connection: close\r\n", b"") + WHOLE[:20], WHOLE[20:]],
        [WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")],
    ],
    ids=["in pieces", "octet by octet", "behind an empty line", "two at once", "one and a half", "with a length"],
)
def test_a_request_is_served_however_it_comes(server: LiveServer, pieces: list[bytes]) -> None:
    said = answer(server, *pieces)
    assert said.count(b"HTTP/1.1 200 OK") == b"".join(pieces).count(b"GET ")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"a": 1}', b"Content-Length: 8\r\n"),
        (b'3\r\n{"a\r\n5;x=y\r\n": 1}\r\n0\r\n\r\n', b"Transfer-Encoding: chunked\r\n"),
        (b'8\r\n{"a": 1}\r\n0\r\nX-Sum: 1\r\n\r\n', b"Transfer-Encoding: chunked\r\n"),
    ],
    ids=["with its length", "in chunks", "with a trailer"],
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_body_is_taken_whole(server: LiveServer, body: bytes, fields: bytes, waits: bool) -> None:
    expects = b"Expect: 100-continue\r\n" if waits else b""
    head = b"POST /api/settings/smtp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    with connected(server) as connection, connection.makefile("rb") as said:
        connection.sendall(head + fields + expects + b"\r\n")
        if waits:
            assert said.readline() == b"HTTP/1.1 100 Continue\r\n"
        connection.sendall(body[:5])
        connection.sendall(body[5:])
        assert b"HTTP/1.1 401 " in said.read()


def test_what_is_too_large_is_refused_by_its_length(server: LiveServer) -> None:
    said = answer(server, b"POST /api/settings/smtp HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"x" * 999)
    assert said.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 401 "))


def test_nothing_of_this_is_a_mistake_of_ours(server: LiveServer) -> None:
    assert b"Traceback" not in server.stderr + server.stdout
