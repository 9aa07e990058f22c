"""`flask smtp activate` asks before mail is made to go through a server that is down, or that nobody has tried."""

import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from click.testing import Result
from flask import Flask

from blueprints.cli import smtp_activate
from services.checks import connection_test, noting
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


def make(port: int, *, is_tested: bool = False) -> StoredConfig:
    change = {"name": "Backup", "smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False}
    stored = configs.create(parse_change({**change, "from_email": "a@example.com"}))
    if is_tested:
        noting.note_test(stored.settings, connection_test.run(stored.settings), stored.id)
    return stored


def run(app: Flask, *arguments: str, answers: str = "") -> Result:
    return app.test_cli_runner().invoke(args=["smtp", "activate", "Backup", *arguments], input=answers)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_activate, "is_terminal", lambda: True)


def is_active(stored: StoredConfig) -> bool:
    return configs.get(stored.id).is_active


def test_a_server_that_works_is_activated_without_a_question(app: Flask, server: RecordingServer) -> None:
    stored = make(server.port, is_tested=True)
    assert (run(app).exit_code, is_active(stored)) == (0, True)


@pytest.mark.parametrize("is_tested", [False, True], ids=["unproven", "down"])
def test_without_a_terminal_it_refuses_and_names_the_option(app: Flask, is_tested: bool) -> None:
    stored = make(free_port(), is_tested=is_tested)
    result = run(app)
    assert (result.exit_code, is_active(stored)) == (1, False)
    assert "--yes" in result.stderr
    assert ("Down since" if is_tested else "These settings have not been tested yet.") in result.stderr
    assert (run(app, "--yes").exit_code, is_active(stored)) == (0, True)


def test_one_that_is_active_already_raises_no_question(app: Flask) -> None:
    make(free_port())
    run(app, "--yes")
    assert run(app).exit_code == 0


@pytest.mark.usefixtures("terminal")
def test_it_offers_a_test_and_goes_on_once_that_passes(app: Flask, server: RecordingServer) -> None:
    stored = make(server.port)
    result = run(app, answers="\n")
    assert (result.exit_code, is_active(stored)) == (0, True)
    assert "Connection successful" in result.stderr
    assert result.stdout == f"Mail goes through Backup (127.0.0.1:{server.port}).\n"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("answers", "done"),
    [("test\nn\n", False), ("test\ny\n", True), ("activate\n", True), ("cancel\n", False)],
)
def test_after_a_test_that_fails_it_asks_once_more(app: Flask, answers: str, done: bool) -> None:
    stored = make(free_port())
    result = run(app, answers=answers)
    assert (result.exit_code == 0, is_active(stored)) == (done, done)
    assert ("Could not connect to server" in result.stderr) is answers.startswith("test")


def test_the_api_does_as_told(app: Flask, bearer: dict[str, str]) -> None:
    stored = make(free_port())
    answer = app.test_client().post(f"/api/settings/smtp/configs/{stored.id}/activate", headers=bearer, json={})
    assert (answer.status_code, is_active(stored)) == (200, True)


def test_at_a_real_terminal_the_question_is_asked(app: Flask, environment: dict[str, str], tmp_path: Path) -> None:
    stored = make(free_port())
    leader, follower = pty.openpty()
    command = [str(Path(sys.executable).parent / "flask"), "smtp", "activate", "Backup"]
    surroundings = {**os.environ, **environment, "FLASK_APP": "app"}
    with Popen(command, stdin=follower, stdout=follower, stderr=follower, env=surroundings) as asked:
        os.write(leader, b"cancel\n")
        assert asked.wait(PATIENCE) == 1
    os.close(follower)
    assert b"Test it first?" in os.read(leader, 65536)
    os.close(leader)
    assert not is_active(stored)
