"""Secrets in files: taken as Docker and Kubernetes place them, refused where others could read, with what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running import NOBODY
from tests.utils.test_env_utils import GOOD
from utils import secret_files
from utils.env_names import SECRETS
from utils.env_reader import ConfigurationError
from utils.env_utils import Settings, load_settings
from utils.secret import Secret

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
TOKEN = "Xw9vPq2LrM6yKd4Zs8Fh1JcTn5Ub3GeAoSi7"


def secret_in(path: Path, content: str = TOKEN, mode: int = 0o600, owner: int | None = None) -> Path:
    path.write_text(content)
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, owner)
    return path


def a_pipe_at(path: Path) -> Path:
    os.mkfifo(path)
    return path


def load(**variables: str | Path) -> Settings:
    return load_settings({**GOOD, **{name: str(value) for name, value in variables.items()}})


def refusal(**variables: str | Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(**variables)
    message = str(caught.value)
    assert "\n" not in message
    assert TOKEN not in message
    return message


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret else ""


HELD: dict[str, tuple[str, Callable[[Settings], object]]] = {
    "APP_KEY": (TOKEN, lambda held: held.app_key.reveal()),
    "APP_KEY_PREVIOUS": ("old, older", lambda held: ", ".join(key.reveal() for key in held.app_key_previous)),
    "ADMIN_TOKEN": (TOKEN, lambda held: held.admin_token and held.admin_token.reveal()),
    "DATABASE_URL": ("sqlite:///other.db", lambda held: held.database_url),
    "EMAIL_HOST_PASSWORD": (" with spaces ", lambda held: held.email["EMAIL_HOST_PASSWORD"]),
    "CELERY_BROKER_URL": ("redis://localhost/0", lambda held: held.celery_broker_url),
    "RATELIMIT_STORAGE_URI": ("redis://localhost/1", lambda held: held.ratelimit_storage_uri),
    "OIDC_CLIENT_SECRET": (TOKEN, lambda held: _revealed(held.oidc.client_secret if held.oidc else None)),
    "PROXY_USER_SECRET": (TOKEN, lambda held: _revealed(held.proxy_user.secret if held.proxy_user else None)),
}
# Without which a secret is not looked at.
BESIDE = {
    "OIDC_CLIENT_SECRET": {"OIDC_ISSUER": "https://id.example.com", "OIDC_CLIENT_ID": "sealpost"},
    "PROXY_USER_SECRET": {"PROXY_USER_HEADER": "Remote-User", "TRUSTED_PROXIES": "1"},
}


def test_every_secret_is_tried_here() -> None:
    assert set(HELD) == set(SECRETS)


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_can_stand_in_a_file(tmp_path: Path, name: str, end: str) -> None:
    content, found_in = HELD[name]
    file = secret_in(tmp_path / "secret", content + end)
    variables: dict[str, str | Path] = {name: "", f"{name}_FILE": file, **BESIDE.get(name, {})}
    settings = load(**variables)
    assert found_in(settings) == content


def test_previous_keys_stand_one_a_line_too(tmp_path: Path) -> None:
    settings = load(APP_KEY_PREVIOUS_FILE=secret_in(tmp_path / "keys", "first\nsecond\n"))
    assert [key.reveal() for key in settings.app_key_previous] == ["first", "second"]


def test_a_secret_of_a_file_is_redacted_like_any_other(tmp_path: Path) -> None:
    file = secret_in(tmp_path / "password", "correct-horse-9")
    assert "correct-horse-9" in load(EMAIL_HOST_PASSWORD_FILE=file).secrets()


def test_a_value_and_a_file_for_one_secret_are_too_many(tmp_path: Path) -> None:
    file = secret_in(tmp_path / "token")
    assert "either ADMIN_TOKEN or ADMIN_TOKEN_FILE" in refusal(ADMIN_TOKEN=TOKEN, ADMIN_TOKEN_FILE=file)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path, "leads to no file"),
        (lambda path: path.mkdir() or path, "leads to a directory"),
        (lambda path: secret_in(path, ""), "empty file"),
        (lambda path: secret_in(path, " \n"), "empty file"),
        (lambda path: secret_in(path, f"{TOKEN}\nmore"), "several lines"),
        (lambda path: secret_in(path, "x" * 70_000), "too large"),
        (a_pipe_at, "not a file"),
    ],
)
def test_a_path_that_leads_to_no_secret_is_told(tmp_path: Path, make: Callable[[Path], Path], told: str) -> None:
    message = refusal(ADMIN_TOKEN_FILE=make(tmp_path / "token"))
    assert message.startswith("ADMIN_TOKEN_FILE ")
    assert told in message


@ROOT_ONLY
@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o600])
def test_a_file_of_root_may_have_the_modes_of_docker(tmp_path: Path, mode: int) -> None:
    assert load(ADMIN_TOKEN_FILE=secret_in(tmp_path / "token", mode=mode, owner=0)).admin_token


@ROOT_ONLY
@pytest.mark.parametrize("mode", [0o640, 0o644, 0o660, 0o666, 0o750, 0o777, 0o602, 0o444 | 0o111])
def test_a_file_of_root_on_a_disk_that_is_looser_is_refused(tmp_path: Path, mode: int) -> None:
    file = secret_in(tmp_path / "token", mode=mode, owner=0)
    assert "run chmod 600 on it" in refusal(ADMIN_TOKEN_FILE=file).replace("Run", "run")


@ROOT_ONLY
@pytest.mark.parametrize("mode", [0o440, 0o444, 0o644])
def test_a_file_of_somebody_else_that_others_read_is_refused_with_chown(tmp_path: Path, mode: int) -> None:
    message = refusal(ADMIN_TOKEN_FILE=secret_in(tmp_path / "token", mode=mode, owner=NOBODY))
    assert "Chown it to root and run chmod 600 on it" in message


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that the kernel's list of mounts calls one in memory, with a space in its name."""
    folder = tmp_path / "run secrets"
    folder.mkdir()
    escaped = str(folder).replace(" ", "\\040")
    listed = tmp_path / "mountinfo"
    listed.write_text(
        "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        f"36 22 0:42 / {escaped} rw,relatime shared:9 - tmpfs tmpfs rw,size=64k\n"
        f"37 22 8:2 / {escaped}-other rw - ext4 /dev/sda2 rw\n"
    )
    monkeypatch.setattr(secret_files, "_MOUNTS", listed)
    return folder


