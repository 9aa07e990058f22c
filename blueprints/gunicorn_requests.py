"""Requests reach the threads of a gunicorn worker whole: whoever sends half of one holds a connection, and no thread.

gunicorn's threads read a request themselves and wait for the rest of it without end, so a few dozen half-sent ones
would stop a server that no proxy shields. Here the worker's own loop, which waits for all connections at once, collects
a request. A thread gets it once its last octet is there, or once it is one that is refused without that. Where a body
may be large (``large_body``), it gets the head, to see who sends it before more is taken, and reads the rest itself.
"""

import selectors
import socket
import struct
import time
from contextlib import suppress
from typing import Any, Final

from gunicorn.http2.negotiation import prior_knowledge_allowed
from gunicorn.workers.gthread import TConn, ThreadWorker

from blueprints import large_body
from utils import ending
from utils.request_bounds import Bounds, RequestBounds

ARRIVAL_SECONDS: Final = 10.0  # for a whole request, from its first octet or the connection's beginning
STALL_SECONDS: Final = 3  # in which a client has to take some of the answer
LARGE_STALL_SECONDS: Final = 10  # in which a client has to send some of a large body, or take some of the answer
LINGER_SECONDS: Final = 2.0  # for a client to hang up, so that what it still says does not cost it the answer
LARGEST_HEAD: Final = 64 * 1024
LARGEST_BODY: Final = (
    large_body.SMALL
)  # of one that is waited for; the application refuses what is half of it by its length
_PIECE: Final = 64 * 1024
_GO_AHEAD: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

_accept: Final = ThreadWorker.accept
_on_client_socket_readable: Final = ThreadWorker.on_client_socket_readable
_finish_request: Final = ThreadWorker.finish_request
_murder_pending: Final = ThreadWorker.murder_pending
_close: Final = TConn.close


def take_whole_ones() -> None:
    """Let the threaded workers of this process, and of those that it forks, collect requests before they serve them."""
    ThreadWorker.accept = _accept_and_collect
    ThreadWorker.on_client_socket_readable = _collect_another
    ThreadWorker.finish_request = _finish
    ThreadWorker.murder_pending = _cut_late_ones
    TConn.close = _close_in_time


class _Waiting:
    """A connection that the worker's loop waits for, no longer than ``until``."""

    def __init__(self, worker: Any, conn: Any, seconds: float) -> None:  # noqa: ANN401 - untyped
        self.worker, self.conn = worker, conn
        self.until = time.monotonic() + seconds
        conn.sock.setblocking(False)
        worker.poller.register(conn.sock, selectors.EVENT_READ, self._readable)
        _waiting(worker)[conn] = self

    def leave(self) -> None:
        """The loop has nothing to do with it any more."""
        _waiting(self.worker).pop(self.conn, None)
        self.worker.poller.unregister(self.conn.sock)

    def cut(self) -> None:
        """Hang up."""
        self.leave()
        self.worker.nr_conns -= 1
        _close(self.conn)

    def _readable(self, _sock: object) -> None:
        try:
            data = self.conn.sock.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self.take(data)
        else:
            self.cut()

    def take(self, data: bytes) -> None:
        """What comes in, which is for nobody unless a request is waited for."""


