"""`flask version` and `flask upgrade-check`: what is known before a version takes another's place."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.checks import upgrading
from services.checks.validation import Mark
from services.settings import configs
from services.settings.fields import parse_change
from tests.certificates import client_pair
from tests.running import ROOT
from tests.visitors import make_alice
from utils.env_names import GONE, OURS
from utils.version import VERSION


@pytest.fixture(autouse=True)
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `.env` is looked for, beside no other."""
    monkeypatch.setenv("SEALPOST_HOME", str(tmp_path))
    return tmp_path / ".env"


def run(app: Flask, *words: str) -> Result:
    with app.app_context():
        return app.test_cli_runner().invoke(args=list(words))


def lines_of(app: Flask, exit_code: int = 0) -> list[str]:
    """What the check prints, line by line."""
    result = run(app, "upgrade-check")
    assert result.exit_code == exit_code, result.output
    return [line.strip() for line in result.stdout.splitlines()]


def old(environment: dict[str, str], folder: Path, revision: str) -> Flask:
    """An application of today on tables of then."""
    app = create_app({**environment, "DATABASE_URL": f"sqlite:///{folder / 'old.db'}"}, instance_path=folder)
    if revision:
        with app.app_context():
            upgrade(revision=revision)
    return app


def test_the_version_is_said_with_its_python_and_the_folder_of_its_settings(app: Flask, tmp_path: Path) -> None:
    lines = run(app, "version").stdout.splitlines()
    assert lines[0] == f"Sealpost {VERSION}"
    assert lines[1].startswith("Python 3.")
    assert lines[2] == f"Settings in {tmp_path}"


def test_where_all_is_well_nothing_has_to_be_done(app: Flask) -> None:
    assert [line for line in lines_of(app) if line] == [
        "1. Checking Database...",
        "✓ The tables are up to date",
        "2. Checking Variables...",
        "✓ Every variable is known",
        "3. Checking Dates...",
        "✓ Nothing ends within 30 days",
    ]


def test_each_migration_that_will_run_is_named_and_none_runs(environment: dict[str, str], tmp_path: Path) -> None:
    app = old(environment, tmp_path, "0032")
    lines = lines_of(app)
    assert "ℹ 0033: who accounts are at the provider that people sign in with" in lines
    assert upgrading.FIRST_A_COPY in lines
    assert not any(line.startswith("ℹ 0032") for line in lines)
    assert lines_of(app) == lines


def test_an_empty_database_needs_its_tables(environment: dict[str, str], tmp_path: Path) -> None:
    assert "ℹ The database has no tables yet." in lines_of(old(environment, tmp_path, ""))


def test_a_database_that_a_newer_version_has_changed_stands_in_the_way(app: Flask) -> None:
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    result = run(app, "upgrade-check", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"], told["version"]) == (3, False, VERSION)
    assert "9999" in told["checks"][0]["findings"][0]["text"]


def test_a_database_that_is_away_is_said_to_be(environment: dict[str, str], tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    app = create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path)
    assert "✗ The database cannot be used." in " ".join(lines_of(app, exit_code=3))


def test_variables_that_nobody_reads_are_named_without_their_values(app: Flask, env_file: Path) -> None:
    env_file.write_text("APP_NAME=Shop\nSMTP_PASSWRD_OF_OLD=s3cret\nFLASK_DEBUG=0\nEMAIL_BACKEND=x\n")
    output = " ".join(lines_of(app))
    assert "ℹ SMTP_PASSWRD_OF_OLD in .env is no variable of Sealpost" in output
    assert not any(word in output for word in ("s3cret", "FLASK_DEBUG", "EMAIL_BACKEND", "APP_NAME"))


def test_a_variable_that_went_stands_in_the_way_and_has_its_remedy() -> None:
    (told,) = upgrading.unheard(["SMTP_TLS", "APP_KEY"], {"SMTP_TLS": "Set EMAIL_USE_TLS instead."})
    assert (told.mark, told.text, told.remedy) == (
        Mark.FAILED,
        "SMTP_TLS is not used any more.",
        "Set EMAIL_USE_TLS instead.",
    )


def test_no_variable_of_a_version_before_has_gone_without_a_word() -> None:
    before = set((ROOT / "tests" / "data" / "variables_of_0.1.0.txt").read_text().split())
    assert before - OURS - set(GONE) == set()
    assert set(GONE) & OURS == set()


def test_what_will_end_is_told_with_what_to_do(environment: dict[str, str], tmp_path: Path) -> None:
    pair = client_pair(days=9)
    (tmp_path / "gateway.pem").write_text(pair.certificate + pair.key)
    gateway = {"SUBMISSION_LISTEN": "127.0.0.1:2525", "SUBMISSION_TLS_CERT": str(tmp_path / "gateway.pem")}
    app = create_app({**environment, **gateway}, instance_path=tmp_path)
    fields = {"name": "Relay", "smtp_server": "relay.example.com", "from_email": "a@example.com"}
    with app.app_context():
        configs.create(parse_change({**fields, "client_certificate": pair.certificate, "client_key": pair.key}))
        api_tokens.create(make_alice().id, "Shop", 7, [Scope.SEND])
        lines = lines_of(app)
    assert upgrading.RENEW in lines
    assert any(line.startswith("ℹ The client certificate expires on 20") for line in lines)
    assert "ℹ 1 API token will expire within 30 days." in lines


def test_what_has_ended_stands_in_the_way(environment: dict[str, str], tmp_path: Path) -> None:
    pair = client_pair(days=-1)
    (tmp_path / "gateway.pem").write_text(pair.certificate + pair.key)
    gateway = {"SUBMISSION_LISTEN": "127.0.0.1:2525", "SUBMISSION_TLS_CERT": str(tmp_path / "gateway.pem")}
    app = create_app({**environment, **gateway}, instance_path=tmp_path)
    assert any(line.startswith("✗ The gateway’s certificate expired on ") for line in lines_of(app, exit_code=3))
