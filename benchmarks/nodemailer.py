"""Puts the pinned nodemailer into the virtual environment's directory, which is in no repository."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.servers import Unavailable

SOURCE: Final = Path(__file__).parent / "senders" / "nodemailer"
_INSTALLED: Final = Path(sys.prefix) / "nodemailer"
_INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


def command() -> tuple[tuple[str, str], dict[str, str]]:
    """The command line of its sender and what its environment needs. Raises Unavailable without node or npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Unavailable("node and npm are not installed")
    _install(npm)
    return (node, str(SOURCE / "sender.js")), {"NODE_PATH": str(_INSTALLED / "node_modules")}


def _install(npm: str) -> None:
    _INSTALLED.mkdir(exist_ok=True)
    wanted = (SOURCE / "package-lock.json").read_bytes()
    done = _INSTALLED / "done"
    if done.exists() and done.read_bytes() == wanted:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, _INSTALLED / name)
    finished = subprocess.run([npm, *_INSTALL], cwd=_INSTALLED, stdout=subprocess.DEVNULL, check=False)
    if finished.returncode:
        raise Unavailable("npm could not install nodemailer")
    done.write_bytes(wanted)
