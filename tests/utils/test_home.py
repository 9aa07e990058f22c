"""Where an installation's own files are: beside the code, in the working folder, or where SEALPOST_HOME says."""

from pathlib import Path

import pytest

from app import create_app
from tests.conftest import APP_KEY
from utils import home
from utils.env_reader import ConfigurationError
from utils.env_utils import load_settings, write_first_env


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(home.VARIABLE, raising=False)


def test_of_a_checkout_it_is_the_checkout() -> None:
    assert home.home() == home.CODE
    assert (home.CODE / "app.py").is_file()


def test_of_an_installed_package_it_is_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "CODE", Path("/srv/venv/lib/python3.11/site-packages"))
    assert home.home() == tmp_path


def test_a_variable_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.setenv(home.VARIABLE, "here")
    assert write_first_env(environment={})
    assert (tmp_path / "here" / ".env").is_file()
    assert "APP_KEY=" in (tmp_path / "here" / ".env").read_text()
    assert create_app().instance_path == str(tmp_path / "here" / "instance")


def test_one_that_names_no_folder_is_refused_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(home.VARIABLE, "nowhere")
    with pytest.raises(ConfigurationError, match=f"SEALPOST_HOME is not a folder: {tmp_path / 'nowhere'} "):
        load_settings()


def test_in_the_file_that_is_found_by_it_it_is_told_to_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "CODE", Path("/srv/venv/lib/python3.11/site-packages"))
    (tmp_path / ".env").write_text(f"APP_KEY={APP_KEY}\nAPP_ENV=development\nSEALPOST_HOME=/srv/other\n")
    assert "SEALPOST_HOME in .env has no effect. Set it in the environment." in load_settings().doubts
