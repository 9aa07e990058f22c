"""The local inbox behind an nginx that nobody told Sealpost of: a stranger sees none of it, the developer all."""

import http.client
import os
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import certificates, nginx_server
from tests.patience import PATIENCE
from tests.running import Client, Sealpost, run_environment

PASSED_ON = "location / {{ proxy_pass http://127.0.0.1:{port}; {more} }}"
AS_README_HAD_IT = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
LIKE_A_BROWSER = 'proxy_http_version 1.1; proxy_set_header Connection "";'  # what newer nginx does by itself
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="nginx has a user of its own where root starts it")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealpost]:
    with Sealpost(run_environment(tmp_path_factory.mktemp("inbox") / "run.db")) as running:
        yield running


def seen_by_a_stranger(port: int, path: str, host: str | None) -> int:
    trust = ssl.create_default_context(cafile=str(certificates.ca_file()))
    with closing(http.client.HTTPSConnection("localhost", port, context=trust, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers={"Host": host} if host else {})
        return connection.getresponse().status


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("", id="nothing but proxy_pass"),
        pytest.param(AS_README_HAD_IT, id="X-Forwarded-For alone"),
        pytest.param("proxy_set_header Via nginx;", id="Via"),
        pytest.param("proxy_set_header Host $host;", id="the visitor's Host"),
        pytest.param(LIKE_A_BROWSER, id="like a browser", marks=needs_root),
        pytest.param(f"{LIKE_A_BROWSER} proxy_set_header Host $host;", id="and with Host", marks=needs_root),
    ],
)
def test_a_stranger_behind_nginx_sees_no_inbox(server: Sealpost, tmp_path: Path, more: str) -> None:
    location = PASSED_ON.format(port=server.environment["PORT"], more=more)
    with nginx_server.in_front_of(location, tmp_path) as front:
        nginx_server.wait_until_listening(front)
        seen = {
            seen_by_a_stranger(front, path, host)
            for path in ("/inbox", "/inbox/1", "/inbox/1/html")
            for host in (None, "127.0.0.1", "localhost:5000", "[::1]", "mail.example.com")
        }
    assert seen == {303}


def test_the_developer_beside_nginx_reads_it_as_before(server: Sealpost) -> None:
    page = Client(server.url).get("/inbox")
    assert "Local inbox" in page.text
    assert "No emails yet" in page.text
