"""An nginx of our own for the tests, in front of a live server, with TLS, gone when it ends."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import certificates
from tests.loopback import free_port
from tests.patience import PATIENCE

_CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/nginx.pem;
        ssl_certificate_key {folder}/nginx.pem;
        {locations}
    }}
}}
"""


@contextmanager
def in_front_of(locations: str, folder: Path, port: int | None = None) -> Iterator[int]:
    """Serve these ``location`` blocks, and give the port. Skips the test where there is no nginx."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed (make services)")
    port = port or free_port()
    certificates.authority().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "nginx.pem")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, locations=locations))
    errors = folder / "nginx.err"
    with errors.open("wb") as said:
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        yield port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()


def wait_until_listening(port: int) -> None:
    """nginx says nothing once it is up; a connection is taken at once or after a few tries."""
    for _ in range(3000):
        with socket.socket() as trying:
            trying.settimeout(0.01)
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
            trying.close()
