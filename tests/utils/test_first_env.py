"""The first `.env` of a container: whole or not there, the same for all that start at once, and never another key."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running import ROOT
from utils.env_reader import ConfigurationError
from utils.env_utils import load_settings, read_environment
from utils.first_env import write_first_production_env

HERE = "http://localhost:8000"
_WRITES_AND_DIES = """
import os, sys
from pathlib import Path
from utils import first_env
os.fsync = lambda _: os.kill(os.getpid(), 9)
first_env.write_first_production_env(sys.argv[2], Path(sys.argv[1]), {})
"""


def test_it_is_enough_for_production_and_private(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert write_first_production_env(HERE, file, {})
    settings = load_settings(read_environment(file))
    assert (settings.is_production, settings.base_url, bool(settings.admin_token)) == (True, HERE, True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [".env"]


def test_it_is_written_at_the_end_of_a_link_that_leads_into_the_volume(tmp_path: Path) -> None:
    volume, link = tmp_path / "data", tmp_path / ".env"
    volume.mkdir()
    link.symlink_to(volume / ".env")
    assert write_first_production_env(HERE, link, {})
    assert "APP_KEY=" in (volume / ".env").read_text()
    assert not write_first_production_env(HERE, link, {})


@pytest.mark.parametrize("name", ["APP_KEY", "APP_KEY_FILE"])
def test_who_brings_a_key_gets_no_other(tmp_path: Path, name: str) -> None:
    assert not write_first_production_env(HERE, tmp_path / ".env", {name: "x"})
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_the_environment_names_is_not_written_a_second_time(tmp_path: Path) -> None:
    assert write_first_production_env(HERE, tmp_path / ".env", {"BASE_URL": "https://mail.example.com"})
    assert "BASE_URL" not in (tmp_path / ".env").read_text()


def test_of_many_that_start_at_once_one_writes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(lambda _: write_first_production_env(HERE, tmp_path / ".env", {}), range(8)))
    assert sorted(wrote) == [False] * 7 + [True]


def test_one_that_is_killed_while_it_writes_leaves_no_keys_and_the_next_start_writes_whole_ones(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    killed = subprocess.run([sys.executable, "-c", _WRITES_AND_DIES, file, HERE], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not file.exists()
    assert write_first_production_env(HERE, file, {})
    assert load_settings(read_environment(file)).base_url == HERE
    assert os.listdir(tmp_path) == [".env"]  # noqa: PTH208


def test_a_folder_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere/\.env cannot be written: .*Make your user the owner"):
        write_first_production_env(HERE, tmp_path / "nowhere" / ".env", {})
