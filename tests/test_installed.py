"""`pip install` of a checkout: the package has all that it needs, and `sealpost` finds its settings.

It is installed into an environment of its own, which has what it depends on from the one of the tests: nothing is
downloaded.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT, Client, Sealpost
from tests.visitors import PASSWORD
from utils.env_names import OURS
from utils.version import VERSION

FOLDERS = ("blueprints", "database", "services", "utils", "templates", "static")
PURE = Path("lib") / f"python{sysconfig.get_python_version()}" / "site-packages"


@dataclass(frozen=True)
class Installed:
    """The environment, and the wheel that it was installed from."""

    folder: Path
    wheel: Path

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)


def environment(**variables: str) -> dict[str, str]:
    """That of a shell in which nothing of ours is set."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS and not name.startswith("PYTHON")}
    return {**kept, **variables}


def run(command: list[str], folder: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    assert uv
    build = [uv, "build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    venv = folder / "venv"
    for command in (
        [*build, "--out-dir", str(folder / "dist"), str(ROOT)],
        [sys.executable, "-m", "venv", "--without-pip", str(venv)],
    ):
        done = run(command, folder, environment())
        assert done.returncode == 0, done.stderr
    wheel = next((folder / "dist").glob("*.whl"))
    (venv / PURE / "what_it_depends_on.pth").write_text(sysconfig.get_path("purelib"))
    install = [uv, "pip", "install", "--no-deps", "--offline", "--compile-bytecode"]
    done = run([*install, "--python", str(venv / "bin" / "python"), str(wheel)], folder, environment())
    assert done.returncode == 0, done.stderr
    return Installed(venv, wheel)


def test_every_file_of_the_code_is_in_the_package(installed: Installed) -> None:
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = set(wheel.namelist())
    assert set(listed.split()) - names == set()
    assert {"app.py", "blueprints/gunicorn_conf.py"} <= names
    assert {name.partition("/")[0] for name in names} == {"app.py", *FOLDERS, f"sealpost-{VERSION}.dist-info"}


def test_it_says_its_version_without_any_settings(installed: Installed, tmp_path: Path) -> None:
    done = run([installed.program("sealpost"), "--version"], tmp_path, environment())
    assert (done.returncode, done.stdout) == (0, f"Sealpost {VERSION}\n")
    assert list(tmp_path.iterdir()) == []


def test_it_starts_in_an_empty_folder_and_is_found_there_from_elsewhere(installed: Installed, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    ports = {"PORT": str(free_port()), "LOCAL_INBOX_PORT": str(free_port())}
    with Sealpost(environment(**ports), [installed.program("sealpost"), "run"], home) as server:
        assert Client(server.url).get("/setup").status == 200
        assert Client(server.url).get("/static/sealpost.css").status == 200
        assert server.stop() == 0
    assert {entry.name for entry in home.iterdir()} == {".env", "instance"}
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    create = ["account", "create", "alice", "a@example.com", "--admin", "--password-file", str(password)]
    done = run([installed.program("sealpost"), *create], elsewhere, environment(SEALPOST_HOME=str(home)))
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == []
