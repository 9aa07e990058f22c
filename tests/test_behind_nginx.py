"""Behind nginx with TLS, below a path, served by gunicorn: a browser signs in and works, however nginx passes paths."""

import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from flask import Flask

from database.engine import db
from tests import certificates, nginx_server
from tests.live_server import gunicorn, start
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT
from tests.visitors import PASSWORD, make_alice


@dataclass
class Surfer:
    """A browser without scripts that keeps cookies by their path, and Secure ones to TLS."""

    base: str
    cookies: dict[str, tuple[str, str]] = field(default_factory=dict)

    def ask(
        self, method: str, url: str, fields: dict[str, str] | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        parts = urlsplit(urljoin(self.base, url))
        trust = ssl.create_default_context(cafile=str(certificates.ca_file()))
        sent = [f"{name}={value}" for name, (value, path) in self.cookies.items() if parts.path.startswith(path)]
        headers = {"Cookie": "; ".join(sent), "Origin": f"{parts.scheme}://{parts.netloc}"}
        if fields:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        with closing(
            http.client.HTTPSConnection("localhost", parts.port, context=trust, timeout=PATIENCE)
        ) as connection:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, urlencode(fields) if fields else None, headers)
            response = connection.getresponse()
            text = response.read().decode()
        for line in response.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = (value, re.search(r"Path=([^;]+)", line)[1])  # type: ignore[index]
        return response.status, text, response.headers


PASSED_ON = "proxy_pass http://127.0.0.1:{port};"
TAKEN_OFF = "proxy_pass http://127.0.0.1:{port}/;"
DOCUMENT_SAYS = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "running.md").read_text(), re.DOTALL)[0]
OWN_HOST = PASSED_ON + " proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto $scheme;"


@pytest.fixture(
    params=[
        f"location /mail/ {{ {PASSED_ON} }}",
        f"location /mail/ {{ {TAKEN_OFF} }}",
        f"location /mail/ {{ {OWN_HOST} }}",
        DOCUMENT_SAYS.replace("location /", "location /mail/").replace("127.0.0.1:8000", "127.0.0.1:{port}"),
    ],
    ids=["passed on", "taken off", "with Host", "as docs/running.md says"],
)
def surfer(request: pytest.FixtureRequest, app: Flask, environment: dict[str, str], tmp_path: Path) -> Iterator[Surfer]:
    make_alice(is_admin=True)
    db.engine.dispose()
    port, front = free_port(), free_port()
    base = f"https://localhost:{front}/mail"
    variables = {name: value for name, value in environment.items() if name not in ("LOCAL_INBOX_PORT", "BASE_URL")}
    variables |= {"APP_ENV": "production", "PORT": str(port), "BASE_URL": base, "TRUSTED_PROXIES": "1"}
    location = request.param.replace("{port}", str(port))
    with (
        nginx_server.in_front_of(location, tmp_path, front),
        start(gunicorn(port), tmp_path, **variables),
    ):
        nginx_server.wait_until_listening(front)
        yield Surfer(f"{base}/")


def test_a_browser_signs_in_saves_a_form_and_signs_out(surfer: Surfer) -> None:
    status, _, headers = surfer.ask("GET", "settings/smtp")
    assert (status, headers["Location"]) == (303, "/mail/login?next=/mail/settings/smtp")
    _, page, _ = surfer.ask("GET", headers["Location"])
    assert surfer.ask("GET", re.search(r'href="(/[^"]+sealpost\.css[^"]*)"', page)[1])[0] == 200  # type: ignore[index]
    status, page, headers = surfer.ask("POST", "login", filled_in(page))
    assert (status, headers["Location"]) == (303, "/mail/settings/smtp")
    names = ("session", "pages", "device")
    assert set(surfer.cookies) == {f"__Secure-sealpost_{name}" for name in names}
    assert {path for _, path in surfer.cookies.values()} == {"/mail"}
    status, page, _ = surfer.ask("GET", headers["Location"])
    assert status == 200
    status, _, headers = surfer.ask("POST", "logout", {"csrf_token": token_of(page)})
    assert (status, headers["Location"].startswith("/mail/")) == (303, True)


def filled_in(page: str) -> dict[str, str]:
    following = re.search(r'name="next" value="([^"]*)"', page)
    wanted = {"next": following[1]} if following else {}
    return {"login": "alice", "password": PASSWORD, "remember": "1", "csrf_token": token_of(page), **wanted}


def token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found, page
    return found[1]
