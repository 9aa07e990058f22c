"""A program that takes messages by HTTP on loopback: it remembers each with its headers, and answers as it is told."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.patience import PATIENCE


@dataclass(frozen=True)
class HookCall:
    """One request, whole."""

    path: str
    headers: dict[str, str]  # by their names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WebHook:
    """``with WebHook() as hook:`` listens at ``hook.url``. ``status`` and ``headers`` are what it answers next.

    While ``is_silent`` it answers nothing until it ends.
    """

    def __init__(self) -> None:
        self.calls: list[HookCall] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"ok"
        self.is_silent = False
        self._ended = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                hook.calls.append(HookCall(self.path, headers, body))
                if hook.is_silent:
                    hook._ended.wait(PATIENCE)
                    return
                self.send_response(hook.status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(hook.body)))
                self.end_headers()
                self.wfile.write(hook.body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="web-hook", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
