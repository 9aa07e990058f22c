"""Which servers are left alone for a while, because one try after the other has failed there."""

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, NamedTuple

from services.outbox.reasons import Reason

FAILURES_IN_A_ROW: Final = 5
LAST: Final = 20  # of these, more than half may not fail
FIRST_PAUSE: Final = 30.0  # seconds; it doubles with every probe that fails
LONGEST_PAUSE: Final = 15 * 60.0
MOST_DOUBLINGS: Final = 5  # reach it
PROBE_SECONDS: Final = 60.0  # a probe that has told nothing by then is given up, and another let through
LOOK_AGAIN: Final = 5.0  # seconds for those who wait for a probe
JUST_NOW: Final = 10 * 60.0  # a server that took a mail since then serves
MOST_MET: Final = 1000  # mails that are remembered


class Key(NamedTuple):
    """Whose server, and a digest of its settings: other settings start with a closed circuit."""

    owner: str
    settings: str


class Admission(NamedTuple):
    """Which of some mails may go to a server now, and in how many seconds the others may ask again.

    ``is_for_all``: they wait for what keeps every other mail from it as well; ``cause`` is what was told of it,
    and ``is_unreachable`` whether it could not be connected or signed in to.
    """

    mails: frozenset[int]
    wait: float = 0.0
    is_for_all: bool = True
    cause: Reason | None = None
    is_unreachable: bool = False


@dataclass
class _State:
    settings: str
    last: deque[bool] = field(default_factory=lambda: deque(maxlen=LAST))
    failures: int = 0  # in a row
    pauses: int = 0  # since it was closed; while there are any, only probes go
    resumes_at: float = 0.0
    probe_until: float | None = None  # while somebody probes
    cause: Reason | None = None
    is_unreachable: bool = False  # as it was when it failed last
    succeeded_at: float | None = None
    # Mails that met, since the server last served another, what may be about the one who meets it; and those that met
    # it while others were served. Only the rest can tell, so that while this is all there is against the server, they
    # go as probes before its pause is over.
    met: dict[int, None] = field(default_factory=dict)
    suspects: dict[int, None] = field(default_factory=dict)
    is_doubtful: bool = False
    others_from: float = 0.0


