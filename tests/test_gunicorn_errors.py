"""What gunicorn refuses by itself is JSON under /api/ and a page elsewhere, whichever of its workers serves, with the
headers of every other answer."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.live_server import DATABASE, LiveServer, gunicorn, start
from tests.loopback import free_port
from tests.patience import PATIENCE

LONG = b"a" * 9000


@pytest.fixture(scope="module", params=["sync", "gthread"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_database: object
) -> Iterator[LiveServer]:
    folder, port = tmp_path_factory.mktemp("gunicorn"), free_port()
    (folder / DATABASE).write_bytes(migrated_database.read_bytes())  # type: ignore[attr-defined]
    variables = {"PORT": str(port), "BASE_URL": "https://app.example.com"}
    with start(gunicorn(port, "--worker-class", request.param), folder, **variables) as running:
        yield running


def answer(server: LiveServer, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what is said to these octets."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        said = b""
        while part := connection.recv(65536):
            said += part
            head, found, body = said.partition(b"\r\n\r\n")
            if found and b"content-length: %d\r\n" % len(body) in head.lower() + b"\r\n":
                break
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, body


REFUSED = {
    "a target that is too long": (b"GET %s" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a header that is too long": (b"GET %s HTTP/1.1\r\nHost: x\r\nX: " + LONG + b"\r\n\r\n", 431),
    "too many headers": (b"GET %s HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    "a header without a colon": (b"GET %s HTTP/1.1\r\nHost\r\n\r\n", 400),
    "a space before the colon": (b"GET %s HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "a version that is none": (b"GET %s HTTP/9\r\nHost: x\r\n\r\n", 400),
    "a method that is none": (b"g{}t %s HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two lengths": (b"POST %s HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "a transfer coding that is none": (b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gz\r\n\r\n", 501),
    "a bare line feed": (b"GET %s HTTP/1.1\nHost: x\n\n", 400),
    "an expectation that is none": (b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", 417),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("path", [b"/api/settings/smtp", b"/api/x?y=1", b"http://localhost/api/messages"])
def test_under_api_it_is_json_that_repeats_nothing(server: LiveServer, kind: str, path: bytes) -> None:
    sent, status = REFUSED[kind]
    found, headers, body = answer(server, sent.replace(b"%s", path))
    assert (found, headers["content-type"], headers["cache-control"]) == (status, "application/json", "no-store")
    told = json.loads(body)
    assert (told["status"], set(told)) == ("error", {"status", "message"})
    assert b"aaaa" not in body
    assert b"tea" not in body


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("path", [b"/settings/smtp", b"/settings?next=/api/x", b"/apiary"])
def test_elsewhere_it_is_a_page(server: LiveServer, kind: str, path: bytes) -> None:
    sent, status = REFUSED[kind]
    found, headers, _ = answer(server, sent.replace(b"%s", path))
    assert (found, headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", [b"/settings/smtp", b"/api/settings/smtp"])
def test_it_holds_browsers_to_https_and_to_its_type(server: LiveServer, path: bytes) -> None:
    _, headers, _ = answer(server, REFUSED["two lengths"][0].replace(b"%s", path))
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_request_that_comes_in_pieces_is_known_all_the_same(server: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        for piece in (b"GE", b"T /a", b"pi/x HTTP/1.1\r\n", b"Host : x\r\n\r\n"):
            connection.sendall(piece)
        said = connection.recv(65536)
    assert b"application/json" in said


def test_what_is_well_formed_is_served_as_ever(server: LiveServer) -> None:
    status, headers, _ = answer(server, b"GET /api/settings/smtp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (status, headers["content-type"]) == (401, "application/json")
