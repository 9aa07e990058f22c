"""What keeps the application from starting: one line with what to do, and no traceback, whoever starts it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

import app as application
from app import create_app
from database import schema_db
from database.engine import transaction
from services.checks import start
from services.settings import configs
from services.settings.fields import parse_change
from tests.conftest import ADMIN_TOKEN
from tests.mails import queued
from tests.patience import PATIENCE
from tests.running import NOBODY, ROOT, Sealpost, as_nobody, run_environment
from tests.scripted_server import ScriptedServer, hang
from tests.visitors import visit
from utils.env_reader import ConfigurationError
from utils.env_utils import get_fernet_key, load_settings

PHRASE = "correct horse battery staple and a lamp"
DROP = f"os.geteuid() or os.seteuid({NOBODY})\n"
SERVE = "import os, app, celery\n" + DROP + "app.serve()"
FLASK = (
    "import os, site, sys, pwd; site.addpackage('utils', 'sealpost.pth', set())\n"
    "import app, flask.cli, dotenv, importlib.metadata as metadata; metadata.entry_points(group='flask.commands')\n"
    + DROP
    + "sys.argv = ['flask', '--app', 'app', 'account', 'list']; flask.cli.main()"
)


def said(folder: Path, program: str, environment: dict[str, str], status: int) -> str:
    """The one line that a program prints before it ends with this status."""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    lines = (ended.stdout + ended.stderr).splitlines()
    assert (ended.returncode, len(lines)) == (status, 1), "\n".join(lines)
    return lines[0]


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """The program in a folder of its own, for a `.env` of its own."""
    folder = tmp_path / "sealpost"
    shutil.copytree(ROOT / "utils", folder / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "pyproject.toml", "blueprints", "database", "services", "templates", "static"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.parametrize(("program", "status"), [(SERVE, 4), (FLASK, 1)], ids=["gunicorn", "flask"])
def test_a_broken_env_file_is_one_line_in_flask_and_gunicorn(installation: Path, program: str, status: int) -> None:
    (installation / ".env").write_text('\nDATABASE_URL="postgresql://u:se"cret@db.test/x"\n')
    with as_nobody(installation):  # opens the way to it
        pass
    line = said(installation, program, {}, status)
    assert line.startswith(f"{installation / '.env'}, line 2: DATABASE_URL ")
    assert "cret" not in line


@pytest.mark.parametrize(("program", "status"), [(SERVE, 4), (FLASK, 1)], ids=["gunicorn", "flask"])
def test_an_env_file_that_may_not_be_read_is_one_line_in_flask_and_gunicorn(
    installation: Path, program: str, status: int
) -> None:
    (installation / ".env").write_text("APP_NAME=Shop\n")
    (installation / ".env").chmod(0)
    with as_nobody(installation):  # opens the way to it
        pass
    line = said(installation, program, {}, status)
    assert line.startswith(f"{installation / '.env'} cannot be read by the user ")


@pytest.mark.parametrize("make", [load_settings, create_app, get_fernet_key])
def test_libraries_raise_a_value_error(monkeypatch: pytest.MonkeyPatch, make: object) -> None:
    monkeypatch.setenv("APP_KEY", "")
    monkeypatch.setenv("APP_KEY_FILE", "")
    with pytest.raises(ValueError, match=r"^APP_KEY not configured"):
        make({"APP_KEY": ""}) if make is not get_fernet_key else get_fernet_key()  # type: ignore[operator]


def test_flasks_own_look_for_an_application_makes_none_outside_of_its_commands() -> None:
    assert not hasattr(application, "app")


def test_an_old_schema_is_refused_with_what_to_run(app: Flask) -> None:
    downgrade()
    with pytest.raises(ConfigurationError, match=r"older than this version.*Run: flask db upgrade"):
        start.check()


def test_a_schema_of_a_newer_version_is_no_old_one(app: Flask) -> None:
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    start.check()


def test_a_command_on_an_old_schema_says_what_to_run(app: Flask) -> None:
    with transaction() as session:
        session.execute(text("ALTER TABLE account RENAME COLUMN email TO mail"))
    result = app.test_cli_runner().invoke(args=["account", "list"])
    assert result.exit_code == 1
    assert result.stderr == f"Error: {start.NOT_READY} {schema_db.UPGRADE}\n"


@pytest.mark.parametrize(
    "command", ["mail status", "mail list", "mail hold --all", "account list", "token list", "smtp list", "audit"]
)
def test_no_command_takes_an_old_schema_for_well_because_its_own_tables_are_there(app: Flask, command: str) -> None:
    downgrade()
    result = app.test_cli_runner().invoke(args=command.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {start.NOT_READY} {schema_db.UPGRADE}\n"


def test_a_page_on_an_old_schema_says_what_to_run(app: Flask) -> None:
    with transaction() as session:
        session.execute(text("DROP TABLE setup_code"))
        session.execute(text("DROP TABLE account"))
    answer = visit(app).get("/setup")
    assert answer.status_code == 503
    assert "Run: flask db upgrade" in answer.text


def test_readyz_on_an_old_schema_does_not_say_that_the_database_is_away(app: Flask) -> None:
    with transaction() as session:
        session.execute(text("ALTER TABLE smtp_config RENAME COLUMN name TO title"))
    checks = visit(app).get("/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}).get_json()["checks"]
    assert checks["database"]["ok"]
    assert checks["key"]["detail"] == schema_db.UPGRADE


def test_a_key_that_a_person_thought_of_is_refused_where_nothing_is_sealed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with create_app({**environment, "APP_KEY": PHRASE}, instance_path=tmp_path).app_context():
        with pytest.raises(ConfigurationError, match=r"^APP_KEY has spaces"):
            start.check()
        result = create_app({**environment, "APP_KEY": PHRASE}, instance_path=tmp_path).test_cli_runner()
        told = result.invoke(args=["account", "list"])
        assert (told.exit_code, "APP_KEY has spaces" in told.stderr, PHRASE in told.stderr) == (1, True, False)


def test_where_something_is_sealed_with_it_it_starts_warns_and_can_be_left(
    environment: dict[str, str], tmp_path: Path
) -> None:
    old = {**environment, "APP_KEY": PHRASE}
    with create_app(old, instance_path=tmp_path).app_context():
        configs.create(parse_change({"name": "Main", "smtp_server": "smtp.test", "from_email": "a@example.com"}))
        start.check()
        (doubt,) = start.doubts()
        assert doubt.startswith("APP_KEY has spaces")
        assert "flask keys rotate" in doubt
        assert PHRASE not in doubt
    left = {**environment, "APP_KEY_PREVIOUS": PHRASE}
    app = create_app(left, instance_path=tmp_path)
    with app.app_context():
        assert app.test_cli_runner().invoke(args=["keys", "rotate"]).exit_code == 0
        start.check()
        assert start.doubts() == []
    with create_app(environment, instance_path=tmp_path).app_context():
        assert configs.search()[0].is_usable


def test_a_previous_key_is_named_a_month_after_the_rotation(environment: dict[str, str], tmp_path: Path) -> None:
    with create_app({**environment, "APP_KEY_PREVIOUS": "short"}, instance_path=tmp_path).app_context():
        for days, told in ((29, False), (31, True)):
            with transaction() as session:
                session.execute(text("DELETE FROM audit_event"))
                session.execute(
                    text(
                        "INSERT INTO audit_event (at, actor, source, action, subject, details) VALUES "
                        f"(datetime('now', '-{days} days'), 'a', 'b', 'key_rotated', 'c', '')"
                    )
                )
            assert any("APP_KEY_PREVIOUS still contains" in doubt for doubt in start.doubts()) is told


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be nobody for a moment")
def test_a_database_that_cannot_be_written_to_is_told(app: Flask, tmp_path: Path) -> None:
    for file in tmp_path.glob("test.db*"):
        file.chmod(0o444)
    other = create_app({**_variables(app)}, instance_path=tmp_path)
    with other.app_context(), as_nobody(tmp_path), pytest.raises(SQLAlchemyError) as caught:
        start.check_writing()
    assert "cannot be " in start.words_for(caught.value)


def _variables(app: Flask) -> dict[str, str]:
    settings = app.extensions["sealpost"]
    return {
        "APP_KEY": settings.app_key.reveal(),
        "APP_ENV": "development",
        "DATABASE_URL": settings.database_url,
        "LOCAL_INBOX_PORT": "0",
    }


def test_a_folder_that_cannot_be_made_is_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be created"):
        create_app({**environment, "DATABASE_URL": "sqlite:///x.db"}, instance_path=tmp_path / "file" / "instance")


def test_a_second_ctrl_c_ends_it_at_once_with_one_line(tmp_path: Path) -> None:
    with ScriptedServer({"EHLO": "250 plain.test", "MAIL": hang}) as silent:
        place = {"EMAIL_HOST": silent.host, "EMAIL_PORT": str(silent.port), "EMAIL_USE_TLS": "false"}
        environment = run_environment(tmp_path / "run.db", LOCAL_INBOX_PORT="0", **place)
        with create_app(environment, instance_path=tmp_path).app_context():
            upgrade()
            queued("jane@example.com")
        with Sealpost(environment) as server:
            silent.wait_for("MAIL")
            status = server.stop_twice()
    assert status == -signal.SIGINT
    assert server.output.splitlines()[-1].startswith("Stopped at once.")
    assert "Traceback" not in server.output
