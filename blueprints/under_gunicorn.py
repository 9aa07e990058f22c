"""What gunicorn has no setting for, put in place where it serves us: errors, whole requests, streams, and its end."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from gunicorn.workers.base import Worker

from blueprints import gunicorn_errors, gunicorn_requests, live
from services.outbox import promise
from utils import ending

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_Handler = Callable[[int, FrameType | None], Any]


def prepare(hsts: str) -> bool:
    """Do so in this process, and in those that it forks (``--preload``). ``hsts`` is what is told of HTTPS.

    Tells whether this process is a worker, and not the one that forks them.
    """
    gunicorn_errors.tell_as_ours(hsts)
    gunicorn_requests.take_whole_ones()
    if not hasattr(Worker, "sealpost_hears"):
        Worker.sealpost_hears = True
        Worker.init_signals = _then_ours(Worker.init_signals)
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)  # it has set its handler already
    if isinstance(worker, Worker):
        live.places.fit(worker.cfg.threads)
        _hear_signals()
        return True
    return False


def _then_ours(init_signals: Callable[[Any], None]) -> Callable[[Any], None]:
    def init(worker: Any) -> None:  # noqa: ANN401 - untyped
        init_signals(worker)
        live.places.fit(worker.cfg.threads)
        _hear_signals()
        promise.new_mail.tell()  # nobody has to ask for a page first

    return init


def _hear_signals() -> None:
    """Begin our own end at once with gunicorn's, which waits for requests first, and for the longest of them."""
    for number in _SIGNALS:
        theirs = signal.getsignal(number)
        if callable(theirs):
            signal.signal(number, _both(theirs))
    signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn has it, which setting a handler undoes


def _both(theirs: _Handler) -> _Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        ending.begin()
        theirs(number, frame)

    return handle
