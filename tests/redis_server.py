"""A Redis server of our own for the tests, on a free port of the loopback address, gone when it ends."""

import shutil
import socket
import subprocess
import time
from contextlib import suppress

import pytest

from tests.loopback import free_port
from tests.patience import PATIENCE


class RedisServer:
    """Keeps nothing on disk; it can be stopped and started again under the same ``url``."""

    def __init__(self) -> None:
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Returns once it takes connections. Skips the test where there is no Redis."""
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("Redis is not installed (make services)")
        options = f"--port {self._port} --bind 127.0.0.1 --save --appendonly no".split()
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self._port)).close()
                return
            time.sleep(0.01)
        raise TimeoutError("Redis did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
