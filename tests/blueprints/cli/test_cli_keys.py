"""`flask keys status` and `rotate`: what an operator reads before and after a change of `APP_KEY`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from services.settings import configs
from services.settings.fields import parse_change
from tests.conftest import APP_KEY
from tests.mails import queued

NEW_KEY = "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf"


def run(app: Flask, *words: str) -> Result:
    with app.app_context():
        return app.test_cli_runner().invoke(args=["keys", *words])


@pytest.fixture
def rotated_app(app: Flask, environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    """The application after the operator has put a new key in front of the one that sealed Primary and Backup."""
    for name in ("Primary", "Backup"):
        fields = {"name": name, "smtp_server": f"{name.lower()}.example.com", "from_email": "a@example.com"}
        configs.create(parse_change({**fields, "smtp_username": "u", "smtp_password": "s3cret"}))
    changed = {**environment, "APP_KEY": NEW_KEY, "APP_KEY_PREVIOUS": APP_KEY}
    yield create_app(changed, instance_path=tmp_path)


def test_the_status_shows_what_each_key_seals_and_what_to_do(rotated_app: Flask) -> None:
    result = run(rotated_app, "status")
    lines = result.stdout.splitlines()
    assert lines[1].endswith("current, APP_KEY                        0 mail servers")
    assert lines[2].endswith("previous, number 1 of APP_KEY_PREVIOUS  2 mail servers")
    assert lines[-1] == "Run `flask keys rotate` to reseal everything with the current key."
    assert result.exit_code == 0


def test_no_key_is_ever_shown(rotated_app: Flask) -> None:
    for words in (("status",), ("status", "--json"), ("rotate", "--dry-run"), ("rotate",)):
        output = run(rotated_app, *words).output
        assert APP_KEY not in output
        assert NEW_KEY not in output


def test_a_rotation_tells_each_row_and_which_key_may_go(rotated_app: Flask) -> None:
    result = run(rotated_app, "rotate")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["✓ Primary (id 1)", "✓ Backup (id 2)"]
    assert lines[-1].endswith("seals nothing: remove it from APP_KEY_PREVIOUS and restart.")
    assert result.exit_code == 0


def test_a_rotation_says_to_keep_the_key_that_queued_mails_need(app: Flask, rotated_app: Flask) -> None:
    with app.app_context():
        queued()
        queued()
    assert "2 mail servers, 2 queued emails" in run(rotated_app, "status").stdout
    result = run(rotated_app, "rotate")
    told = "2 queued emails still need it: keep it in APP_KEY_PREVIOUS until `flask keys status` shows none."
    assert result.stdout.splitlines()[-1].endswith(told)
    assert result.exit_code == 0
    status = json.loads(run(rotated_app, "status", "--json").stdout)
    assert [(use["rows"], use["mails"]) for use in status["keys"]] == [(2, 0), (0, 2)]
    assert status["may_go"] == []


def test_a_lost_key_of_a_queued_mail_is_named_with_the_remedy(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    with app.app_context():
        queued()
    result = run(create_app({**environment, "APP_KEY": NEW_KEY}, instance_path=tmp_path), "status")
    assert "is missing. 1 queued email still needs it: add it to APP_KEY_PREVIOUS." in result.stdout
    assert result.exit_code == 3


def test_a_dry_run_changes_nothing(rotated_app: Flask) -> None:
    result = run(rotated_app, "rotate", "--dry-run")
    assert "2 configurations would be sealed with key" in result.stdout
    assert json.loads(run(rotated_app, "status", "--json").stdout)["may_go"] == []


def test_a_second_rotation_has_nothing_to_do(rotated_app: Flask) -> None:
    run(rotated_app, "rotate")
    assert run(rotated_app, "rotate").stdout.startswith("Nothing to do: ")


def test_an_altered_row_is_named_and_the_exit_code_is_3(rotated_app: Flask) -> None:
    with rotated_app.app_context(), transaction() as session:
        session.execute(text("UPDATE smtp_config SET smtp_server = 'evil.example' WHERE id = 2"))
    result = run(rotated_app, "rotate")
    assert "✗ Backup (id 2): These settings were changed outside Sealpost." in result.stdout
    assert "is still needed: it seals 1 mail server." in result.stdout
    assert result.exit_code == 3


def test_a_lost_key_is_named_with_the_remedy(rotated_app: Flask, environment: dict[str, str], tmp_path: Path) -> None:
    result = run(create_app({**environment, "APP_KEY": NEW_KEY}, instance_path=tmp_path), "status", "--json")
    told = json.loads(result.stdout)
    assert [use["role"] for use in told["keys"]] == ["current", "unknown"]
    assert [row["name"] for row in told["unreadable"]] == ["Primary", "Backup"]
    assert "Restore APP_KEY or enter the password again." in told["unreadable"][0]["reason"]
    assert result.exit_code == 3
