"""What the image runs, as far as that can be tried without one: `make package` builds it and starts it for good."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT
from utils import container, health_check

CODE: Final = ("app.py", "gunicorn.conf.py", "pyproject.toml", "blueprints", "database", "deploy", "services")
MORE: Final = ("static", "templates", "utils")
FOREIGN: Final = 10001
# A root that nobody can write to, a volume, and a user whom the machine does not know.
_CONTAINED: Final = """
mount --bind "$1" "$1" && mount -o remount,bind,ro / || exit
user=$2; shift 2
exec unshare --user --map-user="$user" --map-group="$user" -- "$@"
"""


@contextmanager
def contained(tree: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The entry point as the first process of a container that is made of namespaces alone (unshare(1))."""
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", _CONTAINED, "sh"]
    with subprocess.Popen(
        [*command, str(tree / "data"), str(FOREIGN), str(tree / "deploy" / "entrypoint"), *words],
        env={"PATH": os.environ["PATH"], "SEALPOST_HOME": str(tree / "data"), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_of(process: subprocess.Popen[str]) -> int:
    """The first process within, as this machine numbers it."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What is in the image below /srv/sealpost, with the volume beside it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can make a root that is read-only")
    for name in (*CODE, *MORE):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name)  # with what is compiled, as in the image
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "data").mkdir()
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def test_the_first_start_needs_no_variable_writes_to_the_volume_alone_and_is_well_while_no_mail_server_is(
    tree: Path,
) -> None:
    port, dead = free_port(), str(free_port())
    words = ("web", "--bind", f"127.0.0.1:{port}", "--workers", "1")
    with contained(
        tree, *words, EMAIL_HOST="127.0.0.1", EMAIL_PORT=dead, DEFAULT_FROM_EMAIL="a@example.com"
    ) as process:
        said = ""
        assert process.stdout
        for line in process.stdout:
            said += line
            if "links_open_here_alone" in line:
                break
        assert f"Set it up at     {container.BASE_URL}/setup\n" in said, said
        assert re.search(r"Set-up code      \w{5}-", said)
        assert health_check.is_well(port)
        os.kill(first_of(process), signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, said
    kept = [tree / "data" / ".env", tree / "data" / "instance" / "sealpost.db"]
    assert [each.stat().st_mode & 0o777 for each in kept] == [0o600, 0o600]


def test_what_cannot_start_says_so_in_one_line_and_leaves_nothing(tree: Path) -> None:
    with contained(tree, "worker", MIGRATE_AT_START="perhaps") as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert (said, process.returncode) == ("MIGRATE_AT_START must be true or false.\n", 1)


def test_with_migrations_switched_off_tables_that_are_missing_are_refused_and_not_made(tree: Path) -> None:
    with contained(tree, "worker", MIGRATE_AT_START="false") as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert (
        "The database is not ready. The tables are older than this version of Sealpost. Run: flask db upgrade" in said
    )
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("words", "environment", "program"),
    [
        ("", {}, "gunicorn --bind 0.0.0.0:8000 --worker-tmp-dir /dev/shm app:serve()"),
        ("web -b [::]:80", {}, "gunicorn --worker-tmp-dir /dev/shm app:serve() -b [::]:80"),
        ("worker", {}, "flask --app app mail worker"),
        ("worker --senders 4", {"CELERY_BROKER_URL": " "}, "flask --app app mail worker --senders 4"),
        (
            "worker",
            {"CELERY_BROKER_URL_FILE": "/run/secrets/broker"},
            "celery --app app:celery worker --concurrency 1 --hostname NUMBER@%h",
        ),
        ("beat", {}, "celery --app app:celery beat"),
        ("gateway", {}, "flask --app app gateway run"),
        ("migrate", {}, "flask --app app db upgrade"),
        ("smtp validate", {}, "flask --app app smtp validate"),
    ],
)
def test_each_command_is_one_program(words: str, environment: Mapping[str, str], program: str) -> None:
    # Each process of pytest has to find the same names of tests, and so the number is not among them.
    assert container.program_for(words.split(), environment) == program.replace("NUMBER", str(os.getpid())).split()


def processes(folder: Path, *commands: str) -> Path:
    """A folder like /proc, with these."""
    for number, command in enumerate(commands, 1):
        (folder / str(number)).mkdir()
        (folder / str(number) / "cmdline").write_text(command.replace(" ", "\0"))
    (folder / "self").mkdir()
    return folder


@pytest.mark.parametrize(
    ("command", "is_well"),
    [
        ("/srv/sealpost/.venv/bin/python -m gunicorn --bind 0.0.0.0:8000 app:serve()", False),
        ("/srv/sealpost/.venv/bin/python /srv/sealpost/.venv/bin/gunicorn app:serve()", False),
        ("/srv/sealpost/.venv/bin/python -m celery --app app:celery beat", True),
        (".venv/bin/python -m utils.container ", False),  # which migrates still, and then serves
        (".venv/bin/python -m utils.container web --workers 4 ", False),
        (".venv/bin/python -m utils.container worker ", True),
    ],
)
def test_where_nothing_listens_only_a_container_without_pages_is_well(
    tmp_path: Path, command: str, is_well: bool
) -> None:
    assert health_check.is_well(free_port(), processes(tmp_path, command)) is is_well


def test_pages_that_do_not_answer_in_time_are_not_well(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not health_check.is_well(silent.getsockname()[1], tmp_path, seconds=0.1)


def test_pages_that_answer_with_an_error_are_not_well(tmp_path: Path) -> None:
    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Quiet) as broken:  # it knows no GET: 501
        thread = threading.Thread(target=broken.serve_forever)
        thread.start()
        assert not health_check.is_well(broken.server_port, tmp_path)
        broken.shutdown()
        thread.join()
