"""What a process that watches knows by heart, so that it can tell of the database while that is away."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.alerts import notifying, sending, states
from services.alerts.bodies import AlertNews
from services.alerts.channels import OpenChannel
from services.alerts.observing import ALL
from services.alerts.rules import USUAL, RuleInForce, RuleName
from services.alerts.states import AlertStage, AlertStanding, Sighting
from utils import clock

PING_SECONDS: Final = 60.0
_STORAGE: Final = next(rule for rule in USUAL if rule.name is RuleName.STORAGE)


@dataclass(frozen=True, kw_only=True)
class Untold:
    """A message that could not be written down; ``due`` is by the monotonic clock."""

    channel: OpenChannel
    news: AlertNews
    due: float
    attempts: int = 0


class Memory:
    """The channels as they were when the database was last read, how the storage stands, and what is still to tell."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.RLock()  # a look that hung may come back while another goes on from here
        self.channels: tuple[OpenChannel, ...] = ()
        self.rule: RuleInForce | None = _STORAGE
        self.storage: AlertStanding | None = None
        self.untold: tuple[Untold, ...] = ()
        self._pinged: dict[int, float] = {}
        self._looked_at: float | None = None

    def learn(self, channels: Sequence[OpenChannel], rule: RuleInForce | None) -> None:
        """Keep what the database says now; a channel that is gone is told nothing more."""
        with self._lock:
            self.channels, self.rule = tuple(channels), rule
            known = {channel.id for channel in channels}
            self.untold = tuple(each for each in self.untold if each.channel.id in known)

    def judge(self, found: Sighting | None, now: datetime) -> AlertNews | None:
        """How the storage stands after this look, and the news of it, if there is any."""
        with self._lock:
            return self._judged(found, now)

    def _judged(self, found: Sighting | None, now: datetime) -> AlertNews | None:
        tick = self._seconds()
        seconds, self._looked_at = tick - (tick if self._looked_at is None else self._looked_at), tick
        if self.rule is None:
            self.storage = None
            return None
        before = self.storage
        self.storage, change = states.step(before, found, seconds, hold=self.rule.hold, now=now)
        after = self.storage
        if change is None or after is None:
            return None
        return notifying.news_of(change, RuleName.STORAGE, ALL, after)

    @property
    def is_firing(self) -> bool:
        return self.storage is not None and self.storage.stage is AlertStage.FIRING

    def promise(self, news: AlertNews) -> None:
        """Remember to tell it; what was not told yet of the same alert is old news then."""
        with self._lock:
            others = tuple(each for each in self.untold if each.news.rule != news.rule)
            new = (Untold(channel=each, news=news, due=self._seconds()) for each in self.channels if not each.is_ping)
            self.untold = (*others, *new)

    def forget(self, written: Collection[Untold]) -> None:
        """What was promised here stands elsewhere now."""
        with self._lock:
            self.untold = tuple(each for each in self.untold if each not in written)

    def send_due(self) -> None:
        """Try what is due, each channel once."""
        with self._lock:
            self._send_due()

    def _send_due(self) -> None:
        left = list[Untold]()
        for each in self.untold:
            if each.due > self._seconds():
                left.append(each)
            elif trouble := sending.send(each.channel, each.news):
                attempts = each.attempts + 1
                pause = notifying.pause_after(attempts, trouble.wait).total_seconds()
                left.append(replace(each, attempts=attempts, due=self._seconds() + pause))
        self.untold = tuple(left)

    def ping(self) -> None:
        """Say that this process is there, and that the database is not."""
        for channel in self.channels:
            last = self._pinged.get(channel.id)
            if channel.is_ping and (last is None or self._seconds() - last >= PING_SECONDS):
                self._pinged[channel.id] = self._seconds()
                since = self.storage.since if self.storage else clock.now()
                told = {"rule": RuleName.STORAGE.value, "subject": ALL, "since": since.isoformat()}
                state = {"state": "storage_failing", "firing": [told] if self.is_firing else []}
                sending.ping(channel, state)
