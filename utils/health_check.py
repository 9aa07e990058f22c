"""The command behind the image's HEALTHCHECK: whether this container does what it is for, by its exit status.

It asks `/healthz`, which tells nothing of mail: a mail server that is down must not take the settings page away. A
container that serves no pages is well while it runs.
"""

import http.client
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from utils.container import PORT

_SECONDS: Final = 4.0  # for an answer; Docker waits for 5
_WELL: Final = 200
_PROC: Final = Path("/proc")
_STARTS: Final = b"utils.container"  # the module that migrates, and then becomes the program


def is_well(port: int = PORT, processes: Path = _PROC, seconds: float = _SECONDS) -> bool:
    """Whether the pages answer, or there are none here."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == _WELL
        except ConnectionRefusedError:
            return not _is_for_pages(processes)
        except (OSError, http.client.HTTPException):
            return False


def _is_for_pages(processes: Path) -> bool:
    """Whether gunicorn runs in this container, which would then have to answer, or will once the tables are ready."""
    for process in processes.glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if b"gunicorn" in words or any(word.endswith(b"/gunicorn") for word in words[:2]):
            return True
        if _STARTS in words and words[words.index(_STARTS) + 1] in (b"", b"web"):
            return True
    return False


if __name__ == "__main__":
    sys.exit(0 if is_well() else 1)
