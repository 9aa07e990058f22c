"""`flask smtp personal …` and `flask smtp policy`."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from app import create_app
from services import audit
from services.personal import oversight, policy_changes
from services.personal.oversight import Decision
from services.settings import personal_policy
from tests.services.personal.own_rows import own_row
from tests.visitors import make_bob


def run(app: Flask, *words: str, stdin: str = "") -> Result:
    return app.test_cli_runner().invoke(args=["smtp", *words], input=stdin)


def test_the_list_tells_what_the_page_does_and_nothing_secret(app: Flask) -> None:
    assert "No account has its own server." in run(app, "personal", "list").stdout
    bob = make_bob()
    own_row(bob.id, last_error="Authentication failed", fell_back=2)
    line = run(app, "personal", "list", "--search", "BOB").stdout.splitlines()[1]
    for text in ("bob", "Broken", "smtp.example.com:587", "me@example.com", "Authentication failed"):
        assert text in line
    (told,) = json.loads(run(app, "personal", "list", "--json").stdout)
    assert (told["username"], told["fell_back"], told["decision"]) == ("bob", 2, "own")
    assert not any("password" in name for name in told)


@pytest.mark.parametrize(
    ("word", "decision"), [("disable", Decision.DISABLED), ("global", Decision.GLOBAL), ("enable", Decision.OWN)]
)
def test_a_decision_is_made_by_name_or_address_as_often_as_one_likes(app: Flask, word: str, decision: Decision) -> None:
    bob = make_bob()
    for account in ("BOB", "bob@example.com"):
        result = run(app, "personal", word, account)
        assert (result.exit_code, "bob" in result.stdout) == (0, True)
        assert oversight.get(bob.id).decision is decision
    assert json.loads(run(app, "personal", word, "bob", "--json").stdout)["decision"] == decision
    assert len([event for event in audit.events() if event.action.startswith("own_server")]) == (word != "enable")


def test_a_server_is_deleted_after_asking(app: Flask) -> None:
    bob = make_bob()
    own_row(bob.id)
    assert run(app, "personal", "delete", "bob", stdin="n\n").exit_code == 1
    assert oversight.get(bob.id).host
    assert run(app, "personal", "delete", "bob", "--yes").stdout == "Deleted the server of bob.\n"
    again = run(app, "personal", "delete", "bob", "--yes")
    assert (again.exit_code, again.stderr) == (1, f"Error: {oversight.NO_SERVER}\n")
    assert run(app, "personal", "disable", "nobody").exit_code == 1


def test_the_policy_is_shown_and_changed(app: Flask) -> None:
    assert "allowed:             any" in run(app, "policy").stdout
    words = [
        "--allowed",
        "named",
        "--hosts",
        "smtp.gmail.com,example.com",
        "--fallback",
        "never",
        "--emails-per-day",
        "0",
    ]
    told = json.loads(run(app, "policy", *words, "--json").stdout)
    assert (told["hosts"], told["fallback"], told["emails_per_day"]) == (["smtp.gmail.com", "example.com"], "never", 0)
    assert personal_policy.current().version == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--allowed", "all"], 2),
        (["--emails-per-day", "-1"], 2),
        (["--hosts", "*.example.com"], 1),
        (["--allowed", "named"], 1),
    ],
)
def test_what_is_refused_changes_nothing(app: Flask, words: list[str], code: int) -> None:
    result = run(app, "policy", *words)
    assert result.exit_code == code
    assert personal_policy.current().version == 0


def test_what_the_environment_fixes_is_marked_and_refused(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app(environment | {"PERSONAL_SMTP": "off"}, instance_path=tmp_path)
    assert "allowed:             off  (fixed by PERSONAL_SMTP)" in run(app, "policy").stdout
    refused = run(app, "policy", "--allowed", "any")
    assert (refused.exit_code, refused.stderr) == (1, f"Error: allowed: {policy_changes.fixed_by('allowed')}\n")
