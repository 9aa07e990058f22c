"""Chapters of the secret story: an API token, the configurations API, what can be looked at, misuse, commands."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.live_server import Answer, Browser, environment_for
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer
from tests.secret_canaries import KEYS, TYPED
from tests.secret_encodings import CHALLENGE, SPEAKABLE, USERNAME
from tests.secret_scanner import Piece

API: Final = "/api/settings/smtp"
STREAM: Final = "application/x-ndjson"
CONFIGS: Final = f"{API}/configs"
_TOKEN: Final = re.compile(r'id="token"[^>]*>(sealpost_[\w-]+)<')


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


BEARER: Final = bearer(KEYS["ADMIN_TOKEN"])


def as_bytes(body: object) -> bytes:
    return json.dumps(body).encode()


def patch(script: Browser, target: str, body: object, token: str) -> Answer:
    return script.send("PATCH", target, as_bytes(body), bearer(token) | {"Content-Type": "application/json"})


def make_token(admin: Browser) -> str:
    """Make an API token in the page, the one answer that says it, after a refusal and before another look."""
    page = "/account/tokens"
    assert admin.post_form(page, {"name": "", "days": "90"}).status == 422
    answer = admin.post_form(page, {"name": "deploy script", "days": "90", "scope_admin": "1"})
    assert answer.status == 201
    found = _TOKEN.search(answer.text)
    assert found
    assert "deploy script" in admin.get(page).text
    return found[1]


def use_configs_api(script: Browser, token: str, server: Mapping[str, Any], refused_password: str) -> None:
    """Create another configuration, refused at first, change it, list, switch and look."""
    refused = {**server, "name": "Backup", "smtp_password": refused_password, "smtp_port": 0}
    assert script.post_json(CONFIGS, as_bytes(refused), **bearer(token)).status == 422
    created = script.post_json(CONFIGS, as_bytes({**server, "name": "Backup"}), **bearer(token))
    assert created.status == 201
    one = f"{CONFIGS}/{json.loads(created.body)['data']['id']}"
    assert patch(script, one, {"smtp_port": 0, "smtp_password": refused_password}, token).status == 422
    assert patch(script, one, {"from_name": "Shop", "smtp_password": server["smtp_password"]}, token).status == 200
    assert patch(script, one, {"version": 1, "smtp_password": refused_password}, token).status == 409
    for target in (one, CONFIGS, f"{CONFIGS}?q=Backup", API):
        assert script.get(target, **bearer(token)).status == 200
    assert script.send("POST", f"{one}/test", headers=bearer(token)).status == 200
    for switch in ("activate", "deactivate"):
        assert script.send("POST", f"{one}/{switch}", headers=bearer(token)).status == 200
    assert script.send("POST", f"{CONFIGS}/1/activate", headers=bearer(token)).status == 200


def use_alerts(admin: Browser) -> None:
    """Add a channel, change it, refused and then as it stays, test it, and look at it."""
    alerts, url = "/settings/alerts", f"http://127.0.0.1:9/{TYPED['URL of an alert channel']}"
    secrets = {"url_secret": url, "secret": TYPED["signing secret of an alert channel"]}
    assert admin.post_form(f"{alerts}/new/webhook", {**secrets, "name": "x" * 99}).status == 422
    assert admin.post_form(f"{alerts}/new/webhook", secrets).status == 303
    assert admin.post_form(f"{alerts}/1", {**secrets, "version": "7"}).status == 409
    assert admin.post_form(f"{alerts}/1/test", {}).status == 303
    for page in (alerts, f"{alerts}/1", "/settings/audit"):
        assert admin.get(page).status == 200


def revoke_token(admin: Browser, script: Browser, token: str) -> None:
    page = "/settings/tokens/1/revoke"
    assert admin.get(page).status == 200
    assert admin.post_form(page, {}).status == 303
    assert "Revoked" in admin.get("/settings/tokens").text
    assert script.get(API, **bearer(token)).status == 401


def look_around(admin: Browser) -> None:
    """Everything that an administrator can look at."""
    pages = ("/settings/smtp", "/settings/smtp/1", "/settings/smtp/1/deactivate", "/settings/smtp/1/delete")
    for page in (
        *pages,
        "/settings/smtp/new?copy=1",
        "/account/tokens",
        "/settings/tokens",
        "/settings/audit",
        CONFIGS,
    ):
        assert admin.get(page).status == 200, page
    assert "token_created" in admin.get("/settings/audit.csv").text


def misuse_the_api(script: Browser) -> None:
    """Secrets where none belongs."""
    misplaced, unknown = TYPED["secret in a wrong field"], TYPED["secret in an unknown key"]
    fields = ("smtp_server", "smtp_port", "from_email", "use_tls", "helo_hostname", "timeout_seconds", "version")
    bodies: list[Any] = [{field: misplaced} for field in (*fields, "auth_method", "reply_to", "remove_password")]
    bodies += [{"client_certificate": misplaced}, {"client_key": misplaced}, {"client_key": [misplaced]}]
    bodies += [{"smtp_password": [misplaced]}, {"smtp_password": {misplaced: misplaced}}]
    bodies += [{"password": unknown}, {unknown: 1}, {"smtp_passwort": {"value": unknown}}]
    for body in bodies:
        for path in (API, f"{API}/test", CONFIGS):
            assert script.post_json(path, as_bytes(body), **BEARER).status == 422
        assert patch(script, f"{CONFIGS}/1", body, KEYS["ADMIN_TOKEN"]).status == 422
    malformed = TYPED["secret in malformed JSON"]
    for text in (
        f'{{"smtp_password": "{malformed}"',
        f'{{"smtp_password": "{malformed}", "smtp_password": "{malformed}"}}',
        f'["{malformed}"]',
        f'"{malformed}"',
    ):
        assert script.post_json(API, text.encode(), **BEARER).status == 400
    kind = {"Content-Type": "text/plain"}
    assert script.send("POST", API, as_bytes({"smtp_password": malformed}), BEARER | kind).status == 415
    query = TYPED["secret in a query"]
    assert script.get(f"{API}?token={query}&password={query}").status == 401
    assert script.get(f"{API}?smtp_password={query}", **BEARER).status == 200
    assert script.get(f"/nowhere?password={query}").status == 404
    assert script.get(f"/reset-password?token={query}%00").status == 303
    assert b"400" in script.say(f"GET /nowhere?password={query} twice HTTP/1.1\r\n\r\n".encode())
    assert script.get(API, Authorization=f"Bearer {TYPED['wrong bearer token']}").status == 401


class CommandLine:
    """Runs commands on the story's database and keeps all that they print."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.pieces: list[Piece] = []
        self._folder = folder
        self._variables = {"BASE_URL": f"http://127.0.0.1:{variables['PORT']}", **variables}

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints on standard output when it ends with this exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", *words],
            cwd=self._folder,
            env=environment_for(self._folder, **self._variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        self.pieces.append(Piece("command", f"flask {' '.join(words)}", done.stdout + done.stderr))
        assert done.returncode == code, (words, done.stderr.decode())
        return done.stdout.decode()

    def answer(self, asked_for: str, reply: Callable[[str], str], *words: str) -> None:
        """Run a command that asks for something on standard error, and reply to what it has said until then."""
        with subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "app", *words],
            cwd=self._folder,
            env=environment_for(self._folder, **self._variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stderr
            said = ""
            while asked_for not in said and (more := running.stderr.read(1)):
                said += more
            assert asked_for in said, said
            out, err = running.communicate(reply(said) + "\n")
        self.pieces.append(Piece("command", f"flask {' '.join(words)}", f"{out}{said}{err}".encode()))
        assert running.returncode == 0, (words, err)


def echo_cram_md5(connection: Any) -> None:
    connection.send(b"334 " + SPEAKABLE["base64, first alignment"](CHALLENGE.decode()) + b"\r\n")
    connection.send(b"535 5.7.8 not " + connection.line().strip() + b"\r\n")


def fallback(relay: RecordingServer) -> dict[str, str]:
    return {
        "EMAIL_HOST": relay.host,
        "EMAIL_PORT": str(relay.port),
        "EMAIL_USE_TLS": "false",
        "EMAIL_HOST_USER": "relay",
        "DEFAULT_FROM_EMAIL": "noreply@example.com",
    }


def form_for(server: RecordingServer | ScriptedServer, password: str, **fields: str) -> dict[str, str]:
    place = {"smtp_server": server.host, "smtp_port": str(server.port), "timeout_seconds": "10", "is_active": "1"}
    place |= {"name": "Primary", "failover": "1"}
    login = {"smtp_username": USERNAME, "smtp_password": password}
    return {**place, **login, "from_email": "noreply@example.com", **fields}


def json_for(server: RecordingServer | ScriptedServer, password: str, *, use_ssl: bool) -> dict[str, Any]:
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "use_ssl": use_ssl}
    return {**place, "smtp_username": USERNAME, "smtp_password": password, "from_email": "noreply@example.com"}