class _Arriving(_Waiting):
    """A request comes in."""

    def __init__(self, worker: Any, conn: Any) -> None:  # noqa: ANN401 - untyped
        super().__init__(worker, conn, ARRIVAL_SECONDS)
        conn.worker = worker
        self._request = RequestBounds(LARGEST_HEAD, LARGEST_BODY, large_body.is_for_line)
        self._may_go_on = False

    def cut(self) -> None:
        if self._request.arrived:
            with suppress(OSError):
                self.conn.sock.send(_TOO_LATE)
        super().cut()

    def take(self, data: bytes) -> None:
        found = self._request.take(data)
        if found is not Bounds.OPEN:
            self._hand_over(found)
        elif self._request.wants_go_ahead and not self._may_go_on:
            self._may_go_on = True
            with suppress(OSError):  # whoever cannot take it has gone, which the next look shows
                self.conn.sock.send(_GO_AHEAD)

    def _hand_over(self, found: Bounds) -> None:
        self.leave()
        conn, sock = self.conn, self.conn.sock
        conn.is_last = found is not Bounds.WHOLE
        seconds = LARGE_STALL_SECONDS if found is Bounds.LARGE else STALL_SECONDS
        with suppress(OSError):
            if found is Bounds.REFUSED:  # whoever reads on finds the end, instead of having to wait
                sock.shutdown(socket.SHUT_RD)
            for wait in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, wait, struct.pack("ll", seconds, 0))
        conn.init()
        if found is Bounds.LARGE:
            conn.parser.finish_body = _leave_unread
        conn.parser.unreader.unread(bytes(self._request.arrived))
        conn.data_ready = True
        self.worker.enqueue_req(conn)


def _leave_unread(deadline: float | None = None, max_bytes: int | None = None) -> bool:
    """Read no more of a body than the application did: with a deadline it is for the sake of another request."""
    return deadline is None


class _Leaving(_Waiting):
    """An answer is out, and the client is to hang up: closed at once, it might never read that (RFC 9112 9.6)."""


def _accept_and_collect(worker: Any, listener: Any) -> None:  # noqa: ANN401 - untyped
    if worker.cfg.is_ssl or worker.cfg.proxy_protocol != "off" or worker.cfg.protocol != "http":
        _accept(worker, listener)
        return
    try:
        sock, client = listener.accept()
    except (BlockingIOError, InterruptedError, ConnectionAbortedError):
        return
    conn = TConn(worker.cfg, sock, client, listener.getsockname())
    worker.nr_conns += 1
    if prior_knowledge_allowed(worker.cfg, client):
        worker.enqueue_req(conn)
    else:
        _Arriving(worker, conn)


def _collect_another(worker: Any, conn: Any, sock: Any) -> None:  # noqa: ANN401 - untyped
    """A kept connection has something to say."""
    if not hasattr(conn, "worker"):
        _on_client_socket_readable(worker, conn, sock)
        return
    worker.poller.unregister(sock)
    worker.keepalived_conns.remove(conn)
    _Arriving(worker, conn)


def _finish(worker: Any, conn: Any, done: Any) -> None:  # noqa: ANN401 - untyped
    is_kept = not done.cancelled() and done.exception() is None and done.result() is True
    if hasattr(conn, "worker") and is_kept:
        if conn.is_last:
            worker.nr_conns -= 1
            conn.close(graceful=True)
            return
        if following := conn.parser.unreader.take_buffered():  # has come in one piece with the request before
            _Arriving(worker, conn).take(following)
            return
    _finish_request(worker, conn, done)


def _cut_late_ones(worker: Any) -> None:  # noqa: ANN401 - untyped
    _murder_pending(worker)
    now, is_over = time.monotonic(), not ending.seconds_left(LINGER_SECONDS)
    for waiting in list(_waiting(worker).values()):
        if is_over or waiting.until <= now:
            waiting.cut()


def _close_in_time(conn: Any, graceful: bool = False) -> None:  # noqa: ANN401 - gunicorn's
    """Close a connection; gunicorn's graceful way would have the loop wait for this one client alone."""
    if not (graceful and hasattr(conn, "worker")):
        _close(conn, graceful)
        return
    try:
        conn.sock.shutdown(socket.SHUT_WR)
    except OSError:
        _close(conn)
        return
    conn.worker.nr_conns += 1
    _Leaving(conn.worker, conn, LINGER_SECONDS)


def _waiting(worker: Any) -> dict[Any, _Waiting]:  # noqa: ANN401 - untyped
    """Whom the loop of this worker waits for."""
    found: dict[Any, _Waiting] = vars(worker).setdefault("sealpost_waiting", {})
    return found
