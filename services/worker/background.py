"""What a server process does besides answering: begun with the server, ended with it, and begun anew after a fork.

A fork copies no threads, and what the parent has open must not be used by two. So whoever forks ends its work first;
the child takes it up with its first request, or with the first mail that is queued there.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from flask import Flask

from database.engine import db
from services.accounts import password_reset
from services.outbox import promise
from services.smtp import patience
from services.worker import lease
from utils import ending

_LOOK_SECONDS: Final = 0.1  # between two looks at who is silent


class Work(Protocol):
    """Something under way that can be ended."""

    def stop(self) -> None: ...


class Together:
    """Several works as one."""

    def __init__(self, *works: Work | None) -> None:
        self._works: Final = [work for work in works if work]

    def stop(self) -> None:
        for work in self._works:
            work.stop()


class Background:
    """The work of one server process; ``begin`` starts it, each time, if there is any for this process."""

    def __init__(self, app: Flask, begin: Callable[[], Work | None]) -> None:
        self._app = app
        self._begin = begin
        self._work: Work | None = None
        self._has_begun = self._is_over = False
        self._lock = threading.Lock()
        self._stopping = threading.Lock()  # held until the work has ended: nobody's stop is over before that
        app.before_request(self.resume)
        promise.new_mail.add(self.resume)
        password_reset.new_request.add(self.resume)
        os.register_at_fork(before=self.before_fork, after_in_child=self.after_fork)

    def resume(self) -> None:
        """Begin the work unless it is under way, or over for good."""
        # Asked before every request: nearly always it has, and then no lock is waited for.
        if not self._has_begun:
            with self._lock:
                if not (self._has_begun or self._is_over):
                    self._work = self._begin()
                    self._has_begun = True

    def stop(self) -> None:
        """End the work for good: what is under way is finished."""
        self._is_over = True
        self.pause()

    def pause(self) -> None:
        """End the work, until there is some again."""
        with self._stopping:
            with self._lock:
                work, self._work, self._has_begun = self._work, None, False
            if work:
                work.stop()

    def before_fork(self) -> None:
        self.pause()
        self._drop_connections(close=True)

    def after_fork(self) -> None:
        """In the child: whatever another thread had open meanwhile is the parent's, and not even closed."""
        # A thread that is not here may have held the old ones.
        self._lock, self._stopping = threading.Lock(), threading.Lock()
        self._work, self._has_begun = None, False
        self._drop_connections(close=False)

    def _drop_connections(self, *, close: bool) -> None:
        with self._app.app_context():
            db.engine.dispose(close=close)


def start(app: Flask, begin: Callable[[], Work | None], *, at_once: bool = True) -> Background:
    """Begin the work of this server process, or leave that to those that it forks.

    It ends with the process, if the caller does not stop it before.
    """
    background = Background(app, begin)
    ending.hear(background.stop)
    ending.hear(end_conversations)
    atexit.register(background.stop)
    if at_once:
        background.resume()
    return background


def end_conversations() -> None:
    """End those that somebody waits for in this process, a caller of ``send_email`` for example, as a worker's are."""
    conversations = patience.unwatched()
    while ending.seconds_left(lease.RECEIPT_SECONDS):
        conversations.end_silent()
        time.sleep(_LOOK_SECONDS)
    conversations.end()
