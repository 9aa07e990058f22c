"""Large bodies, straight to gunicorn: read once it is known who sends them, and in the way of nobody else."""

import contextlib
import json
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from app import create_app
from blueprints import large_body
from services.accounts import api_tokens
from tests.live_server import DATABASE, LiveServer, environment_for, gunicorn, is_served
from tests.loopback import free_port
from tests.patience import PATIENCE, stretched, wait_until
from tests.running import ROOT
from tests.visitors import make_alice

HEAD: Final = b"POST /api/messages/send-email HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WHOLE: Final = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SECONDS: Final = 5.0
MAIL: Final = json.dumps(
    {
        "to": "jane@example.com",
        "subject": "Large",
        "text": "See there.",
        "attachments": [{"filename": "large.bin", "content": b64encode(bytes(25 * 1024 * 1024)).decode()}],
    }
).encode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[tuple[LiveServer, bytes]]:
    """A gunicorn as documented, and the header of a token that may send."""
    folder, port = tmp_path_factory.mktemp("large"), free_port()
    (folder / DATABASE).write_bytes(migrated_database.read_bytes())
    base = f"http://127.0.0.1:{port}"
    environment = environment_for(folder, PORT=str(port), BASE_URL=base, MAIL_SENDERS="0")
    with create_app(environment, instance_path=folder).app_context():
        token, _ = api_tokens.create(make_alice().id, "shop", scopes=["send"])
    command = gunicorn(port, "--config", str(ROOT / "gunicorn.conf.py"))
    with LiveServer(command, environment, folder, port) as running:
        wait_until(lambda: is_served(port))
        yield running, f"Authorization: Bearer {token}\r\n".encode()


def connected(server: LiveServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


def answer(server: LiveServer, *pieces: bytes) -> bytes:
    """What is said to these pieces, until the server hangs up."""
    with connected(server) as connection:
        with contextlib.suppress(BrokenPipeError):  # it has answered before it heard all
            for piece in pieces:
                connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def length(octets: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % octets


def chunked(body: bytes, size: int = 1_000_000) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_mail_with_25_mb_is_taken_by_its_length_and_in_chunks(served: tuple[LiveServer, bytes]) -> None:
    server, token = served
    assert b"HTTP/1.1 202 " in answer(server, HEAD + token + length(len(MAIL)), MAIL)
    assert b"HTTP/1.1 202 " in answer(server, HEAD + token + b"Transfer-Encoding: chunked\r\n\r\n", chunked(MAIL))


def test_a_client_may_wait_for_the_go_ahead(served: tuple[LiveServer, bytes]) -> None:
    server, token = served
    with connected(server) as connection, connection.makefile("rb") as said:
        connection.sendall(HEAD + token + b"Expect: 100-continue\r\n" + length(len(MAIL)))
        assert said.readline() == b"HTTP/1.1 100 Continue\r\n"
        connection.sendall(MAIL)
        assert b"HTTP/1.1 202 " in said.read()


@pytest.mark.parametrize("token", [b"", b"Authorization: Bearer sealpost_wrong\r\n"], ids=["nobody", "wrong token"])
def test_who_may_not_send_is_answered_before_the_body_comes(served: tuple[LiveServer, bytes], token: bytes) -> None:
    said = answer(served[0], HEAD + token + length(30_000_000) + MAIL[:1000])
    assert said.startswith(b"HTTP/1.1 401 ")
    in_chunks = HEAD + token + b"Transfer-Encoding: chunked\r\n\r\n" + b"fffff\r\n" + MAIL[:1000]
    assert answer(served[0], in_chunks).startswith(b"HTTP/1.1 401 ")


def test_one_that_is_too_large_is_refused_by_its_length_or_once_it_is(served: tuple[LiveServer, bytes]) -> None:
    server, token = served
    assert answer(server, HEAD + token + length(large_body.LARGEST + 1)).startswith(b"HTTP/1.1 413 ")
    assert answer(server, HEAD + token + length(10**30)).startswith(b"HTTP/1.1 4")
    with connected(server) as connection:
        connection.sendall(HEAD + token + b"Transfer-Encoding: chunked\r\n\r\n")
        piece, status = chunked(b" " * 1_000_000)[:-5], b""
        for _ in range(100):
            try:
                connection.sendall(piece)
            except ConnectionError:
                break
            connection.settimeout(0.01)
            try:
                status = connection.recv(4096)
                break
            except TimeoutError:
                connection.settimeout(PATIENCE)
        assert status.startswith(b"HTTP/1.1 413 ") or not status  # a reset may overtake the answer


@pytest.mark.parametrize("has_token", [False, True], ids=["without a token", "with one"])
@pytest.mark.parametrize("octets", [130_000, 140_000, 30_000_000])
def test_sixty_that_never_come_stop_nobody_else(served: tuple[LiveServer, bytes], has_token: bool, octets: int) -> None:
    server, token = served
    with ExitStack() as held:
        for _ in range(60):
            head = HEAD + (token if has_token else b"") + length(octets)
            held.enter_context(connected(server)).sendall(head + MAIL[:100])
        began = time.monotonic()
        assert answer(server, WHOLE).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < stretched(SECONDS)


@pytest.mark.parametrize("octets", [1000, 200_000, 900_000])
def test_smaller_ones_at_once_are_all_taken_in_chunks_as_well(served: tuple[LiveServer, bytes], octets: int) -> None:
    server, token = served
    body = json.dumps({"to": "jane@example.com", "subject": "Not so large", "text": "x" * octets}).encode()
    said: list[bytes] = []

    def send() -> None:
        said.append(answer(server, HEAD + token + b"Transfer-Encoding: chunked\r\n\r\n", chunked(body, 50_000))[:13])

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [b"HTTP/1.1 202 "] * 3


def test_several_at_once_are_all_taken_or_told_to_come_again(served: tuple[LiveServer, bytes]) -> None:
    server, token = served
    said: list[bytes] = []

    def send() -> None:
        said.append(answer(server, HEAD + token + length(len(MAIL)), MAIL)[:13])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(said) <= {b"HTTP/1.1 202 ", b"HTTP/1.1 429 "}
    assert b"HTTP/1.1 202 " in said


def test_nothing_of_this_is_a_mistake_of_ours(served: tuple[LiveServer, bytes]) -> None:
    assert b"Traceback" not in served[0].stderr + served[0].stdout
