"""Which servers are left alone for a while, because one try after the other has failed there."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, NamedTuple

FAILURES_IN_A_ROW: Final = 5
LAST: Final = 20  # of these, more than half may not fail
FIRST_PAUSE: Final = 30.0  # seconds; it doubles with every probe that fails
LONGEST_PAUSE: Final = 15 * 60.0
MOST_DOUBLINGS: Final = 5  # reach it
PROBE_SECONDS: Final = 60.0  # a probe that has told nothing by then is given up, and another let through
LOOK_AGAIN: Final = 5.0  # seconds for those who wait for a probe


class Key(NamedTuple):
    """Whose server, and a digest of its settings: other settings start with a closed circuit."""

    owner: str
    settings: str


@dataclass
class _State:
    settings: str
    last: deque[bool] = field(default_factory=lambda: deque(maxlen=LAST))
    failures: int = 0  # in a row
    pauses: int = 0  # since it was closed; while there are any, only probes go
    resumes_at: float = 0.0
    probe_until: float | None = None  # while somebody probes


class Circuits:
    """The circuits of a process, one for each owner; every method may be called from any thread.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._states: dict[str, _State] = {}

    def wait_seconds(self, key: Key) -> float:
        """0 if a mail may go to the server now, else when to ask again.

        After a pause the first who asks may go, as a probe, and has to tell how it went.
        """
        with self._lock:
            state, now = self._current(key), self._clock()
            if not state.pauses:
                return 0.0
            if now < state.resumes_at:
                return state.resumes_at - now
            if state.probe_until is not None and now < state.probe_until:
                return min(state.probe_until - now, LOOK_AGAIN)
            state.probe_until = now + PROBE_SECONDS
            return 0.0

    def note_success(self, key: Key) -> None:
        """The server did its work, be it that it refused a mail; after a pause that closes the circuit."""
        with self._lock:
            state = self._current(key, is_asking=False)
            if not state.pauses:
                state.last.append(True)
                state.failures = 0
            elif self._clock() >= state.resumes_at:  # before that, it was begun while all was well
                self._states[key.owner] = _State(key.settings)

    def note_failure(self, key: Key, *, long: bool = False) -> None:
        """The server failed; ``long``: it will until somebody mends it, so that one failure is enough."""
        with self._lock:
            state, now = self._current(key, is_asking=False), self._clock()
            state.last.append(False)
            state.failures += 1
            if long:
                self._pause(state, now, LONGEST_PAUSE)
            elif state.pauses:
                if now >= state.resumes_at:
                    self._pause(state, now, FIRST_PAUSE * 2 ** min(state.pauses, MOST_DOUBLINGS))
            elif state.failures >= FAILURES_IN_A_ROW or state.last.count(False) > LAST // 2:
                self._pause(state, now, FIRST_PAUSE)

    def _current(self, key: Key, *, is_asking: bool = True) -> _State:
        state = self._states.get(key.owner)
        if state is None or (is_asking and state.settings != key.settings):
            state = self._states[key.owner] = _State(key.settings)
        # News of earlier settings come late, and change nothing any more.
        return state if state.settings == key.settings else _State(key.settings)

    @staticmethod
    def _pause(state: _State, now: float, seconds: float) -> None:
        state.pauses += 1
        state.resumes_at = max(state.resumes_at, now + min(seconds, LONGEST_PAUSE))
        state.probe_until = None
