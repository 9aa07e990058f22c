"""The gateway as a process beside the one that serves pages: started with it, again when it dies, and ended with it."""

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Final

import structlog

from utils.env_reader import ConfigurationError
from utils.env_utils import ROOT, read_environment
from utils.submission_env import LISTEN

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
FIRST_PAUSE: Final = 1.0  # before the first restart; twice as long before each further one
LONGEST_PAUSE: Final = 60.0
STEADY_SECONDS: Final = 60.0  # of life, after which a restart is the first again
STOP_SECONDS: Final = 7.0
_COMMAND: Final = ("-m", "flask", "--app", "app", "gateway", "run")


class Sibling:
    """The process. Nothing here waits but ``wait``: whoever has it asks it to ``look`` about once a second."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = FIRST_PAUSE
        self._due = 0.0
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Of the process that runs, if one does."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def look(self) -> None:
        """Start it if it does not run and its time has come."""
        now = time.monotonic()
        if self._is_stopping or self.pid is not None:
            return
        if self._process is not None:
            if now - self._started > STEADY_SECONDS:
                self._pause = FIRST_PAUSE
            log.error("gateway_ended", status=self._process.returncode, starts_again_in=self._pause)
            self._process = None
            self._due, self._pause = now + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        if now >= self._due:
            self._started = now
            command = [sys.executable, *_COMMAND, "--parent", str(os.getpid())]
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)  # noqa: S603 - our own

    def begin_stop(self) -> None:
        """Tell it to end, and start no other."""
        self._is_stopping = True
        if self._process is not None and self.pid is not None:
            self._process.send_signal(signal.SIGTERM)

    def begin_again(self) -> None:
        """Have it start anew, with the settings as they are then."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS) -> None:
        """Until it has ended, which it is made to after that time."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class WatchedSibling:
    """The same where there is a thread to spare for it."""

    def __init__(self, sibling: Sibling) -> None:
        self._sibling = sibling
        self._stopping = threading.Event()
        sibling.look()
        self._thread = threading.Thread(target=self._run, name="gateway-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait until it has."""
        self._stopping.set()
        self._thread.join()
        self._sibling.begin_stop()
        self._sibling.wait()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._sibling.look()


def under_gunicorn(arbiter: Any) -> None:  # noqa: ANN401 - untyped
    """Have gunicorn's master look after it, which comes by here every second, and has no threads where it forks."""
    try:
        if not read_environment().get(LISTEN, "").strip():
            return
    except ConfigurationError:  # which the workers tell
        return
    sibling = Sibling()
    manage, stop, reload = arbiter.manage_workers, arbiter.stop, arbiter.reload

    def manage_all() -> None:
        sibling.look()
        manage()

    def stop_all(graceful: bool = True) -> None:
        sibling.begin_stop()  # first: so that both have the whole of the time
        stop(graceful)
        sibling.wait(1.0)

    def reload_all() -> None:
        sibling.begin_again()
        reload()

    arbiter.manage_workers, arbiter.stop, arbiter.reload = manage_all, stop_all, reload_all
