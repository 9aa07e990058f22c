"""Files and folders that are nobody else's: made so whatever the umask is, and mended where they are not."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

FILE: Final = 0o600
FOLDER: Final = 0o700
RECEIPTS: Final = "receipts"  # the folder below `instance/` for what the database could not take
_OTHERS: Final = 0o077


def make_folder(path: Path) -> None:
    """Make a folder for us alone, unless it is there. Raises OSError."""
    path.mkdir(mode=FOLDER, parents=True, exist_ok=True)


def make_file(path: Path) -> None:
    """Make an empty file for us alone, also at the end of a link that leads nowhere yet.

    If there is one, or it cannot be made, nothing happens: whoever opens it next says why.
    """
    try:
        os.close(os.open(path.resolve(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE))
    except (OSError, RuntimeError):  # a circle of links
        return


def sync(folder: Path) -> None:
    """What was renamed in a folder lasts only once the folder is on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mend(paths: Iterable[Path]) -> None:
    """Take from others what they may do with these files and folders, each with a warning. One that is gone is none.

    What belongs to somebody else, or lies on a read-only disk, is only told.
    """
    for path in paths:
        try:
            status = path.stat()
            if status.st_mode & _OTHERS and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                _close(path, status.st_mode)
        except OSError:  # gone, or in a folder that says nothing to us
            continue


def _close(path: Path, mode: int) -> None:
    was = f"{stat.S_IMODE(mode):04o}"
    wanted = FOLDER if stat.S_ISDIR(mode) else FILE
    try:
        path.chmod(wanted)
    except OSError as error:
        remedy = f"As its owner or root: chmod {wanted:o} {path}"
        log.warning("open_to_others", path=str(path), mode=was, why=error.strerror, remedy=remedy)
    else:
        log.warning("was_open_to_others", path=str(path), mode=was, now=f"{wanted:04o}")
