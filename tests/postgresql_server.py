"""A PostgreSQL server of our own for the tests, on a private socket directory, gone when it ends."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.loopback import free_port


def binaries() -> Path:
    """Debian's newest PostgreSQL. Skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (make services)")
    return found[-1].parent


@contextmanager
def running(*, fsync: bool = False) -> Iterator[str]:
    """The URL of a fresh, empty database. As root the server runs as the user postgres, which it insists on."""
    programs, port = binaries(), free_port()
    owner = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    # Not below pytest's own directory, which nobody but its owner may enter.
    data = Path(tempfile.mkdtemp(prefix="sealpost-postgresql-"))
    os.chown(data, owner.pw_uid, owner.pw_gid)

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, user=owner.pw_uid, group=owner.pw_gid, stdout=subprocess.DEVNULL, cwd=data, env={}
        )

    control = (str(programs / "pg_ctl"), "-D", str(data), "-w", "-s")
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync={'on' if fsync else 'off'}"
    )
    run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "sealpost", "-E", "UTF8", "--no-sync")
    run(*control, "-l", str(data / "log"), "-o", options, "start")
    try:
        yield f"postgresql://sealpost@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(data)