class Circuits:
    """The circuits of a process, one for each owner; every method may be called from any thread.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._states: dict[str, _State] = {}

    def admit(self, key: Key, mails: Collection[int], *, is_urgent: bool = False) -> Admission:
        """Which of these mails may go now; as a probe those first that can tell most, and what is urgent if it can.

        After a pause the first who asks may go, as a probe, and has to tell how it went.
        """
        with self._lock:
            state, now = self._current(key), self._clock()
            fresh = frozenset(mail for mail in mails if mail not in state.met and mail not in state.suspects)
            if not state.pauses or (is_urgent and state.is_doubtful):
                return Admission(frozenset(mails))
            if state.is_doubtful and fresh:
                wait = self._wait(state, now, others=True)
                rest = max(state.resumes_at - now, LOOK_AGAIN)
                return Admission(frozenset() if wait else fresh, wait or rest, wait > 0, state.cause)
            wait = self._wait(state, now)
            let = frozenset[int]() if wait else frozenset(mails)
            return Admission(let, wait, not state.is_doubtful, state.cause, state.is_unreachable)

    def note_success(self, key: Key) -> None:
        """The server did its work, be it that it refused a mail; after a pause that closes the circuit."""
        with self._lock:
            state, now = self._current(key, is_asking=False), self._clock()
            if not state.pauses:
                state.last.append(True)
                state.failures = 0
            elif now >= state.resumes_at or state.is_doubtful:  # else it was begun while all was well
                self._states[key.owner] = _State(key.settings, met=state.met, suspects=state.suspects)
                state = self._states[key.owner]
            else:
                return
            state.succeeded_at = now
            for mail in state.met:
                _remember(state.suspects, mail)
            state.met.clear()

    def note_failure(
        self, key: Key, *, long: bool = False, cause: Reason | None = None, is_unreachable: bool = False
    ) -> None:
        """The server failed; ``long``: it will until somebody mends it, so that one failure is enough.

        ``is_unreachable``: it could not be connected or signed in to.
        """
        with self._lock:
            state = self._current(key, is_asking=False)
            state.is_doubtful = False
            self._fail(state, self._clock(), long, cause)
            state.is_unreachable = is_unreachable

    def note_doubt(
        self, key: Key, mail: int, *, is_likely: bool = False, long: bool = False, cause: Reason | None = None
    ) -> bool:
        """A mail met what may be about it alone; whether it counts as the server's failure.

        It does once another mail has met it too and none has gone since; where it ``is_likely``, at once, unless the
        server has just taken another. One mail speaks once: as often as it comes back, it keeps no other from going,
        but for ``long`` failures, which last.
        """
        with self._lock:
            state, now = self._current(key, is_asking=False), self._clock()
            state.probe_until = None
            if mail in state.suspects:
                return len(state.met) > 0
            knew = mail in state.met
            _remember(state.met, mail)
            serves = state.succeeded_at is not None and now - state.succeeded_at < JUST_NOW
            is_servers = len(state.met) > 1 or (is_likely and not serves and (long or not knew))
            if is_servers and (not knew or (state.pauses and now >= state.resumes_at)):
                state.is_doubtful = state.is_doubtful or not state.pauses
                state.others_from = now + FIRST_PAUSE
                self._fail(state, now, long, cause)
            return is_servers

    def pause(self, key: Key) -> float:
        """For how many seconds the server is still left alone; 0 while mail may go there."""
        with self._lock:
            state = self._states.get(key.owner)
            is_left_alone = state is not None and state.settings == key.settings and state.pauses
            return max(state.resumes_at - self._clock(), 0.0) if state and is_left_alone else 0.0

    def _current(self, key: Key, *, is_asking: bool = True) -> _State:
        state = self._states.get(key.owner)
        if state is None or (is_asking and state.settings != key.settings):
            state = self._states[key.owner] = _State(key.settings)
        # News of earlier settings come late, and change nothing any more.
        return state if state.settings == key.settings else _State(key.settings)

    def _fail(self, state: _State, now: float, long: bool, cause: Reason | None) -> None:
        state.last.append(False)
        state.failures += 1
        state.cause, state.is_unreachable = cause, False
        if long:
            self._pause(state, now, LONGEST_PAUSE)
        elif state.pauses:
            if now >= state.resumes_at:
                self._pause(state, now, FIRST_PAUSE * 2 ** min(state.pauses, MOST_DOUBLINGS))
        elif state.failures >= FAILURES_IN_A_ROW or state.last.count(False) > LAST // 2:
            self._pause(state, now, FIRST_PAUSE)

    @staticmethod
    def _wait(state: _State, now: float, *, others: bool = False) -> float:
        """0 for who may go, after a pause as its probe; ``others`` need not wait for the end of a doubtful one."""
        ends_at = min(state.resumes_at, state.others_from) if others else state.resumes_at
        if not state.pauses:
            return 0.0
        if now < ends_at:
            return ends_at - now
        if state.probe_until is not None and now < state.probe_until:
            return min(state.probe_until - now, LOOK_AGAIN)
        state.probe_until = now + PROBE_SECONDS
        return 0.0

    @staticmethod
    def _pause(state: _State, now: float, seconds: float) -> None:
        state.pauses += 1
        state.resumes_at = max(state.resumes_at, now + min(seconds, LONGEST_PAUSE))
        state.probe_until = None


def _remember(mails: dict[int, None], mail: int) -> None:
    """As the latest of not too many."""
    mails.pop(mail, None)
    mails[mail] = None
    if len(mails) > MOST_MET:
        del mails[next(iter(mails))]
