"""Whose mail is claimed next: accounts go round, a group each, and after a group's worth of the system's come theirs.

So whatever one of them has queued, another waits for no more than a group of it. Each process goes its own rounds.
Security mail waits for no turn, and heeds no rest.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from database import outbox_claim_db, outbox_turn_db
from database.driver import Driver
from database.engine import transaction
from database.outbox_claim_db import GROUP, Claim, LeaseTerms
from database.outbox_db import IN_TURNS, Priority
from utils import application, clock
from utils.log_utils import logged

log = structlog.get_logger(__name__)

LOOK_AGAIN: Final = 0.25  # seconds in which the system is asked first, after no account had anything
LAP: Final = 256  # accounts that are looked up together, where one by one takes long
FEW: Final = 100  # accounts with mail that waits, which are looked up in no time
QUICK: Final = 0.002  # seconds; whoever looks up an account in less does so for every group
LOOKS_SHARE: Final = 10  # else one part in so many of the time goes into it
KEPT: Final = timedelta(hours=1)  # that a rest is known after its end
STUCK_SECONDS: Final = 5.0  # that the system rests while none of its mail can go


@dataclass
class _Round:
    """The round of one priority: the accounts whose turn comes, and behind which one others follow."""

    lap: deque[int] = field(default_factory=deque)
    after: int = 0
    systems: int = 0  # mails of the system since the accounts were last asked first
    nothing_until: float = 0.0  # no account had anything
    served: list[int] = field(default_factory=list)  # of this lap
    is_slow: bool = False  # the last look-up took long, since many wait that are not due
    good_until: float = 0.0  # until then the next lap has the same


class Turns:
    """The rounds of one process; usable from any thread. ``monotonic`` is a clock, in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = monotonic
        self._lock = Lock()
        self._rounds = {priority: _Round() for priority in IN_TURNS}
        self._system_rests_until = monotonic()

    def claim(self, driver: Driver, priority: Priority, terms: LeaseTerms) -> list[Claim]:
        """A group of the first, in the order of their turns, who has anything due."""
        for scope in self._scopes(driver, priority, terms.now):
            if claims := outbox_claim_db.claim(driver, priority, scope, terms):
                if scope is None:
                    self._rounds[priority].systems += len(claims)
                else:
                    self._rounds[priority].served.append(scope)
                return claims
        return []

    def rest_system(self) -> None:
        """Claim no mail of the system for a while: none of it can go.

        However much is due, claiming it only to put it off would keep the processor and the disk busy.
        """
        self._system_rests_until = self._clock() + STUCK_SECONDS

    def _scopes(self, driver: Driver, priority: Priority, now: datetime) -> Iterator[int | None]:
        """Whom to ask, one after the other: None is the system."""
        round_ = self._rounds[priority]
        has_system = self._clock() >= self._system_rests_until
        is_first = round_.systems < GROUP or self._clock() < round_.nothing_until
        if has_system and is_first:
            yield None
        round_.systems = 0
        yield from self._accounts(driver, priority, now)
        if has_system and not is_first:
            yield None

    def _accounts(self, driver: Driver, priority: Priority, now: datetime) -> Iterator[int]:
        """The accounts with mail that is due, from where the last claim has left off; each once."""
        round_, asked = self._rounds[priority], set[int]()
        while True:
            while (account := self._next_of_lap(round_)) is not None:
                asked.add(account)
                yield account
            found = self._next_lap(driver, priority, now)
            # Of those who were asked already, another worker is claiming what they have just now.
            if asked.issuperset(found):
                break
            round_.lap = deque(found)
        if not asked:
            round_.nothing_until = self._clock() + LOOK_AGAIN

    def _next_of_lap(self, round_: _Round) -> int | None:
        with self._lock:
            if not round_.lap:
                return None
            round_.after = round_.lap.popleft()
            return round_.after

    def _next_lap(self, driver: Driver, priority: Priority, now: datetime) -> list[int]:
        """The account that comes next; where it takes long to find, a lap of several, the same ones for a while."""
        round_, began = self._rounds[priority], self._clock()
        with self._lock:
            known, round_.served = round_.served, []
        if known and began < round_.good_until:
            return known
        most = LAP if round_.is_slow else 1
        look_up = partial(outbox_turn_db.due_accounts, driver, priority, most=most, now=now)
        found = look_up(after=round_.after)
        if not found and round_.after:
            found = look_up(after=0)
        took = self._clock() - began
        # A machine may be busy: it is their number that makes it slow.
        round_.is_slow = took > QUICK and outbox_turn_db.has_more_than(driver, priority, FEW)
        round_.good_until = began + (min(took * LOOKS_SHARE, LOOK_AGAIN) if round_.is_slow else 0.0)
        return found


def rest(account_id: int, until: datetime, reason: str) -> None:
    """Let the account's mail wait where it is: none of it can go before. Never raises."""
    is_told = logged(log.warning, "account_does_not_rest", SQLAlchemyError, account_id=account_id)
    # What a power cut takes back of it, the next group shows again.
    with is_told, transaction(durable=False) as session:
        outbox_turn_db.rest(session, account_id, until, reason)


def forget_rests() -> None:
    """Delete what has been over for long.

    Of what was over a moment ago the mail is claimed at once; until then it tells that the mail was not overdue.
    """
    with transaction(durable=False) as session:
        outbox_turn_db.forget_rests(session, clock.now() - KEPT)


def turns() -> Turns:
    """Those of this application in this process."""
    return application.kept("sealpost_turns", Turns)
