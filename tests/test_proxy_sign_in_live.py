"""Sign-in by a header, under gunicorn behind nginx: by a secret over TCP, by a unix socket; and strangers beside."""

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from flask import Flask

from database.engine import db
from services import audit
from tests import certificates, nginx_server
from tests.live_server import LiveServer, gunicorn, start
from tests.long_run import ALL
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT
from tests.visitors import make_alice, make_bob

SECRET = "pr0xy-s3cret-f0r-tests-Wq8Zr5TnX2kLm7Vb"
DOCUMENT_SAYS = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "single-sign-on.md").read_text(), re.DOTALL)[0]
HEADER = "Remote-User"


@dataclass
class Site:
    """gunicorn, the nginx in front of it, and its unix socket, if it has one."""

    server: LiveServer
    front: int
    unix: Path

    def by_proxy(self) -> socket.socket:
        trust = ssl.create_default_context(cafile=str(certificates.ca_file()))
        return trust.wrap_socket(self.by_tcp(self.front), server_hostname="localhost")

    def by_tcp(self, port: int | None = None) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.server.port), PATIENCE)

    def by_unix(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.unix))
        return connection

    def get(self, way: Callable[[], socket.socket], path: str, **headers: str) -> tuple[int, str, str]:
        """The status, the text and the cookie of a session, if one was begun."""
        with closing(http.client.HTTPConnection("localhost", self.front, timeout=PATIENCE)) as connection:
            connection.sock = way()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            found = re.search(r"__Host-sealpost_session=[^;]+", answer.headers.get("Set-Cookie", ""))
            return answer.status, answer.read().decode(), found[0] if found else ""


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


# With the secret alone only where faults are looked for in full number: a server takes seconds to start.
@pytest.fixture(params=["a secret", "the socket"] if ALL else ["the socket"])
def site(
    request: pytest.FixtureRequest, app: Flask, environment: dict[str, str], tmp_path: Path, held: ExitStack
) -> Iterator[Site]:
    make_alice(is_admin=True)
    make_bob()
    db.engine.dispose()
    port, front = free_port(), free_port()
    folder = Path(held.enter_context(TemporaryDirectory(prefix="proxy-")))
    folder.chmod(0o755)  # nginx's workers are somebody else's
    unix = folder / "http.sock"
    is_by_secret = request.param == "a secret"
    lines = DOCUMENT_SAYS.replace("$authenticated_user", "alice").replace("the secret", SECRET)
    behind = f"http://127.0.0.1:{port}" if is_by_secret else f"http://unix:{unix}"
    variables = {name: value for name, value in environment.items() if name not in ("LOCAL_INBOX_PORT", "BASE_URL")}
    variables |= {"PROXY_USER_SECRET": SECRET} if is_by_secret else {"PROXY_USER_BY_SOCKET": "true"}
    variables |= {"APP_ENV": "production", "PORT": str(port), "BASE_URL": f"https://localhost:{front}"}
    variables |= {"TRUSTED_PROXIES": "1", "PROXY_USER_HEADER": HEADER}
    with (
        nginx_server.in_front_of(f"location / {{ proxy_pass {behind}; {lines} }}", tmp_path, front),
        start(gunicorn(port, "--bind", f"unix:{unix}"), tmp_path, **variables) as server,
    ):
        nginx_server.wait_until_listening(front)
        yield Site(server, front, unix)


def test_the_proxy_signs_people_in_and_nobody_else_does(site: Site, request: pytest.FixtureRequest) -> None:
    status, _, session = site.get(site.by_proxy, "/login", **{HEADER: "bob"})  # nginx says who it is
    assert (status, bool(session)) == (303, True)
    assert "Signed in as alice" in site.get(site.by_proxy, "/account", Cookie=session)[1]

    status, page, none = site.get(site.by_tcp, "/login", **{HEADER: "alice"})
    assert (status, none) == (200, "") and 'name="password"' in page
    assert site.get(site.by_tcp, "/account", Cookie=session)[0] == 303
    assert site.get(site.by_tcp, "/account", Cookie=session, **{HEADER: "alice"})[0] == 303
    # A name with underscores is the same one to WSGI; gunicorn takes none.
    underscored = {"Remote_User": "alice", "Sealpost_Proxy_Secret": SECRET}
    for way in (site.by_tcp, site.by_unix):
        assert site.get(way, "/login", **underscored)[2] == ""
    assert bool(site.get(site.by_unix, "/login", **{HEADER: "alice"})[2]) is ("socket" in request.node.name)

    site.server.wait_for_output(f'reason={HEADER} not sent by the proxy|"reason": ?"{HEADER} not sent by the proxy')
    assert ("refused", HEADER) in [(event.action, event.details) for event in audit.events()]
