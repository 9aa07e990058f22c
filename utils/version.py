"""Which version of Sealpost this is, from the one file that says so."""

import tomllib
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).parents[1] / "pyproject.toml"


def _version() -> str:
    """A copy that was installed without the file runs all the same: the version is for reports alone."""
    try:
        return str(tomllib.loads(_FILE.read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"


VERSION: Final = _version()
