"""One process at a time, of those that share a folder: what is made once there, at the first start or an upgrade."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here for this folder, however long that takes.

    The kernel keeps the lock on the folder itself (flock(2)): it leaves no file, and ends with the process, killed or
    not. A filesystem that cannot lock a folder (NFS) lets everybody in. Raises OSError if the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
