"""Chapters of the secret story: an API token, the configurations API, what administrators look at, the commands."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.live_server import Answer, Browser, environment_for
from tests.secret_scanner import Piece

API: Final = "/api/settings/smtp"
CONFIGS: Final = f"{API}/configs"
_TOKEN: Final = re.compile(r'id="token"[^>]*>(sealpost_[\w-]+)<')


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def as_bytes(body: object) -> bytes:
    return json.dumps(body).encode()


def patch(script: Browser, target: str, body: object, token: str) -> Answer:
    return script.send("PATCH", target, as_bytes(body), bearer(token) | {"Content-Type": "application/json"})


def make_token(admin: Browser) -> str:
    """Make an API token in the page, the one answer that says it, after a refusal and before another look."""
    page = "/settings/tokens"
    assert admin.post_form(page, {"name": "", "days": "90"}).status == 422
    answer = admin.post_form(page, {"name": "deploy script", "days": "90"})
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


def revoke_token(admin: Browser, script: Browser, token: str) -> None:
    page = "/settings/tokens/1/revoke"
    assert admin.get(page).status == 200
    assert admin.post_form(page, {}).status == 303
    assert "Revoked" in admin.get("/settings/tokens").text
    assert script.get(API, **bearer(token)).status == 401


def look_around(admin: Browser) -> None:
    """Everything that an administrator can look at."""
    pages = ("/settings/smtp", "/settings/smtp/1", "/settings/smtp/1/deactivate", "/settings/smtp/1/delete")
    for page in (*pages, "/settings/smtp/new?copy=1", "/settings/tokens", "/settings/audit", CONFIGS):
        assert admin.get(page).status == 200, page
    assert "token_created" in admin.get("/settings/audit.csv").text


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
