"""How many mails a server takes a minute, learnt from those that it took before it said that they were too many."""

from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import structlog

from services.delivery.limits import LEAST_WAIT, RESERVED
from services.settings.route import RouteStep
from services.smtp.habits import Habit, habits_of
from utils import clock

log = structlog.get_logger(__name__)

# A minute as servers count it: Postfix's anvil starts it at a whole second and ends it behind the sixtieth.
WINDOW: Final = 62.0
GROWTH_SECONDS: Final = 600.0  # without another refusal, after which somewhat more is tried
GROWTH: Final = 1.5
LEAST_A_MINUTE: Final = 10  # where fewer had gone, the refusal may well have been about something else
MOST_COUNTED: Final = 10_000  # above that, nobody has to be paced

Place = tuple[str, int]  # host and port; for an account's own server, whose login it is stands behind the host


@dataclass
class _Server:
    """When each mail of the last minute went, or was about to."""

    lock: Lock = field(default_factory=Lock)
    times: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_COUNTED))

    def of_minute(self, now: float) -> deque[float]:
        """Those of the last minute alone; with the lock held."""
        while self.times and now - self.times[0] >= WINDOW:
            self.times.popleft()
        return self.times


def place_of(server: RouteStep) -> Place:
    """What is paced as one: whatever is ours at a host and port, and each account's own server there by itself.

    Providers count by login, so that what one account has used up says nothing of another's, nor of ours.
    """
    if server.settings is None:
        return "", 0
    host, port = server.settings.host, server.settings.port
    return (f"{host} {server.owner}" if server.account_id is not None else host), port


def seconds_until_willing(server: Place, *, is_security: bool) -> float:
    """0 if one mail may go now, which is then counted, or the seconds after which to ask again.

    Security mail is counted, and never held up by what is only a guess; a fifth is kept for it.
    """
    most, now = most_a_minute(server), clock.now().timestamp()
    counted = _of(server)
    with counted.lock:
        times = counted.of_minute(now)
        if most is not None and not is_security:
            room = max(most - int(most * RESERVED), 1)
            if len(times) >= room:
                return max(times[len(times) - room] + WINDOW - now, LEAST_WAIT)
        times.append(now)
        return 0.0


def count(server: Place) -> None:
    """One mail is about to go, whatever was learnt: somebody waits for the answer."""
    counted, now = _of(server), clock.now().timestamp()
    with counted.lock:
        counted.of_minute(now).append(now)


def give_back(server: Place, mails: int) -> None:
    """So many that were counted did not go."""
    counted = _of(server)
    with counted.lock:
        for _ in range(min(mails, len(counted.times))):
            counted.times.pop()


def note_too_much(server: Place, *, unsaid: int, is_by_minute: bool) -> None:
    """The server refused a mail as one too many, so ``unsaid`` others that were counted do not go either.

    ``is_by_minute``: from now on it gets no more a minute than it took in the last one, though never next to none.
    """
    give_back(server, unsaid + 1)
    if not is_by_minute:
        return
    most = max(len(_of(server).times), LEAST_A_MINUTE)
    habits_of(*server).learn(Habit.MOST_A_MINUTE, most)
    log.warning("server_takes_no_more", host=server[0], port=server[1], now_a_minute=most)


def most_a_minute(server: Place) -> int | None:
    """How many are to go in a minute: what was learnt, and more with time; None where nothing is known."""
    fact = habits_of(*server).fact(Habit.MOST_A_MINUTE)
    if fact is None or not isinstance(fact.value, int):
        return None
    steps = max(int((clock.now() - fact.learnt_at).total_seconds() // GROWTH_SECONDS), 0)  # a clock may go back
    return int(fact.value * GROWTH**steps) + steps


def forget_all() -> None:
    """Count from nothing, as a new process does."""
    with _lock:
        _all.clear()


def _of(server: Place) -> _Server:
    with _lock:
        return _all.get(server) or _all.setdefault(server, _Server())


_lock: Final = Lock()
_all: Final[dict[Place, _Server]] = {}
