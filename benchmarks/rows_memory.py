"""The measurements of memory: a mail worker over very many mails, and a web process."""

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.application import environment
from benchmarks.child import ROOT, Child
from benchmarks.databases import SQLITE, databases
from benchmarks.message import Target
from benchmarks.results import Goal, Result
from benchmarks.series import Effort
from benchmarks.servers import Unavailable, sink
from tests.live_server import gunicorn
from tests.loopback import free_port
from tests.patience import PATIENCE

MAILS: Final = 100_000
FIRST_MAILS: Final = 5_000  # which fill what any process keeps
VISITS: Final = 200


def worker_memory(effort: Effort) -> Result:
    """What a worker's memory grows by over very many mails."""
    mails = MAILS if effort.is_full else MAILS // 20
    with databases(SQLITE) as new, sink(secure=True, chunking=True) as server:
        settings = {"target": asdict(server.target), "options": {"database": new()}}
        with Child("benchmarks.sender", "sealpost_durable", settings=settings) as child:
            child.ask(f"send {FIRST_MAILS}")
            before = resident_mebibytes(child.pid)
            child.ask(f"send {mails}")
            after = resident_mebibytes(child.pid)
        if server.taken(0) != FIRST_MAILS + mails:
            raise RuntimeError("Not every mail arrived.")
    return Result(
        name="worker-memory",
        what=f"memory of a worker over {mails:,} emails",
        unit="MiB",
        figures={"before": before, "after": after},
        goals=[Goal("MiB more", after - before, 10, True)],
    )


def web_memory(_effort: Effort) -> Result:
    """A web process as the README starts it, its mail worker included, after some visits."""
    port = free_port()
    with _web_server(port) as master:
        for _ in range(VISITS):
            _visit(port)
        used = max(map(resident_mebibytes, _children(master)))
    return Result(
        name="web-memory",
        what=f"memory of a web process after {VISITS} visits",
        unit="MiB",
        figures={"web process": used},
        goals=[Goal("MiB", used, 150, True)],
    )


@contextmanager
def _web_server(port: int) -> Iterator[int]:
    """gunicorn with one worker, serving; gives the process id of its master."""
    with tempfile.TemporaryDirectory(prefix="sealpost-benchmark-") as name:
        # No mail is sent, so nothing needs to be at the target.
        variables = {**os.environ, **environment(Target(host="127.0.0.1", port=1), Path(name))}
        migrate = (sys.executable, "-m", "flask", "--app", "app", "db", "upgrade")
        subprocess.run(migrate, cwd=ROOT, env=variables, check=True, capture_output=True)
        line = gunicorn(port, "--worker-class", "gthread", "--threads", "8")
        with subprocess.Popen(
            line, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                _wait_for(port)
                yield server.pid
            finally:
                server.send_signal(signal.SIGTERM)


def _wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(ConnectionError):
            return _visit(port)
        time.sleep(0.05)
    raise RuntimeError("gunicorn does not serve.")


def _visit(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/login")
    connection.getresponse().read()
    connection.close()


def _children(pid: int) -> list[int]:
    return list(map(int, proc(f"{pid}/task/{pid}/children").split()))


def resident_mebibytes(pid: int) -> float:
    """The memory of a process that is in RAM."""
    (line,) = (line for line in proc(f"{pid}/status").splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def proc(path: str) -> str:
    """What this system says of its processes."""
    try:
        return (Path("/proc") / path).read_text()
    except FileNotFoundError:
        raise Unavailable("this system has no /proc to read memory from") from None
