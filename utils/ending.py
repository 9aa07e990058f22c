"""The end of a process: whoever waits hears that it was asked for, and it comes in time whatever happens.

Docker and Kubernetes kill what has not ended after 10 or 30 seconds. What is left then, or at our own limit, is found
by the next start as after a crash.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import structlog

from utils import incidents

log = structlog.get_logger(__name__)

LONGEST: Final = 7.0  # seconds from the signal to the end; with what the interpreter needs for its own, below 8
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_heard: set[Callable[[], object]] = set()


class _State:
    began: float | None = None  # a plain value: a signal handler must not wait for a lock that its own thread holds


def is_near() -> bool:
    """Whether this process is to end."""
    return _State.began is not None


def hear(work: Callable[[], object]) -> None:
    """Have ``work`` done, in a thread of its own, once the process is to end."""
    _heard.add(work)


def seconds_left(of: float = LONGEST) -> float:
    """How much is left of so many seconds from the signal; all of them where none has come."""
    return of if _State.began is None else max(0.0, _State.began + of - time.monotonic())


def begin() -> None:
    """The process is to end: do what waits for that, and see to it that it does. From a signal handler, too."""
    if _State.began is not None:
        return
    _State.began = time.monotonic()
    for work in (_end_in_time, *_heard):
        threading.Thread(target=incidents.watched(work), name="ending", daemon=True).start()


def by_signal(_signal: int, _frame: FrameType | None) -> None:
    """A handler for ``STOP_SIGNALS``: the end begins; the next signal ends the process at once."""
    for number in STOP_SIGNALS:
        signal.signal(number, _at_once)  # first: the second may come while this handler is at work
    begin()


def interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """The same, and what the main thread is at ends with KeyboardInterrupt."""
    by_signal(number, frame)
    raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a signal that comes meanwhile raise KeyboardInterrupt behind this: what is begun here can then be ended."""
    for number in STOP_SIGNALS:
        signal.signal(number, by_signal)
    yield
    if not is_near():
        for number in STOP_SIGNALS:
            signal.signal(number, interrupted)
    if is_near():
        raise KeyboardInterrupt


def _at_once(number: int, _frame: FrameType | None) -> None:
    """Mail that is under way is left as after a crash, to be found by the next start."""
    os.write(sys.stderr.fileno(), b"Stopped at once. The next start finds the mail that was under way.\n")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _end_in_time() -> None:
    pid = os.getpid()
    time.sleep(LONGEST)
    if os.getpid() == pid:
        log.error("stopped_in_midst", seconds=LONGEST, consequence="The next start continues what was under way.")
        os._exit(1)


def _after_fork() -> None:
    _State.began = None


os.register_at_fork(after_in_child=_after_fork)
