"""Back-ups of PostgreSQL: the commands that are named, and what they do."""

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from app import create_app
from database.engine import db
from database.outbox_db import State
from services.outbox import log
from tests import postgresql_server
from tests.mails import queued
from tests.outbox import row_of
from tests.test_backup import refusal
from tests.visitors import make_alice, visit


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


def on_postgresql(environment: dict[str, str], url: str, folder: Path) -> Flask:
    return create_app({**environment, "DATABASE_URL": url}, instance_path=folder)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_for_postgresql_the_command_to_use_is_named_without_the_password(
    environment: dict[str, str], tmp_path: Path, command: str
) -> None:
    url = "postgresql://sealpost:s%40cret@db.example:5433/mail?sslmode=verify-full&sslpassword=h1dden&password=w0rd"
    app = on_postgresql(environment, url, tmp_path)
    with app.app_context():
        told = refusal(app, command, "my file")
    assert f"pg_{'dump' if command == 'backup' else command} " in told
    assert "postgresql://sealpost@db.example:5433/mail?sslmode=verify-full" in told
    assert "'" in told
    assert not [word for word in ("cret", "h1dden", "w0rd") if word in told]


def test_the_named_commands_of_postgresql_work_and_bring_no_session_back(
    environment: dict[str, str], postgresql: str, tmp_path: Path
) -> None:
    app = on_postgresql(environment, postgresql, tmp_path)
    programs = {"PATH": f"{postgresql_server.binaries()}:{os.environ['PATH']}"}
    file = tmp_path / "a.dump"
    with app.app_context():
        upgrade()
        make_alice(is_admin=True)
        visitor = visit(app)
        visitor.sign_in()
        mail_id = queued()
        dump = refusal(app, "backup", str(file)).partition("Run: ")[2]
        subprocess.run(dump, shell=True, umask=0o022, env=programs, check=True)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        later = queued()
        restore = refusal(app, "restore", str(file)).partition("then run: ")[2].partition(" && ")[0]
        db.engine.dispose()
        subprocess.run(shlex.split(restore), env=programs, check=True)
        assert not visitor.is_signed_in()
        assert app.test_cli_runner().invoke(args=["mail", "hold", "--all"]).stdout.startswith("1 email held.")
        assert row_of(mail_id).state == State.HELD
        assert later not in {mail.id for mail in log.mails()[0]}
        db.engine.dispose()


def test_what_is_in_memory_cannot_be_backed_up(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "DATABASE_URL": "sqlite:///:memory:"}, instance_path=tmp_path)
    with app.app_context():
        assert "in memory" in refusal(app, "backup", str(tmp_path / "a"))


def test_a_back_up_of_an_earlier_version_goes_into_an_empty_postgresql(
    environment: dict[str, str], tmp_path: Path
) -> None:
    programs = {"PATH": f"{postgresql_server.binaries()}:{os.environ['PATH']}"}
    file = tmp_path / "a.dump"
    with postgresql_server.running() as url:
        app = on_postgresql(environment, url, tmp_path)
        with app.app_context():
            upgrade(revision="0002")
            dump = refusal(app, "backup", str(file)).partition("Run: ")[2]
            subprocess.run(dump, shell=True, env=programs, check=True)
            db.session.execute(text("DROP SCHEMA public CASCADE"))
            db.session.execute(text("CREATE SCHEMA public"))
            db.session.commit()
            db.session.remove()
            told, _, named = refusal(app, "restore", str(file)).partition("then run: ")
            assert "A back-up from an earlier version needs an empty database." in told
            restore, then_upgrade, then_hold = named.strip().split(" && ")
            db.engine.dispose()
            subprocess.run(restore, shell=True, env=programs, check=True)
            for command in (then_upgrade, then_hold):
                ended = app.test_cli_runner().invoke(args=command.removeprefix("flask ").split())
                assert ended.exit_code == 0, ended.output
            db.engine.dispose()
