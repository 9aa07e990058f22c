"""The application as `make run` starts it: a process of its own, what it prints, and its end by Ctrl-C."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO, Protocol, Self

from tests.loopback import free_port
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
_VARIABLE = re.compile(r"^#?([A-Z_]+)=", re.MULTILINE)
_CSRF_FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')


def run_environment(database: Path, **variables: str) -> dict[str, str]:
    """A whole environment for `python app.py`, as the first `.env` has it but with ports and keys of its own.

    Every variable that the application reads is set, if only to nothing, so that no `.env` here has a say.
    """
    return {
        **os.environ,
        **dict.fromkeys(_VARIABLE.findall((ROOT / ".env.example").read_text()), ""),
        "APP_KEY": secrets.token_urlsafe(48),
        "ADMIN_TOKEN": secrets.token_urlsafe(48),
        "APP_ENV": "development",
        "DATABASE_URL": f"sqlite:///{database}",
        "PORT": str(free_port()),
        "LOCAL_INBOX_PORT": str(free_port()),
        "DEFAULT_FROM_EMAIL": "noreply@sealpost.example",
        **variables,
    }


class RunningProcess(Protocol):
    """What is needed of one that serves, as ``subprocess.Popen`` has it; ``stdout`` is all that it prints."""

    @property
    def stdout(self) -> IO[str] | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float, /) -> int: ...
    def send_signal(self, number: signal.Signals, /) -> None: ...
    def kill(self) -> None: ...


class Sealpost:
    """A running server process. Entering waits until it serves, leaving stops it as Ctrl-C does."""

    def __init__(
        self,
        environment: Mapping[str, str],
        command: Sequence[str] = (sys.executable, "app.py"),
        folder: Path = ROOT,
    ) -> None:
        self.environment = dict(environment)
        self._command, self._folder = command, folder
        self.url = f"http://127.0.0.1:{environment['PORT']}"
        self.inbox_port = int(environment["LOCAL_INBOX_PORT"])
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._ended = False

    def __enter__(self) -> Self:
        self._process = self._begin()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        try:
            self.wait_for("Sealpost is at")
            Client(self.url).get("/login")  # served, so the announcement is complete
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """All that it has printed and logged."""
        with self._said:
            return "".join(self._lines)

    @property
    def setup_code(self) -> str:
        """The set-up code from its standard output."""
        found = re.search(r"Set-up code +(\S+)", self.output)
        assert found, f"no set-up code in:\n{self.output}"
        return found[1]

    def wait_for(self, pattern: str) -> str:
        """The output, once it has something that matches ``pattern``."""
        with self._said:
            self._said.wait_for(lambda: self._ended or re.search(pattern, "".join(self._lines)), PATIENCE)
            output = "".join(self._lines)
        assert re.search(pattern, output), f"{pattern!r} did not come:\n{output}"
        return output

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """End it, if it still runs, and give its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(by)
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"it did not end by {by.name}:\n{self.output}") from None
        finally:
            self._reader.join(PATIENCE)
            assert self._process.stdout
            self._process.stdout.close()

    def stop_twice(self) -> int:
        """End it by Ctrl-C, and again once it has heard the first, which its port shows; give its exit status."""
        self._process.send_signal(signal.SIGINT)
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(self.environment["PORT"])), PATIENCE).close()
            except ConnectionError:
                return self.stop()

    def _begin(self) -> RunningProcess:
        return subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()


@dataclass(frozen=True)
class Page:
    status: int
    text: str


@dataclass
class Client:
    """Somebody who reaches a running server by HTTP, with cookies and without a browser."""

    url: str
    cookies: CookieJar = field(default_factory=CookieJar)

    def get(self, path: str) -> Page:
        return self._open(urllib.request.Request(self.url + path))

    def post_form(self, path: str, fields: Mapping[str, str]) -> Page:
        """Post a form with the token of the page at the same address."""
        token = _CSRF_FIELD.search(self.get(path).text)
        assert token, f"no form at {path}"
        body = urllib.parse.urlencode({**fields, "csrf_token": token[1]}).encode()
        return self._open(urllib.request.Request(self.url + path, body))

    def post_json(self, path: str, body: bytes, token: str) -> Page:
        """Call the administration API with ``ADMIN_TOKEN``."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._open(urllib.request.Request(self.url + path, body, headers))

    def _open(self, request: urllib.request.Request) -> Page:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        )
        try:
            with opener.open(request, timeout=PATIENCE) as response:
                return Page(response.status, response.read().decode())
        except urllib.error.HTTPError as refused:
            with refused:
                return Page(refused.code, refused.read().decode())


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """This process as somebody who is not root, for whom the folders above ``folder`` are open."""
    for above in (folder, *folder.parents):
        if str(above).startswith(tempfile.gettempdir() + "/"):
            above.chmod(above.stat().st_mode | 0o011)
    us = os.geteuid()
    if us == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(us)
