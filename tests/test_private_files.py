"""Whatever the umask and however it is started: what Sealpost keeps on the disk is for its own user alone."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.engine import db
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT, as_nobody, run_environment
from utils import private_files

UMASKS = [0o000, 0o022]
FLASK = (sys.executable, "-m", "flask", "--app", "app")
UNTIL_IT_SERVES = """
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1] + "/healthz").close()
        break
    except OSError:
        time.sleep(0.1)
"""


def modes(folder: Path) -> dict[str, int]:
    """The mode of everything in a folder, and of the folder itself."""
    return {str(each.relative_to(folder)): stat.S_IMODE(each.stat().st_mode) for each in (folder, *folder.rglob("*"))}


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, str]]:
    """The lines of the log about this event."""
    entries = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [entry for entry in entries if entry["event"] == event]


def loose(folder: Path) -> dict[str, str]:
    """What others may do something with."""
    return {name: f"{mode:o}" for name, mode in modes(folder).items() if mode & 0o077}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The application as it is installed afresh, with an `instance/` of its own to come."""
    for file in ("app.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    for name in ("blueprints", "services", "database", "utils", "templates", "static"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def environment(place: Path) -> dict[str, str]:
    mine = {"PYTHONPATH": str(place), "SEALPOST_HOME": str(place)}
    return run_environment(place / "unused.db", DATABASE_URL="sqlite:///sealpost.db") | mine


def run(place: Path, environment: Mapping[str, str], umask: int, *command: str) -> str:
    """What a program says that must end well."""
    ended = subprocess.run(
        command,
        cwd=place,
        env=environment,
        umask=umask,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def serve(place: Path, environment: Mapping[str, str], umask: int, *command: str) -> dict[str, int]:
    """The modes of what is in `instance/` while a server runs."""
    server = subprocess.Popen(command, cwd=place, env=environment, umask=umask, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{environment['PORT']}"
        subprocess.run([sys.executable, "-c", UNTIL_IT_SERVES, url], check=True, timeout=PATIENCE)
        return modes(place / "instance")
    finally:
        server.terminate()
        server.wait(PATIENCE)


@pytest.mark.parametrize("umask", UMASKS)
def test_a_fresh_database_made_by_migrating_is_ours_alone(place: Path, environment: dict[str, str], umask: int) -> None:
    said = run(place, environment, umask, *FLASK, "db", "upgrade")
    assert modes(place / "instance") == {".": 0o700, "sealpost.db": 0o600}
    assert "open_to_others" not in said


@pytest.mark.parametrize("umask", UMASKS)
def test_a_command_that_is_the_first_to_open_it_makes_it_ours_alone(
    place: Path, environment: dict[str, str], umask: int
) -> None:
    subprocess.run(
        [*FLASK, "account", "list"], cwd=place, env=environment, umask=umask, capture_output=True, check=False
    )
    assert (place / "instance" / "sealpost.db").exists()
    assert loose(place / "instance") == {}


@pytest.mark.parametrize("umask", UMASKS)
def test_make_run_keeps_database_and_log_to_itself_while_it_runs(
    place: Path, environment: dict[str, str], umask: int
) -> None:
    found = serve(place, environment, umask, sys.executable, "app.py")
    assert {"sealpost.db", "sealpost.db-wal", "sealpost.db-shm"} <= set(found)
    assert not [name for name, mode in found.items() if mode & 0o077]


@pytest.mark.parametrize("umask", UMASKS)
def test_gunicorn_does_too(place: Path, environment: dict[str, str], umask: int) -> None:
    run(place, environment, umask, *FLASK, "db", "upgrade")
    bind = f"127.0.0.1:{environment['PORT']}"
    command = (sys.executable, "-m", "gunicorn", "--no-control-socket", "--bind", bind, "app:serve()")
    found = serve(place, environment, umask, *command)
    assert {"sealpost.db-wal", "sealpost.db-shm"} <= set(found)
    assert not [name for name, mode in found.items() if mode & 0o077]


@pytest.mark.parametrize("umask", UMASKS)
def test_what_celery_loads_does_too(place: Path, environment: dict[str, str], umask: int) -> None:
    broker = {"CELERY_BROKER_URL": f"amqp://nobody@127.0.0.1:{free_port()}//"}
    command = "import app\ntry: app.celery\nexcept SystemExit: pass"  # on tables that are not there yet
    run(place, environment | broker, umask, sys.executable, "-c", command)
    assert (place / "instance" / "sealpost.db").exists()
    assert loose(place / "instance") == {}


@pytest.mark.parametrize("url", ["sqlite:///{}/a.db", "sqlite:///file:{}/a.db?uri=true", "sqlite:///{}/ä ö.db"])
def test_a_database_elsewhere_is_ours_alone_and_its_folder_is_left_as_it_is(
    environment: dict[str, str], tmp_path: Path, url: str
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    app = create_app({**environment, "DATABASE_URL": url.format(folder)}, instance_path=tmp_path / "instance")
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE a (b)")
        assert set(loose(folder)) == {"."}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert not (tmp_path / "instance").exists()


def test_a_database_at_the_end_of_a_link_is_ours_alone(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "disk" / "a.db")
    app = create_app({**environment, "DATABASE_URL": f"sqlite:///{tmp_path}/link.db"}, instance_path=tmp_path / "i")
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE a (b)")
    assert stat.S_IMODE((tmp_path / "disk" / "a.db").stat().st_mode) == 0o600


def test_what_was_open_to_others_is_closed_with_a_warning(
    environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receipts = tmp_path / "instance" / "receipts"
    receipts.mkdir(parents=True)
    database = tmp_path / "instance" / "sealpost.db"
    files = [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal"))]
    for file in (*files, receipts / "a.json", receipts / "b.unreadable"):
        file.touch()
        file.chmod(0o644)
    for folder in (receipts, receipts.parent):
        folder.chmod(0o777)
    create_app(environment, instance_path=tmp_path / "instance")
    assert loose(tmp_path / "instance") == {}
    lines = told(caplog, "was_open_to_others")
    assert {(line["mode"], line["now"]) for line in lines} == {("0644", "0600"), ("0777", "0700")}
    assert len(lines) == 8
    create_app(environment, instance_path=tmp_path / "instance")
    assert len(told(caplog, "was_open_to_others")) == 8


@pytest.mark.parametrize("mode", [0o640, 0o660, 0o604, 0o601, 0o666])
def test_any_right_of_others_is_taken_away(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "a"
    file.touch()
    file.chmod(mode)
    private_files.mend([file])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_closed_already_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    file.chmod(0o400)
    private_files.mend([file, tmp_path / "none"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o400


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_somebody_else_is_told_and_stops_nothing(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a"
    file.touch()
    file.chmod(0o644)
    with as_nobody(tmp_path):
        private_files.mend([file])
    (line,) = told(caplog, "open_to_others")
    assert line["mode"] == "0644"
    assert line["remedy"] == f"As its owner or root: chmod 600 {file}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
