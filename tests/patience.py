"""How long the tests wait: for what has to come as long as it takes, for what must not be late by this machine's pace.

A wait is for an event, and PATIENCE only ends the wait for one that never comes. A time that is part of what is tested
(a time-out, a lease, a bound) is ``stretched``: on a machine that is busy, everything around it takes longer, too.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Final

from services.worker.lease import Pace

PATIENCE: Final = 180.0  # seconds
_LOOK_SECONDS: Final = 0.01  # between two looks at what has no event
_TURNS: Final = 3_000_000  # of an empty loop, for a measurement
_TURN_SECONDS: Final = 3e-8
_ANEW_SECONDS: Final = 2.0  # after which another is taken
_WINDOW_SECONDS: Final = 30.0
_MOST: Final = 30.0
_FEW: Final = 3.0  # seconds; a longer time needs no stretching to be long enough


class _Seen:
    lock = threading.Lock()
    found: ClassVar[list[tuple[float, float]]] = []  # when, and what


def slowness() -> float:
    """How many times longer than it should something takes here: the most that was seen in the last half minute."""
    with _Seen.lock:
        now = time.monotonic()
        if not _Seen.found or now - _Seen.found[-1][0] > _ANEW_SECONDS:
            _Seen.found = [each for each in _Seen.found if now - each[0] < _WINDOW_SECONDS]
            _Seen.found.append((now, min(_measured(), _MOST)))
        return max(found for _, found in _Seen.found)


def stretched(seconds: float) -> float:
    """As long as so many seconds are on a machine that does nothing else."""
    return seconds * slowness()


def stretched_if_short(seconds: float) -> float:
    """The same for a time-out; one that is long anyhow stays, so that equal ones stay equal."""
    return stretched(seconds) if seconds < _FEW else seconds


def pace(lease: float, cool_down: float = 1.0) -> Pace:
    """A worker's, with a lease of so many seconds: it beats three times in that, which a busy machine delays."""
    return Pace(lease=timedelta(seconds=stretched(lease)), cool_down=timedelta(seconds=cool_down))


def wait_until(holds: Callable[[], object], what: str = "it") -> None:
    """Wait for what tells nobody that it has happened, a row of the database for example."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(_LOOK_SECONDS)


def wait_until_ended(process: "subprocess.Popen[Any]") -> None:
    """Wait for a process whose end has its time, and see meanwhile how slow this machine is."""
    wait_until(lambda: slowness() and process.poll() is not None, "the end")


def _measured() -> float:
    """What some work takes by the clock, over what it takes of a plain processor.

    Not over what this one's own time says, which goes on while another guest of the same host has the processor; and
    without a rest in it, after which a scheduler would prefer it to what has worked for longer.
    """
    began = time.monotonic()
    for _ in range(_TURNS):
        pass
    return max(1.0, (time.monotonic() - began) / (_TURNS * _TURN_SECONDS))
