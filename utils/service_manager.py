"""What systemd, or whoever else started this process, is told of it (sd_notify(3)); nothing where nobody listens."""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from utils import incidents, numbers

_SIGNS_A_LIMIT: Final = 3  # of life, so that one may be late
_MICROSECONDS: Final = 1_000_000
_MOST_MICROSECONDS: Final = 2**64 - 1  # usec_t is unsigned, and half an hour is more than our other numbers hold


class _Manager:
    address: str | None = None  # where it listens, once the variable is ours
    last_sign = 0.0


def take_over() -> None:
    """From now on we speak alone: a library that would report this process ready before it is finds no address."""
    _Manager.address = os.environ.pop("NOTIFY_SOCKET", None)


def ready() -> None:
    """What this process is for has begun."""
    _tell("READY=1")


def sign_of_life() -> None:
    """The loop that calls this turns. May be called much more often than anybody needs to hear it."""
    seconds, now = _limit(), time.monotonic()
    if seconds and now - _Manager.last_sign >= seconds / _SIGNS_A_LIMIT:
        _Manager.last_sign = now
        _tell("WATCHDOG=1")


def watch(is_alive: Callable[[], bool]) -> None:
    """In a thread of its own give a sign of life for as long as ``is_alive``, if anybody wants one."""
    seconds = _limit()
    if not seconds:
        return

    def look() -> None:
        while True:
            if is_alive():
                sign_of_life()
            time.sleep(seconds / _SIGNS_A_LIMIT / 2)

    threading.Thread(target=incidents.watched(look), name="sign-of-life", daemon=True).start()


def _limit() -> float:
    """Within how many seconds a sign of life is wanted (sd_watchdog_enabled(3)); 0: none is."""
    text = os.environ.get("WATCHDOG_USEC", "")
    return (numbers.whole_number(text, high=_MOST_MICROSECONDS) or 0) / _MICROSECONDS


def _tell(state: str) -> None:
    place = _Manager.address or os.environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
        speaker.connect(f"\0{place[1:]}" if place.startswith("@") else str(Path(place)))
        speaker.send(state.encode())
