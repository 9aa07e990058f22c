"""The application as `python app.py` serves it, in a process that has loaded it already: see `tests/processes.py`.

For tests of what it serves; how it starts, and what it loads for that, is shown with one that starts from nothing.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import app
from blueprints import serving
from tests import made_once
from tests.processes import CONTEXT
from tests.running import ROOT, RunningProcess, Sealpost


class ForkedSealpost(Sealpost):
    """A running server process, but begun sooner; a hash of a password costs it as little as one costs the tests."""

    def _begin(self) -> RunningProcess:
        return ForkedProcess(self.environment, ROOT)


class ForkedProcess:
    """The process, as a ``RunningProcess``."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        ours, theirs = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=_serve, args=(dict(environment), folder, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.stdout = os.fdopen(os.dup(ours.fileno()), encoding="utf-8")
        ours.close()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired("app.py", timeout)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process.pid
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _serve(environment: dict[str, str], folder: Path, output: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output.fileno(), stream.fileno())
    output.close()
    made_once.hash_cheaply()
    app._or_exit(lambda: serving.run(app.create_app))
