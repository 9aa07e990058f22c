"""The real server as a process of its own, and browsers that speak plain HTTP to it; all that is said is kept."""

import http.client
import io
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, Final, Self, cast
from urllib.parse import urlencode

from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.running import ROOT, run_environment
from tests.secret_scanner import Piece

DATABASE: Final = "test.db"
DEVELOPMENT: Final = (sys.executable, str(ROOT / "app.py"))
_CSRF_FIELD: Final = re.compile(r'name="csrf_token" value="([^"]+)"')


def gunicorn(port: int, *options: str) -> tuple[str, ...]:
    """The command of the production chapter of docs/running.md, in another folder, so without ``gunicorn.conf.py``."""
    binding = ("--bind", f"127.0.0.1:{port}", "--no-control-socket", *options)
    return (sys.executable, "-m", "gunicorn", *binding, "app:serve()")


def is_served(port: int) -> bool:
    """Whether the process answers requests yet."""
    with socket.socket() as connection:
        if connection.connect_ex(("127.0.0.1", port)):
            return False
        connection.settimeout(PATIENCE)
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return bool(connection.recv(1))


def environment_for(folder: Path, **variables: str) -> dict[str, str]:
    """A process's whole environment, with everything that it could write below ``folder``."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    ours = run_environment(folder / DATABASE, LOCAL_INBOX_PORT="0", **variables)
    return ours | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}


class LiveServer:
    """Runs ``command`` in ``folder`` and keeps what it prints. Ready once it has printed where it is."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self.base_url = environment["BASE_URL"]
        self.answers: list[Piece] = []
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._printed = threading.Condition()
        self._open_outputs = 2
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._keep, args=(stream, kept), daemon=True)
            for stream, kept in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
        ]

    def __enter__(self) -> Self:
        for reader in self._readers:
            reader.start()
        try:
            self.wait_for_output("Sealpost is at")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        for reader, stream in zip(self._readers, (self.process.stdout, self.process.stderr), strict=True):
            reader.join(PATIENCE)
            cast(IO[bytes], stream).close()

    @property
    def pids(self) -> list[int]:
        """The process and its children."""
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found

    def wait_for_output(self, pattern: str) -> re.Match[str]:
        """Wait until something that matches ``pattern`` was printed on either output, and give the match."""
        with self._printed:
            self._printed.wait_for(lambda: self._found(pattern) or not self._open_outputs, PATIENCE)
        found = self._found(pattern)
        assert found, f"{pattern!r} was not printed, but: {self._output}"
        return found

    def evidence(self) -> list[Piece]:
        """Everything that the server has said and written so far. The database is read while it is open."""
        database = self.folder / DATABASE
        pieces = [
            *self.answers,
            Piece("stdout", "stdout", bytes(self.stdout)),
            Piece("stderr", "stderr", bytes(self.stderr)),
            *(Piece("command line", str(pid), Path(f"/proc/{pid}/cmdline").read_bytes()) for pid in self.pids),
            *(Piece("database", file.name, file.read_bytes()) for file in self.folder.glob(f"{DATABASE}*")),
        ]
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            pieces.append(Piece("database", "dump", "\n".join(connection.iterdump()).encode()))
        files = [file for file in self.folder.rglob("*") if file.is_file() and not file.name.startswith(DATABASE)]
        return pieces + [Piece("file", str(file.relative_to(self.folder)), file.read_bytes()) for file in files]

    def _keep(self, stream: IO[bytes], kept: bytearray) -> None:
        while data := os.read(stream.fileno(), 65536):
            with self._printed:
                kept += data
                self._printed.notify_all()
        with self._printed:
            self._open_outputs -= 1
            self._printed.notify_all()

    def _found(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self._output)

    @property
    def _output(self) -> str:
        return (self.stdout + self.stderr).decode("utf-8", "replace")


@dataclass(frozen=True)
class Answer:
    """What came back, its body put together from chunks."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def location(self) -> str:
        return str(self.headers["Location"])


class Browser:
    """A browser without scripts; ``address`` is where it comes from, a bucket of its own for every limit."""

    def __init__(self, server: LiveServer, address: str = "127.0.0.1") -> None:
        self.cookies: dict[str, str] = {}
        self._server = server
        self._address = address

    def come_from(self, address: str) -> None:
        """From now on this browser is at another address, where no limit has counted it."""
        self._address = address

    def send(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own. Nothing is checked, so that anything can be sent."""
        fields = {
            "Host": self._server.base_url.partition("://")[2],
            "Connection": "close",
            **(
                {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
            ),
            **({"Content-Length": str(len(body))} if body or method == "POST" else {}),
            **(headers or {}),
        }
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        response = http.client.HTTPResponse(cast(socket.socket, _Said(self.say("\r\n".join(lines).encode() + body))))
        response.begin()
        answer = Answer(response.status, response.headers, response.read())
        self._take_cookies(answer)
        self._record(f"{method} {target.partition('?')[0]}", answer)
        return answer

    def say(self, request: bytes) -> bytes:
        """What the server says to these octets until it hangs up."""
        place = ("127.0.0.1", self._server.port)
        with socket.create_connection(place, PATIENCE, source_address=(self._address, 0)) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                return stream.read()

    def get(self, target: str, **headers: str) -> Answer:
        return self.send("GET", target, headers=headers)

    def post_form(self, target: str, fields: Mapping[str, Any], form: str = "", **headers: str) -> Answer:
        """Post as the page ``form`` would, which is ``target`` itself unless given."""
        return self.post(target, {**fields, "csrf_token": self.csrf_token(form or target)}, **headers)

    def post(self, target: str, fields: Mapping[str, Any], **headers: str) -> Answer:
        """Post fields as they are, from a page of the server."""
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self._server.base_url}
        return self.send("POST", target, urlencode(fields, doseq=True).encode(), {**kind, **headers})

    def csrf_token(self, page: str) -> str:
        """The token in the form of a page."""
        found = _CSRF_FIELD.search(self.get(page).text)
        assert found, f"no form at {page}"
        return found[1]

    def post_json(self, target: str, body: bytes, **headers: str) -> Answer:
        return self.send("POST", target, body, {"Content-Type": "application/json", **headers})

    def cookie(self, kind: str) -> str:
        """The session or reset cookie that is held now."""
        return next(value for name, value in self.cookies.items() if name.endswith(f"sealpost_{kind}"))

    def _take_cookies(self, answer: Answer) -> None:
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies.pop(name, None)
            if value and "Max-Age=0" not in line:
                self.cookies[name] = value

    def _record(self, request: str, answer: Answer) -> None:
        kind = "page" if answer.headers.get_content_type() == "text/html" else "body"
        cookies = [value for name, value in answer.headers.items() if name == "Set-Cookie"]
        others = [f"{name}: {value}" for name, value in answer.headers.items() if name != "Set-Cookie"]
        detail = f"{request} {answer.status}"
        self._server.answers += [
            Piece("headers", detail, "\n".join(others).encode()),
            Piece("set-cookie", detail, "\n".join(cookies).encode()),
            Piece(kind, detail, answer.body),
        ]


class _Said(io.BytesIO):
    """What was received, in the shape that http.client reads from."""

    def makefile(self, _mode: str) -> io.BytesIO:
        return self


def start(command: Sequence[str], folder: Path, **variables: str) -> LiveServer:
    """`python app.py` on a free port, or with ``command`` a gunicorn on the port that it names."""
    port = int(variables.setdefault("PORT", str(free_port())))
    variables.setdefault("BASE_URL", f"http://127.0.0.1:{port}")
    return LiveServer(command, environment_for(folder, **variables), folder, port)
