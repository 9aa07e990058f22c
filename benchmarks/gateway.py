"""The gateway as `flask gateway run` starts it, on SQLite with fsync, and Postfix as what would stand in its place.

Both only queue: no worker runs beside the gateway, and Postfix holds what it takes. Neither asks for TLS or a login of
programs on this machine, which smtp-source could not give.
"""

import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.application import configuration, environment, opened
from benchmarks.child import ROOT
from benchmarks.message import Target
from benchmarks.servers import Server, Unavailable
from database.migrating import upgrade
from services.accounts import accounts, api_tokens
from services.settings import configs
from services.settings.fields import parse_change
from tests import certificates
from tests.loopback import free_port
from tests.postfix_server import PostfixServer, missing

ACCOUNT: Final = "benchmark"
_NETWORK: Final = "127.0.0.0/8"
_HOLDS: Final = {
    "smtpd_tls_security_level": "none",
    "smtpd_sasl_auth_enable": "no",
    "mynetworks": _NETWORK,
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_client_restrictions": "check_client_access static:hold",
}


@dataclass(frozen=True, kw_only=True)
class MeasuredGateway:
    """A running gateway: what is sent to in clear, the port with TLS, a token for it, and its process."""

    server: Server
    tls_port: int
    token: str
    pid: int


@contextmanager
def gateway() -> Iterator[MeasuredGateway]:
    """The gateway, ready."""
    with tempfile.TemporaryDirectory(prefix="sealpost-benchmark-") as name:
        folder, port, tls_port = Path(name), free_port(), free_port()
        own = certificates.authority().issue_cert("localhost", "127.0.0.1")
        own.private_key_and_cert_chain_pem.write_to_path(folder / "gateway.pem")
        nowhere = Target(host="127.0.0.1", port=1)  # nothing is sent
        variables = environment(nowhere, folder) | {
            "SUBMISSION_LISTEN": f"127.0.0.1:{port}, smtps://127.0.0.1:{tls_port}",
            "SUBMISSION_TLS_CERT": str(folder / "gateway.pem"),
            "SUBMISSION_TRUSTED": _NETWORK,
        }
        with opened(variables, folder):
            upgrade()
            configs.save(parse_change(configuration(nowhere)), actor="benchmark")
            person = accounts.create(ACCOUNT, "noreply@example.com", "a pass phrase that nobody uses")
            token, _ = api_tokens.create(person.id, "Benchmark", scopes=("send",))
        command = [sys.executable, "-m", "flask", "--app", "app", "gateway", "run"]
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout
                if not process.stdout.readline():
                    raise RuntimeError("The gateway did not start; what it said stands above.")
                server = Server(target=Target(host="127.0.0.1", port=port), taken=lambda _: _rows(folder))
                yield MeasuredGateway(server=server, tls_port=tls_port, token=token, pid=process.pid)
            finally:
                process.terminate()


@contextmanager
def queueing_postfix() -> Iterator[Server]:
    """Postfix that takes whatever comes from here, syncs it to its queue, and leaves it there."""
    if lack := missing():
        raise Unavailable(lack)
    with PostfixServer({ACCOUNT: secrets.token_urlsafe(12)}, "in_flow_delay = 0\n", {"holds": _HOLDS}) as postfix:
        target = Target(host="127.0.0.1", port=postfix.ports["holds"])
        yield Server(target=target, taken=lambda _: len(list(postfix.queue("hold"))))


def _rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "benchmark.db")) as connection:
        found: tuple[int] = connection.execute("SELECT count(*) FROM email_outbox").fetchone()
    return found[0]
