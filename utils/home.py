"""The folder that holds what is an installation's own: `.env`, and `instance/` with database and receipts."""

import os
from pathlib import Path
from typing import Final

from utils.env_reader import ConfigurationError

CODE: Final = Path(__file__).resolve().parent.parent  # where app.py is
VARIABLE: Final = "SEALPOST_HOME"
_OF_PACKAGES: Final = ("site-packages", "dist-packages")


def home() -> Path:
    """``SEALPOST_HOME``; without it the folder of app.py, or the working folder where pip has installed that.

    It is asked for in the process's environment alone, since `.env` is found by it. Raises ConfigurationError.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        return Path.cwd() if is_installed() else CODE
    folder = Path(named).absolute()
    if not folder.is_dir():
        raise ConfigurationError(f"{VARIABLE} is not a folder: {folder} Create it, or name another.")
    return folder


def is_installed() -> bool:
    """Whether this code is a package among others, beside which nobody keeps their own files."""
    return CODE.name in _OF_PACKAGES
