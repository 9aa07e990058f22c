"""`flask gateway connect | status`."""

import json

import pytest
from click.testing import Result
from flask import Flask

from services.accounts import api_tokens
from services.gateway import presence
from tests.visitors import make_alice
from utils import clock


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SUBMISSION_LISTEN": "127.0.0.1:2525"}


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["gateway", *words])


def test_the_lines_are_alone_on_standard_output_and_their_token_works(app: Flask) -> None:
    make_alice(is_admin=True)
    result = run(app, "connect", "grafana", "--account", "alice", "--name", "Dashboards")
    lines = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert lines["GF_SMTP_HOST"] == "127.0.0.1:2525"
    known = api_tokens.find_good(lines["GF_SMTP_PASSWORD"])
    assert known and known.name == "Dashboards"
    assert "will not be shown again" in result.stderr
    assert lines["GF_SMTP_PASSWORD"] not in result.stderr


def test_a_script_gets_json(app: Flask) -> None:
    make_alice()
    told = json.loads(run(app, "connect", "other", "--account", "alice@example.com", "--json").stdout)
    assert (told["application"], told["account"], told["sender"]) == ("other", "alice", "alice@example.com")
    assert "SMTP server: 127.0.0.1\nPort: 2525\nEncryption: None" in told["parts"][0]["lines"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sendgrid", "--account", "alice"), "APPLICATION: Choose one of: gitea, nextcloud"),
        (("grafana", "--account", "mallory"), "No such account."),
        (("grafana", "--account", "alice", "--from", "boss@example.com"), "--from: alice may not send"),
        (("grafana", "--account", "alice", "--address", "x"), "--address: The gateway no longer listens there."),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_option(app: Flask, words: tuple[str, ...], said: str) -> None:
    make_alice()
    result = run(app, "connect", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert api_tokens.every() == []


def test_status_tells_whether_it_runs_and_who_sends(app: Flask) -> None:
    make_alice()
    run(app, "connect", "grafana", "--account", "alice")
    silent = run(app, "status")
    assert silent.exit_code == 3
    assert "Start it with: flask gateway run" in silent.stdout
    presence.beat("p", clock.now(), ("127.0.0.1:2525",))
    on = run(app, "status")
    assert on.exit_code == 0
    assert "The gateway is on." in on.stdout
    assert "none:127.0.0.1:2525  127.0.0.1, port 2525" in on.stdout
    assert "waiting for its first email" in on.stdout
    told = json.loads(run(app, "status", "--json").stdout)
    assert (told["state"], told["addresses"][0]["port"], told["applications"][0]["state"]) == (
        "running",
        2525,
        "waiting",
    )
