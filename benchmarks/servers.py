"""The servers that the measurements send to: the fast sink and Postfix, near or at the end of a long line."""

import secrets
import shutil
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Final

from benchmarks.child import Child
from benchmarks.cpu import used_by
from benchmarks.message import Target
from tests import certificates
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.postfix_server import DOMAIN, PostfixServer, missing

USER: Final = "sealpost"
PYTHON_SINK: Final = "benchmarks.sink"
SINK_SOURCE: Final = Path(__file__).with_name("sink.c")
_TOLERANCE: Final = 0.004  # seconds that a line may take longer than it should
# What it takes is thrown away where the tests would keep it, and it never slows down a fast client on purpose.
_MAIN: Final = "virtual_transport = discard:\nin_flow_delay = 0\nsmtpd_discard_ehlo_keywords = {hidden}\n"
_PLAIN: Final = "127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_security_level=none\n"


class Unavailable(Exception):
    """Something that a measurement needs is not installed here; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where to send, how many mails have arrived there since it started, and how many seconds of CPU it has used.

    Asked for a number of mails, it waits for so many where that takes time.
    """

    target: Target
    taken: Callable[[int], int]
    cpu_seconds: Callable[[], float] = lambda: 0.0


@contextmanager
def sink(
    *, secure: bool = False, pipelining: bool = True, chunking: bool = False, cheap: bool = False
) -> Iterator[Server]:
    """The fast sink; ``secure`` means STARTTLS and a login, both required.

    ``cheap``: that in C, for who needs both cores themselves.
    """
    password = secrets.token_urlsafe(12)
    login = {"username": USER, "password": password} if secure else {}
    encryption = {"chain_file": _chain_file()} if secure else {}
    settings = {**login, **encryption, "pipelining": pipelining, "chunking": chunking}
    with Child(_cheap_sink() if cheap else PYTHON_SINK, settings=settings) as child:
        target = Target(
            host="127.0.0.1", port=child.ready["port"], starttls=secure, ca_file=str(certificates.ca_file()), **login
        )
        yield Server(
            target=target,
            taken=lambda _expected: int(child.ask("count")["mails"]),
            cpu_seconds=lambda: float(child.ask("count")["cpu"]),
        )


@contextmanager
def postfix(*, secure: bool = True, chunking: bool = True) -> Iterator[Server]:
    """Postfix with STARTTLS and login; without ``secure`` the same one over plain text and without login."""
    if lack := missing():
        raise Unavailable(lack)
    password = secrets.token_urlsafe(12)
    with _BenchmarkPostfix(password, chunking=chunking) as server:
        near = partial(Target, host="127.0.0.1", ca_file=str(certificates.ca_file()))
        if secure:
            name = f"{USER}@{DOMAIN}"
            target = near(port=server.starttls_port, starttls=True, username=name, password=password)
        else:
            target = near(port=server.plain_port)
        yield Server(target=target, taken=server.delivered, cpu_seconds=server.cpu_seconds)


@contextmanager
def behind(server: Server, round_trip_ms: float) -> Iterator[Server]:
    """The same server at the end of a long line, which is measured before it is believed."""
    if not round_trip_ms:
        yield server
        return
    settings = {"port": server.target.port, "round_trip_ms": round_trip_ms}
    with Child("benchmarks.link", settings=settings) as child:
        far = replace(server.target, port=child.ready["port"])
        _check_round_trip(far, round_trip_ms / 1000)
        yield replace(server, target=far)


def _check_round_trip(target: Target, expected: float) -> None:
    """Raises RuntimeError unless an EHLO takes the round trip that was asked for, and connecting two of them."""
    openings, hellos = zip(*(_opening_and_hello(target) for _ in range(5)), strict=True)
    opening, hello = min(openings), min(hellos)  # a busy machine is not the line's fault
    if not (0 <= hello - expected <= _TOLERANCE and 0 <= opening - 2 * expected <= 2 * _TOLERANCE):
        raise RuntimeError(
            f"The line is not what it should be: {expected * 1000:.0f} ms were asked for, an EHLO takes"
            f" {hello * 1000:.1f} ms and connecting {opening * 1000:.1f} ms."
        )


def _opening_and_hello(target: Target) -> tuple[float, float]:
    started = time.perf_counter()
    with smtplib.SMTP(target.host, target.port, local_hostname="benchmark.example") as client:
        opened = time.perf_counter()
        client.ehlo()
        return opened - started, time.perf_counter() - opened


@cache
def _cheap_sink() -> str:
    """The sink in C, or Python's where that cannot be compiled."""
    path, compiler = certificates.directory() / "sink", shutil.which("cc")
    command = (compiler or "cc", "-O2", "-o", path, SINK_SOURCE, "-lssl", "-lcrypto")
    if compiler and not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        return str(path)
    print("The sink is that of Python, which takes more of the CPU: cc and libssl-dev are missing.", file=sys.stderr)
    return PYTHON_SINK


@cache
def _chain_file() -> str:
    path = certificates.directory() / "sink.pem"
    certificates.authority().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


class _BenchmarkPostfix(PostfixServer):
    """The tests' Postfix with a third port, plain, and a count of what went through its queue."""

    def __init__(self, password: str, *, chunking: bool) -> None:
        super().__init__({USER: password})
        self.plain_port = free_port()
        self._hidden = "" if chunking else "chunking"
        self._read_to = self._removed = 0

    def _configure(self) -> None:
        super()._configure()
        with (self._home / "main.cf").open("a") as file:
            file.write(_MAIN.format(hidden=self._hidden))
        with (self._home / "master.cf").open("a") as file:
            file.write(_PLAIN.format(port=self.plain_port))

    def delivered(self, expected: int) -> int:
        """How many mails it has taken and dealt with; waits until there are as many as expected."""
        end = time.monotonic() + PATIENCE
        self._read_log()
        while self._removed < expected and time.monotonic() < end:
            time.sleep(0.02)  # its log has no event to wait for
            self._read_log()
        return self._removed

    def _read_log(self) -> None:
        with (self._home / "mail.log").open("rb") as file:
            file.seek(self._read_to)
            new, _, _ = file.read().rpartition(b"\n")
        self._read_to += len(new)
        self._removed += new.count(b": removed")

    def cpu_seconds(self) -> float:
        """What all its processes have used."""
        return used_by(int((self._home / "queue/pid/master.pid").read_text()))[0]
