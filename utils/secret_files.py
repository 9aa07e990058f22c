"""Secrets in files (`APP_KEY_FILE` and its like): as Docker, Kubernetes and careful administrators place them."""

import os
import pwd
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from utils.env_names import SECRETS
from utils.env_reader import ConfigurationError

LARGEST: Final = 64 * 1024  # bytes
_FOR_READING: Final = (0o400, 0o440, 0o444)  # as Docker and Kubernetes show secrets
_MOUNTS: Final = Path("/proc/self/mountinfo")
_IN_MEMORY: Final = ("tmpfs", "ramfs")


def filled_in(environment: Mapping[str, str], *, left_out: str = "") -> dict[str, str]:
    """The environment with each secret that stands in a file, but for ``left_out``. Raises ConfigurationError."""
    return {**environment, **{name: text for name in SECRETS if name != left_out and (text := held(environment, name))}}


def held(environment: Mapping[str, str], name: str) -> str:
    """The secret that ``NAME_FILE`` leads to, without the line end after it; "" without that variable.

    Raises ConfigurationError, which names the variable and the remedy.
    """
    variable = f"{name}_FILE"
    place = environment.get(variable, "").strip()
    if not place:
        return ""
    if environment.get(name, "").strip():
        raise ConfigurationError(f"Set either {name} or {variable}, not both.")
    text = _text_of(variable, Path(place)).removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise ConfigurationError(f"{variable} leads to an empty file.")
    if name == "APP_KEY_PREVIOUS":
        return ",".join(text.splitlines())
    if len(text.strip().splitlines()) > 1:
        raise ConfigurationError(f"{variable} leads to a file with several lines. It must contain only the secret.")
    return text


def _text_of(variable: str, path: Path) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe would hold up the start
            _check(variable, path, os.fstat(file.fileno()))
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{variable} leads to no file. Check the path, and whether it is mounted.") from None
    except IsADirectoryError:
        raise ConfigurationError(
            f"{variable} leads to a directory, which Docker makes where the file to mount is missing."
        ) from None
    except OSError:
        raise ConfigurationError(
            f"{variable} leads to a file that cannot be read by {_name_of(os.geteuid())}. "
            "Run chown to that user and chmod 600 on it."
        ) from None
    if len(content) > LARGEST:
        raise ConfigurationError(f"{variable} leads to a file that is too large for a secret.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable} leads to a file that is not UTF-8.") from None


def _check(variable: str, path: Path, status: os.stat_result) -> None:
    """Refuse what others may read or change, unless that is how secrets are mounted. Raises ConfigurationError."""
    mode, owner, us = stat.S_IMODE(status.st_mode), status.st_uid, os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{variable} leads to something that is not a file.")
    is_mounted = _is_secret_mount(path, status)
    chown = "" if owner == us else f"chown it to {_name_of(us)} and "
    if mode & 0o033:
        raise ConfigurationError(f"{variable} can be changed or run by others. {_capital(chown)}run chmod 600 on it.")
    if mode & 0o044 and not is_mounted and not (owner == 0 and mode in _FOR_READING):
        or_root = "" if us == 0 else ", or make root its owner, with mode 440 and a group of yours"
        raise ConfigurationError(f"{variable} can be read by others. {_capital(chown)}run chmod 600 on it{or_root}.")
    if owner not in (us, 0) and not is_mounted:
        raise ConfigurationError(f"{variable} belongs to another user. Run chown {_name_of(us)} on it.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text else ""


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # a container's nameless user
        return str(user)


def _is_secret_mount(path: Path, status: os.stat_result) -> bool:
    """Whether the file lies where nobody here can write, or in memory, as Docker's and Kubernetes' secrets do.

    Memory that everybody may write to (/dev/shm, /tmp) is a place for secrets only of modes that are meant for them.
    """
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return True
    place, kind = _mount_of(path)
    is_shared = bool(place.stat().st_mode & stat.S_IWOTH)
    return kind in _IN_MEMORY and (not is_shared or stat.S_IMODE(status.st_mode) in _FOR_READING)


def _mount_of(path: Path) -> tuple[Path, str]:
    """Where the file's filesystem is mounted and its kind (proc_pid_mountinfo(5)); "" where there is no such list."""
    real = path.resolve()
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return real.parent, ""
    found = (Path("/"), "")
    for line in lines:
        fields, _, behind = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4]))
        if real.is_relative_to(point) and len(point.parts) >= len(found[0].parts):
            found = (point, behind.split()[0])
    return found
