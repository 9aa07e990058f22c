"""Packages from npm, pinned in a lock file, for peers that run on Node."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from tests.peers.peer import Unavailable

_INSTALL: Final = (
    "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error",
    "--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", "--fetch-timeout=60000",
)  # fmt: skip
_LAST: Final = 600  # characters of what npm said


def missing(oldest: int) -> str | None:
    """Why nothing can be installed for a Node of that version or newer, or None if it can."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return "node and npm are not installed (make services)"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.removeprefix("v").partition(".")[0]
    return None if major.isdigit() and int(major) >= oldest else f"node is {said.strip()}, and older than {oldest}"


@cache
def installed(source: Path) -> Path:
    """The node_modules of a folder's lock file, installed once for all who run tests here. Raises Unavailable."""
    wanted = (source / "package-lock.json").read_bytes()
    folder = Path(tempfile.gettempdir()) / f"sealpost-test-peers-{os.getuid()}" / source.name
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    if folder.parent.stat().st_uid != os.getuid():
        raise Unavailable(f"{folder.parent} belongs to somebody else")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists() or done.read_bytes() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, folder / name)
            _install(folder)
            done.write_bytes(wanted)
    return folder / "node_modules"


def _install(folder: Path) -> None:
    command = [shutil.which("npm") or "npm", *_INSTALL]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        said = (finished.stderr or finished.stdout).strip()[-_LAST:]
        raise Unavailable(f"npm could not install what {folder.name} pins; it needs its registry. It said:\n{said}")
