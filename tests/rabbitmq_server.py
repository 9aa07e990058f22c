"""A RabbitMQ server of our own for the tests, on free ports of the loopback address, gone when it ends."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.loopback import free_port
from tests.patience import PATIENCE

PROGRAM: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # Debian's own would change to another user


@contextmanager
def running() -> Iterator[str]:
    """The URL of a broker that keeps everything in a directory of its own. Skips the test where there is none."""
    if not PROGRAM.exists():
        pytest.skip("RabbitMQ is not installed (make services)")
    folder = Path(tempfile.mkdtemp(prefix="sealpost-rabbitmq-"))
    (folder / "plugins").write_text("[].")
    port, epmd_port = free_port(), str(free_port())
    environment = {
        **os.environ,
        "HOME": str(folder),  # of the cookie
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": epmd_port,
        "RABBITMQ_NODENAME": f"sealpost{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    epmd = subprocess.Popen(["epmd", "-port", epmd_port, "-address", "127.0.0.1"], env=environment)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([PROGRAM], env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait_for(port, folder)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        epmd.kill()
        epmd.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            if connection.recv(1):
                return
        time.sleep(0.05)
    raise TimeoutError(f"RabbitMQ did not start: {(folder / 'output').read_text()[-2000:]}")
