"""No secret is anywhere but where it belongs, proved on the real server by a search of all that it says and writes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.live_server import DATABASE, DEVELOPMENT, environment_for, gunicorn, start
from tests.long_run import ALL
from tests.loopback import free_port
from tests.secret_scanner import search
from tests.secret_story import Story

# The only places, by the secret. Everything here is found, or the search would have missed it elsewhere as well.
WHERE_IT_BELONGS = {
    ("set-up code", "stdout"),
    ("reset token", "reset mail"),
    ("reset token", "set-cookie"),
    ("session cookie", "set-cookie"),
    ("CSRF secret", "set-cookie"),
    ("CSRF secret", "page"),
    ("password typed as a name", "page"),
    ("API token", "page"),
    ("OAuth state", "headers"),  # where the browser is sent to
    ("OAuth state", "page"),
    ("OAuth state", "body"),
    ("OAuth state", "command"),
}


def development(_port: int) -> tuple[tuple[str, ...], dict[str, str]]:
    return DEVELOPMENT, {}


def production(port: int) -> tuple[tuple[str, ...], dict[str, str]]:
    variables = {"APP_ENV": "production", "BASE_URL": "https://mail.example.com"}
    return gunicorn(port, "--threads", "4"), variables


@pytest.fixture(scope="module", params=[production, *([development] if ALL else [])])  # both: make faults
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Story:
    port = free_port()
    command, variables = request.param(port)
    told = Story(tmp_path_factory.mktemp("story"), migrated_database, command, PORT=str(port), **variables)
    told.play()
    return told


def test_no_secret_is_anywhere_but_where_it_belongs(story: Story) -> None:
    found = search(story.pieces, story.secrets)
    strays = {at: sorted(set(details)) for at, details in found.items() if at not in WHERE_IT_BELONGS}
    assert strays == {}
    assert set(found) == WHERE_IT_BELONGS
    assert found["API token", "page"] == ["POST /account/tokens 201"]  # shown once
    sent_away = {detail.rpartition("/")[2] for place in ("page", "body") for detail in found["OAuth state", place]}
    assert sent_away == {"start 303", "authorize 200"}


# What a process says of itself once it serves: whether it may be dumped, and how large a core file it may write.
TELL = "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)\n"
ASK = f"import ctypes, os, resource, sys\nimport app\napp.serve()\n{TELL}"
WITH_CORES = ("sh", "-c", 'ulimit -c "$(ulimit -H -c)" && exec "$@"', "sh")
HARD_LIMIT = resource.getrlimit(resource.RLIMIT_CORE)[1]


@pytest.fixture
def folder(tmp_path: Path, migrated_database: Path) -> Path:
    shutil.copy(migrated_database, tmp_path / DATABASE)
    return tmp_path


def aborted(process: subprocess.Popen[Any]) -> int:
    """Let the process crash; whether it was CLD_DUMPED or just CLD_KILLED."""
    os.kill(process.pid, signal.SIGABRT)
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.wait()
    assert ended
    assert ended.si_status == signal.SIGABRT
    return ended.si_code


def test_a_crash_of_the_server_writes_no_core_file(folder: Path) -> None:
    with start((*WITH_CORES, *DEVELOPMENT), folder) as server:
        before = set(folder.rglob("*"))
        with suppress(PermissionError):  # root can take the limit back; then only the other guard is left
            resource.prlimit(server.process.pid, resource.RLIMIT_CORE, (HARD_LIMIT, HARD_LIMIT))
        assert aborted(server.process) == os.CLD_KILLED
        assert set(folder.rglob("*")) == before


def test_a_process_without_the_guard_may_be_dumped_and_write_a_core_file() -> None:
    command = (*WITH_CORES, sys.executable, "-c", f"import ctypes, os, resource\n{TELL}")
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    # As much as this process may now: a test before this one may have run a command that forbids it for good.
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert asked.stdout.splitlines()[-1] == f"1 {most}"


def test_a_worker_of_gunicorn_can_neither_be_dumped_nor_write_a_core_file(folder: Path) -> None:
    variables = environment_for(folder, BASE_URL="http://localhost")
    asked = subprocess.run(
        (*WITH_CORES, sys.executable, "-c", ASK), cwd=folder, env=variables, capture_output=True, text=True, check=True
    )
    assert asked.stdout.splitlines()[-1] == "0 0"
