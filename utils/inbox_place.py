"""Where the local inbox of this installation listens: one process has it, and all others of the installation find it.

The process holds a lock on a file for as long as it lives, so that the file says nothing once that is over, however it
ended. An installation is a key and a database; two that share a folder do not find each other's inbox.
"""

import fcntl
import hashlib
import json
import os
import secrets
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from utils.encryption_utils import subkey
from utils.env_utils import Settings, fernet_key_from

HOST: Final = "127.0.0.1"
NOT_RUNNING: Final = "It accepts mail only while `make run` is running."
_TRIES: Final = 50
_PAUSE: Final = 0.02  # seconds; whoever looks holds the lock for an instant
_LARGEST: Final = 4096  # bytes


@dataclass(frozen=True, kw_only=True)
class InboxPlace:
    """The port of the loopback address; ``mark`` stands in the greeting there and in no other's.

    With a ``fault``, in a sentence, nothing of ours listens there.
    """

    port: int
    mark: str = ""
    fault: str = ""


class InboxClaim:
    """This process has the local inbox, until it lets go or ends."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self.mark = secrets.token_urlsafe(16)

    def tell(self, place: InboxPlace) -> None:
        """Say to all processes of the installation where it is."""
        text = json.dumps(asdict(place)).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))

    def let_go(self) -> None:
        with suppress(OSError):
            self._path.unlink()  # while it is held, so that it is nobody else's yet
        os.close(self._descriptor)


def claim(folder: Path, settings: Settings) -> InboxClaim | None:
    """Take the local inbox upon this process; None if another of the installation has it. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(folder, settings)
    for _ in range(_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _lock(descriptor, fcntl.LOCK_EX) and _is_there(descriptor, path):
            os.ftruncate(descriptor, 0)  # what it says is of a process that is no more
            return InboxClaim(descriptor, path)
        os.close(descriptor)
        if _text(path) is not None:
            return None
        time.sleep(_PAUSE)  # somebody was looking, or letting go
    return None


def find(folder: Path, settings: Settings) -> InboxPlace | None:
    """Where it is; None while no process has it."""
    text = _text(_path(folder, settings))
    if not text:
        return None
    try:
        return InboxPlace(**json.loads(text))
    except (ValueError, TypeError):  # somebody else has written there
        return None


def _path(folder: Path, settings: Settings) -> Path:
    key = subkey("local-inbox-v1", fernet_key_from(settings.app_key))
    name = hashlib.sha256(key + settings.database_url.encode()).hexdigest()[:16]
    return folder / f"local-inbox-{name}"


def _text(path: Path) -> bytes | None:
    """What the process that holds the file says in it, "" before it does; None if nobody holds it."""
    try:
        with closing(os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")) as file:
            return None if _lock(file.fileno(), fcntl.LOCK_SH) else file.read(_LARGEST)
    except OSError:
        return None


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether the path still is this file, and not a newer one: whoever let go has taken it away."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
