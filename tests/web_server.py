"""A web server over TLS for the tests, on loopback: it answers each host as it is told, or behaves as none should."""

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Final, Self

from tests.loopback import free_port
from tests.patience import PATIENCE

_TURN: Final = 0.02  # seconds between two octets of one that is slow
Behaviour = Callable[[ssl.SSLSocket], None]  # what it does once a request has come


def file(body: bytes, status: str = "200 OK", *headers: str) -> Behaviour:
    """A whole answer."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return raw(f"{head}\r\n\r\n".encode() + body)


def redirect(url: str) -> Behaviour:
    return file(b"", "302 Found", f"Location: {url}")


def raw(octets: bytes) -> Behaviour:
    return lambda sock: sock.sendall(octets)


def endless(start: bytes, again: bytes) -> Behaviour:
    """One that goes on until the client has had enough."""

    def behave(sock: ssl.SSLSocket) -> None:
        sock.sendall(start)
        while True:
            sock.sendall(again)

    return behave


def slow(octets: bytes) -> Behaviour:
    """One that gives an octet at a time, and never comes to an end."""

    def behave(sock: ssl.SSLSocket) -> None:
        for octet in octets:
            sock.sendall(bytes([octet]))
            threading.Event().wait(_TURN)
        silent(sock)

    return behave


def silent(sock: ssl.SSLSocket) -> None:
    sock.recv(1)  # until the client hangs up


class WebServer:
    """``with WebServer(context, {"www.example": file(b"…")}) as web:`` serves at ``web.port`` of 127.0.0.1.

    A host that is not among them gets 404. ``requests`` are those that came, whole; ``connections`` counts also what
    never became one. ``hung_up`` is set when a client has left before it had everything.
    """

    def __init__(self, context: ssl.SSLContext, hosts: Mapping[str, Behaviour] | None = None) -> None:
        self.hosts = dict(hosts or {})
        self.requests: list[str] = []
        self.connections = 0
        self.hung_up = threading.Event()
        self.port = free_port()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", self.port))

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, name="web-server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(sock,), name="web-server-answer", daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        try:
            with self._context.wrap_socket(sock, server_side=True) as tls:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    part = tls.recv(65536)
                    if not part:
                        return
                    request += part
                text = request.decode()
                self.requests.append(text)
                host = text.partition("Host: ")[2].partition("\r\n")[0].partition(":")[0]
                self.hosts.get(host, file(b"Not found", "404 Not Found"))(tls)
        except OSError:
            self.hung_up.set()
        finally:
            sock.close()