@ROOT_ONLY
@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o640, 0o644])
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_a_secret_mounted_in_memory_is_taken_whoever_owns_it(mounted: Path, mode: int, owner: int) -> None:
    file = secret_in(mounted / "token", mode=mode, owner=owner)
    link = mounted / "link"  # as Kubernetes has them
    link.symlink_to(file)
    assert load(ADMIN_TOKEN_FILE=link).admin_token


def test_one_that_others_may_change_is_refused_there_as_well(mounted: Path) -> None:
    assert "can be changed" in refusal(ADMIN_TOKEN_FILE=secret_in(mounted / "token", mode=0o666))


@ROOT_ONLY
def test_memory_that_everybody_writes_to_is_no_secret_mount_for_loose_modes(mounted: Path) -> None:
    mounted.chmod(0o1777)
    assert "chmod 600" in refusal(ADMIN_TOKEN_FILE=secret_in(mounted / "token", mode=0o644, owner=NOBODY))
    assert load(ADMIN_TOKEN_FILE=secret_in(mounted / "token", mode=0o444, owner=NOBODY)).admin_token


def test_a_missing_password_of_the_fallback_stops_no_start_and_is_told(tmp_path: Path) -> None:
    settings = load(EMAIL_HOST="smtp.example.com", EMAIL_HOST_PASSWORD_FILE=tmp_path / "nowhere")
    assert "EMAIL_HOST_PASSWORD_FILE leads to no file" in settings.email_fault
