"""`flask db backup` and `flask db restore`: whole, private, and never at the cost of what is there."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text

from app import create_app
from database.engine import db, reading
from database.outbox_db import State
from services.accounts import accounts
from services.outbox import log
from tests.mails import in_state, queued
from tests.outbox import row_of
from tests.running import ROOT, Sealpost, run_environment
from tests.visitors import Visitor, make_alice, visit

COMMAND = (sys.executable, "-m", "flask", "--app", "app", "db")


def run(app: Flask, *words: str, said: str | None = None) -> Result:
    return app.test_cli_runner().invoke(args=["db", *words], input=said)


def backed_up(app: Flask, folder: Path, name: str = "a.backup") -> Path:
    """A back-up of the database as it is."""
    result = run(app, "backup", str(folder / name))
    assert result.exit_code == 0, result.output
    return folder / name


def restored(app: Flask, file: Path) -> Result:
    result = run(app, "restore", str(file), "--yes")
    assert result.exit_code == 0, result.output
    return result


def refusal(app: Flask, *words: str) -> str:
    """The one line with which a command refuses."""
    result = run(app, *words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.output
    return result.stderr


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where back-ups go in these tests, apart from the database."""
    folder = tmp_path / "back ups"
    folder.mkdir()
    return folder


def test_a_backup_can_be_made_before_an_upgrade(app: Flask, place: Path) -> None:
    downgrade()
    assert backed_up(app, place).stat().st_size


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_backup_is_one_private_file_that_holds_all(app: Flask, place: Path, umask: int) -> None:
    mail_id = queued()
    before = os.umask(umask)
    try:
        file = backed_up(app, place)
    finally:
        os.umask(before)
    assert names(place) == {"a.backup"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(file)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("SELECT mail_id FROM email_outbox").fetchall() == [(mail_id,)]


def test_it_holds_what_stands_in_the_log_only(app: Flask, place: Path) -> None:
    with db.engine.connect():  # so that the log is not written back
        mail_id = queued()
        file = backed_up(app, place)
    with closing(sqlite3.connect(file)) as copy:
        assert copy.execute("SELECT mail_id FROM email_outbox").fetchall() == [(mail_id,)]


def test_while_others_write_it_is_of_one_moment(app: Flask, place: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with app.app_context():
            while not stop.is_set():
                queued("a@example.com", "b@example.com")

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        files = [backed_up(app, place, f"{number}.backup") for number in range(5)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    for file in files:
        with closing(sqlite3.connect(file)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    queued()


def test_what_is_there_is_overwritten_only_if_that_is_said(app: Flask, place: Path) -> None:
    file = place / "a.backup"
    file.write_text("something else")
    assert "already exists" in refusal(app, "backup", str(file))
    assert file.read_text() == "something else"
    assert run(app, "backup", str(file), "--overwrite").exit_code == 0
    assert file.read_bytes().startswith(b"SQLite format 3")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names(place) == {"a.backup"}


def test_a_link_that_leads_nowhere_is_there_too(app: Flask, place: Path) -> None:
    (place / "a").symlink_to(place / "nowhere")
    assert "already exists" in refusal(app, "backup", str(place / "a"))


@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_the_database_is_never_written_over_itself(app: Flask, tmp_path: Path, option: list[str]) -> None:
    mail_id = queued()
    (tmp_path / "link").symlink_to(tmp_path / "test.db")
    for name in ("test.db", "test.db-wal", "test.db-shm", "test.db-journal", "link"):
        refusal(app, "backup", str(tmp_path / name), *option)
    assert row_of(mail_id)


@pytest.mark.parametrize("target", ["/dev/null", "/tmp", "{}/none/a", "{}"])
def test_where_no_file_can_be_there_is_said_and_none_is_left(app: Flask, place: Path, target: str) -> None:
    refusal(app, "backup", target.format(place), "--overwrite")
    assert names(place) == set()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_database_that_is_not_there_yet_is_not_made_for_it(environment: dict[str, str], place: Path) -> None:
    app = create_app({**environment, "DATABASE_URL": f"sqlite:///{place / 'new.db'}"})
    with app.app_context():
        assert "There is no database yet" in refusal(app, "backup", str(place / "a"))
    assert names(place) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_on_a_full_disk_no_half_backup_is_left(app: Flask, place: Path) -> None:
    for _ in range(300):
        queued(*[f"{'x' * 60}{number}@example.com" for number in range(30)])
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        assert "full" in refusal(app, "backup", str(place / "a")).lower()
        assert names(place) == set()
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_on_a_full_disk_nothing_is_restored_and_the_database_stays(
    environment: dict[str, str], place: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        shutil.copy(tmp_path / "test.db", disk / "live.db")
        large = create_app(environment, instance_path=tmp_path)
        with large.app_context():
            for _ in range(300):
                queued(*[f"{'x' * 60}{number}@example.com" for number in range(30)])
            file = backed_up(large, place)
        app = create_app({**environment, "DATABASE_URL": f"sqlite:///{disk / 'live.db'}"}, instance_path=tmp_path)
        with app.app_context():
            mail_id = queued()
            refusal(app, "restore", str(file), "--yes")
            assert row_of(mail_id).state == State.QUEUED
            db.engine.dispose()
            assert {each for each in names(disk) if "part" in each or "before" in each} == set()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_restoring_holds_waiting_mail_ends_sessions_and_keeps_the_database_before(
    app: Flask, admin: Visitor, place: Path, tmp_path: Path
) -> None:
    waiting = [in_state(state) for state in (State.QUEUED, State.DEFERRED, State.UNCERTAIN)]
    crossing = [in_state(State.LEASED, attempts=1), in_state(State.TRANSMITTING, pinned_to="env")]
    sent = in_state(State.SENT)
    file = backed_up(app, place)
    later = queued()
    told = restored(app, file).stdout
    assert "5 emails are held since a back-up was restored." in told
    assert "1 session ended." in told
    assert {row_of(mail_id).state for mail_id in (*waiting, *crossing)} == {State.HELD}
    assert row_of(sent).state == State.SENT
    assert later not in {mail.id for mail in log.mails()[0]}
    assert not admin.is_signed_in()
    assert visit(app).sign_in().status_code == 303
    (kept,) = [name for name in names(tmp_path) if "before" in name]
    assert kept in told
    assert (
        stat.S_IMODE((tmp_path / kept).stat().st_mode) == stat.S_IMODE((tmp_path / "test.db").stat().st_mode) == 0o600
    )
    with closing(sqlite3.connect(tmp_path / kept)) as before:
        assert (later,) in before.execute("SELECT mail_id FROM email_outbox").fetchall()
    with reading() as session:
        last = session.execute(text("SELECT action, subject FROM audit_event WHERE action LIKE 'data%'")).one()
    assert tuple(last) == ("database_restored", "a.backup")


def test_the_backup_itself_is_not_changed_and_can_be_restored_again(app: Flask, place: Path) -> None:
    queued()
    file = backed_up(app, place)
    content = file.read_bytes()
    for _ in range(2):
        done = json.loads(run(app, "restore", str(file), "--yes", "--json").stdout)
        assert (done["held"], done["is_older"]) == (1, False)
    assert file.read_bytes() == content
    assert names(place) == {"a.backup"}


@pytest.mark.parametrize(("said", "is_restored"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_it_asks_first(app: Flask, place: Path, said: str, is_restored: bool) -> None:
    file = backed_up(app, place)
    mail_id = queued()
    result = run(app, "restore", str(file), said=said)
    assert "Replace the whole database with" in result.stderr
    assert result.exit_code == (0 if is_restored else 1)
    assert (mail_id in {mail.id for mail in log.mails()[0]}) != is_restored


def test_on_a_machine_without_a_database_it_is_put_there(app: Flask, environment: dict[str, str], place: Path) -> None:
    make_alice()
    file = backed_up(app, place)
    fresh = create_app({**environment, "DATABASE_URL": f"sqlite:///{place / 'new.db'}"}, instance_path=place)
    with fresh.app_context():
        assert "kept" not in restored(fresh, file).stdout
        assert accounts.find_by_login("alice")
    assert stat.S_IMODE((place / "new.db").stat().st_mode) == 0o600


def of_text(file: Path, _: Path) -> None:
    file.write_text("CREATE TABLE account (id);")


def of_another_program(file: Path, _: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE account (id)")


def empty(file: Path, _: Path) -> None:
    file.touch()


def of_a_newer_version(file: Path, backup: Path) -> None:
    shutil.copy(backup, file)
    with closing(sqlite3.connect(file)) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")


def never_migrated(file: Path, backup: Path) -> None:
    shutil.copy(backup, file)
    with closing(sqlite3.connect(file)) as bare, bare:
        bare.execute("DELETE FROM alembic_version")


def cut_off(file: Path, backup: Path) -> None:
    file.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])


def a_folder(file: Path, _: Path) -> None:
    file.mkdir()


def missing(_: Path, __: Path) -> None:
    """There is none."""


@pytest.mark.parametrize(
    "make",
    [of_text, of_another_program, empty, of_a_newer_version, never_migrated, cut_off, a_folder, missing],
    ids=lambda make: make.__name__,
)
def test_what_is_no_backup_is_refused_and_nothing_changes(
    app: Flask, place: Path, tmp_path: Path, make: object
) -> None:
    backup = backed_up(app, place)
    mail_id = queued()
    assert callable(make)
    make(place / "other", backup)
    before = names(tmp_path)
    refusal(app, "restore", str(place / "other"), "--yes")
    assert row_of(mail_id).state == State.QUEUED
    assert names(tmp_path) - before <= {"test.db-wal", "test.db-shm"}


def test_the_database_is_not_restored_from_itself(app: Flask, tmp_path: Path) -> None:
    queued()
    assert "is the database itself" in refusal(app, "restore", str(tmp_path / "test.db"), "--yes")


def test_while_somebody_has_it_open_it_is_refused(app: Flask, place: Path, tmp_path: Path) -> None:
    file = backed_up(app, place)
    mail_id = queued()
    with closing(sqlite3.connect(tmp_path / "test.db")) as other:
        other.execute("SELECT count(*) FROM email_outbox").fetchone()
        assert "Stop every process of Sealpost first" in refusal(app, "restore", str(file), "--yes")
    assert row_of(mail_id).state == State.QUEUED
    restored(app, file)


def test_a_back_up_of_an_older_version_is_restored_and_says_what_to_run(app: Flask, place: Path) -> None:
    mail_id = queued()
    downgrade(revision="0006")
    file = backed_up(app, place)
    upgrade()
    told = restored(app, file).stdout
    assert "Run: flask db upgrade" in told
    upgrade()
    assert row_of(mail_id).state == State.HELD


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0010"])
def test_so_is_one_from_before_there_was_a_queue(app: Flask, place: Path, revision: str) -> None:
    make_alice()
    downgrade(revision=revision)
    file = backed_up(app, place)
    upgrade()
    restored(app, file)
    upgrade()
    assert accounts.find_by_login("alice")


def test_a_damaged_database_is_replaced_and_kept(app: Flask, place: Path, tmp_path: Path) -> None:
    mail_id = queued()
    file = backed_up(app, place)
    db.engine.dispose()
    (tmp_path / "test.db").write_bytes(b"this is no database" * 1000)
    restored(app, file)
    assert row_of(mail_id).state == State.HELD
    (kept,) = [name for name in names(tmp_path) if "before" in name]
    assert (tmp_path / kept).read_bytes().startswith(b"this is no database")


def test_neither_command_needs_a_variable_beside_the_env_file(tmp_path: Path) -> None:
    place = tmp_path / "installed"
    place.mkdir()
    for file in ("app.py", "pyproject.toml"):
        shutil.copy(ROOT / file, place)
    for name in ("blueprints", "services", "database", "utils", "templates", "static"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    ours = run_environment(place / "x.db")
    (place / ".env").write_text(f"APP_KEY={ours['APP_KEY']}\nAPP_ENV=development\n")
    bare = {name: value for name, value in os.environ.items() if name not in ours or name in ("PATH", "HOME")}
    for words in ("upgrade", "backup a.backup", "restore a.backup --yes"):
        ended = subprocess.run(
            [*COMMAND, *words.split()], cwd=place, env=bare, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
    assert stat.S_IMODE((place / "instance" / "sealpost.db").stat().st_mode) == 0o600


def test_they_stand_in_the_help_beside_the_migrations(app: Flask) -> None:
    told = run(app, "--help").stdout
    assert {"backup", "restore", "upgrade"} <= {line.split()[0] for line in told.splitlines() if line.startswith("  ")}


def test_while_sealpost_runs_a_backup_is_made_and_none_is_restored(tmp_path: Path) -> None:
    environment = run_environment(tmp_path / "run.db")
    file = str(tmp_path / "a.backup")

    def ended(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [*COMMAND, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    with Sealpost(environment):
        assert ended("backup", file)[0] == 0
        status, said = ended("restore", file, "--yes")
        assert (status, "Stop every process of Sealpost first" in said) == (1, True)
    assert ended("restore", file, "--yes")[0] == 0
