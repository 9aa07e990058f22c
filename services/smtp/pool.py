"""Kept connections: a mail goes over one that is open for exactly these settings, or over a new one.

One pool for each process. A connection that the server closed while nobody used it is replaced unnoticed; one
that failed is never used again.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakSet

import structlog

from services.smtp.client import IN_FLIGHT, Parcel, Policy, Receipt, Result, SmtpClient, closed, receipt_of
from services.smtp.dialogue import Dialogue
from services.smtp.grammar import GOING_AWAY
from services.smtp.habits import Habit, habits_of
from services.smtp.patience import Queueing
from services.smtp.settings import SmtpSettings
from services.smtp.wire import Deadline
from utils import incidents
from utils.errors import ENVELOPE, DeliveryError, Fault, Phase, Temporary

log = structlog.get_logger(__name__)

_AGAIN: Final = 3  # tries at a server that has not noticed yet that we left
_NOTICE_SECONDS: Final = 0.5
_LOOK_AGAIN: Final = 0.5  # seconds between two looks at whether one should still wait
# Connections on which nothing comes of any mail: each may have shown that what the server announces does not hold,
# for PIPELINING, CHUNKING, what comes behind a dot, and the number of recipients.
_MOST_WAYS: Final = 5
_SHRUNK_SECONDS: Final = 600.0
_GROWTH_SECONDS: Final = 60.0
_PARTING_SECONDS: Final = 5.0  # in which a server may still count a connection that we have ended

# All that makes two connections the same: the password, too, but no token, and not how patient we are.
_Key = tuple[SmtpSettings, Policy]


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """``size`` is connections to one server, ``messages`` how many each carries; times are in seconds."""

    size: int = 3  # one for each sender of a worker, and one for security mail
    messages: int = 100
    age: float = 600.0
    idle: float = 60.0  # servers hang up after 10 to 300 seconds; RFC 5321 4.5.3.2.7 asks them for 5 minutes


class Lane:
    """The connections with the same settings: those that are idle, the last used last, and a count of the others."""

    def __init__(self, limits: PoolLimits, clock: Callable[[], float], lock: threading.Lock) -> None:
        self.idle: list[Kept] = []
        self.busy = 0  # in use or being opened
        self.looks = 0  # of these, those that carry no mail, and take the place of none
        self.is_current = True  # these are still somebody's settings
        self.freed = threading.Condition(lock)
        self.limits = limits
        self.clock = clock
        self.left_at: float | None = None  # when we last ended one
        self._shrunk: tuple[int, float] | None = None  # to how many, and when

    @property
    def cap(self) -> int:
        """How many connections there may be: half as many for ten minutes after the server had too many."""
        if not self._shrunk:
            return self.limits.size + self.looks
        cap, since = self._shrunk
        quiet = self.clock() - since - _SHRUNK_SECONDS
        return min(self.limits.size, cap + max(0, 1 + int(quiet // _GROWTH_SECONDS)))

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left that would have to be remembered."""
        return not self.idle and not self.busy and self.cap >= self.limits.size

    @property
    def was_just_left(self) -> bool:
        """Whether the server may have one too many because it has not noticed yet that we left."""
        return self.left_at is not None and self.clock() - self.left_at < _PARTING_SECONDS

    def shrink(self, most: int | None = None) -> None:
        """Lower the cap for ten minutes, to ``most`` or by half; from then on it grows by one a minute."""
        self._shrunk = max(1, self.cap // 2 if most is None else most), self.clock()

    def worn(self) -> list["Kept"]:
        """Take out what has been idle for too long, or is too old."""
        worn = [kept for kept in self.idle if kept.is_worn]
        self.idle = [kept for kept in self.idle if not kept.is_worn]
        return worn

    def next_idle(self) -> tuple["Kept | None", list["Kept"]]:
        """Take out the connection that was used last and still works; and those before it that do not."""
        unfit = self.worn()
        while self.idle:
            # The last used is the likeliest to live, and those that are not needed get old and go.
            kept = self.idle.pop()
            if kept.client.is_quiet:
                return kept, unfit
            unfit.append(kept)
        return None, unfit


class Kept:
    """An open connection. ``carried`` counts the mails that it was given, ``idle_since`` is when it came back."""

    def __init__(self, client: SmtpClient, lane: Lane) -> None:
        self.client = client
        self.lane = lane
        self.carried = 0
        self.idle_since = self._opened_at = lane.clock()

    @property
    def room(self) -> int:
        """How many more mails it may carry."""
        most = self.lane.limits.messages
        return min(most, self.client.most_mails or most) - self.carried

    @property
    def is_worn(self) -> bool:
        now, limits = self.lane.clock(), self.lane.limits
        is_old = now - self._opened_at >= limits.age or now - self.idle_since >= limits.idle
        return is_old or self.room <= 0

    @property
    def may_stay(self) -> bool:
        """Whether, back from its use, it is to be kept for the next mail."""
        lane = self.lane
        is_needed = lane.busy + len(lane.idle) < lane.cap
        return lane.is_current and is_needed and self.client.is_open and not self.is_worn


class Pool:
    """Safe to use from several threads, and after a fork. ``clock`` counts seconds, and a test may turn it.

    ``owner`` names whose settings these are, like "config:3": when they change, the connections with the
    former ones are closed.
    """

    def __init__(self, limits: PoolLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or PoolLimits()
        self._clock = clock
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[_Key, Lane] = {}
        self._owners: dict[str, _Key] = {}
        self._open: set[Kept] = set()
        self._wake = threading.Event()
        self._reaper: threading.Thread | None = None

    def make_room(self, size: int) -> None:
        """Let there be at least ``size`` connections to one server, for as many who send at once."""
        with self._lock:
            self._limits = replace(self._limits, size=max(size, self._limits.size))
            for lane in self._lanes.values():
                lane.limits = self._limits

    def send(self, settings: SmtpSettings, policy: Policy, parcel: Parcel, *, owner: str) -> Receipt:
        """Hand over one message, as SmtpClient.send does: with the wait for a connection, in the policy's time.

        A kept connection that turns out to be gone, before the message was said, costs a new one and no error.
        """
        deadline = Deadline(policy.total_seconds)
        receipt = self._sent(settings, policy, parcel, owner, deadline)
        while left := receipt.left_over if receipt.accepted else ():
            rest = replace(parcel, envelope=replace(parcel.envelope, recipients=left))
            try:
                more = self._sent(settings, policy, rest, owner, deadline)
            except DeliveryError as error:
                if error.may_have_been_sent:
                    raise
                break  # the others have got it, and this is told of those who have not
            receipt = receipt.followed_by(more)
            if not more.accepted:
                break
        return receipt

    def _sent(self, settings: SmtpSettings, policy: Policy, parcel: Parcel, owner: str, deadline: Deadline) -> Receipt:
        """One transaction, over as many connections as it takes for the server to hear of it."""
        result: Result = None
        for attempt in range(_MOST_WAYS):
            kept = self._take(settings, policy, owner, deadline, fresh=attempt > 0)
            ((_, result),) = self._carry(kept, policy, [parcel], deadline, 1)
            if not _goes_again(result, kept):
                break
        return receipt_of(result)

    def send_all(
        self,
        settings: SmtpSettings,
        policy: Policy,
        parcels: Sequence[Parcel],
        *,
        owner: str,
        in_flight: int = IN_FLIGHT,
    ) -> Generator[tuple[Parcel, Result]]:
        """Hand over many messages, as SmtpClient.send_all does: over one connection after the other.

        No result is None: what was not tried goes over the next connection. Where there is none, that is the
        error of every mail that is left.
        """
        waiting, fruitless = list(parcels), 0
        while waiting:
            deadline = Deadline(policy.total_seconds)
            try:
                kept = self._take(settings, policy, owner, deadline, fresh=fruitless > 0)
            except DeliveryError as error:
                yield from ((parcel, error) for parcel in waiting)
                return
            batch, waiting = waiting[: kept.room], waiting[kept.room :]
            again: list[Parcel] = []
            for parcel, result in self._carry(kept, policy, batch, deadline, in_flight):
                if fruitless < _MOST_WAYS and _goes_again(result, kept):
                    again.append(parcel)
                else:
                    yield parcel, result or closed()
            fruitless = fruitless + 1 if len(again) == len(batch) else int(bool(again))
            waiting = again + waiting

    def warm(self, settings: SmtpSettings, policy: Policy, *, owner: str) -> None:
        """See to it that a connection is open and waits for a mail. Raises DeliveryError, as SmtpClient.open does."""
        self._give_back(self._take(settings, policy, owner, Deadline(policy.total_seconds)))

    def look(self, settings: SmtpSettings, policy: Policy, talk: Dialogue, *, owner: str, of: SmtpSettings) -> bool:
        """Open a connection that carries no mail, ask for nothing on it, and go. Raises DeliveryError.

        False, and nothing is done, where mail has one open with the settings ``of`` its lane. While this one lasts it
        counts, so that mail waits for its end where the server takes no other, instead of being turned away.
        """
        with self._lock:
            lane, unfit = self._lane(owner, _key(of, policy))
            is_free = not lane.busy and not any(kept.client.is_quiet for kept in lane.idle)
            lane.busy, lane.looks = lane.busy + is_free, lane.looks + is_free
        self._hang_up(unfit)
        if is_free:
            try:
                with SmtpClient(settings, policy, talk=talk) as client:
                    client.ask_for_nothing()
            finally:
                with self._lock:
                    lane.busy, lane.looks, lane.left_at = lane.busy - 1, lane.looks - 1, self._clock()
                    lane.freed.notify()
        return is_free

    def close(self) -> None:
        """Close what nobody uses; what is in use is closed when it comes back. The pool can go on afterwards."""
        with self._lock:
            lanes = list(self._lanes.values())
            for lane in lanes:
                lane.is_current = False
            self._lanes.clear()
            self._owners.clear()
        self._hang_up([kept for lane in lanes for kept in lane.idle])
        self._wake.set()

    def reap(self) -> float | None:
        """Close what was idle for too long; give the seconds until there may be more, None if nothing is idle."""
        with self._lock:
            worn = [kept for lane in self._lanes.values() for kept in lane.worn()]
            self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.is_spent}
            self._owners = {owner: key for owner, key in self._owners.items() if key in self._lanes}
            since = [kept.idle_since for lane in self._lanes.values() for kept in lane.idle]
        self._hang_up(worn)
        return min(since) + self._limits.idle - self._clock() if since else None

    def forget(self) -> None:
        """In a forked child: what the parent has open is the parent's. Nothing is said on it, and all begins anew."""
        for kept in self._open:
            kept.client.abandon()
        self._begin()

    def _take(
        self, settings: SmtpSettings, policy: Policy, owner: str, deadline: Deadline, *, fresh: bool = False
    ) -> Kept:
        """A connection that is open, if need be a new one; with ``fresh``, surely a new one."""
        key, again = _key(settings, policy), _AGAIN
        while True:
            with self._lock:
                lane, unfit = self._lane(owner, key)
                kept, more = lane.next_idle()
                unfit += more
                if kept and fresh:  # one of the idle has just failed, and so may the others, which are as old
                    unfit += [kept, *lane.idle]
                    kept, lane.idle = None, []
                is_free = kept is not None or lane.busy < lane.cap
                if is_free:
                    lane.busy += 1
                elif not unfit and not _is_freed(lane, deadline, policy):
                    raise _in_use()
            self._hang_up(unfit)
            if is_free and (kept := kept or self._opened(lane, settings, policy, deadline, may_wait=again > 0)):
                return kept
            if is_free:
                again -= 1

    def _lane(self, owner: str, key: _Key) -> tuple[Lane, list[Kept]]:
        """The lane for these settings, and the idle connections with the owner's former ones."""
        former = self._owners.get(owner)
        self._owners[owner] = key
        unfit: list[Kept] = []
        if former not in (None, key) and former not in self._owners.values() and former in self._lanes:
            lane = self._lanes.pop(former)
            lane.is_current = False
            unfit = lane.idle
        if key not in self._lanes:
            lane = self._lanes[key] = Lane(self._limits, self._clock, self._lock)
            most = habits_of(key[0].host, key[0].port).most(Habit.MOST_CONNECTIONS)
            if most is not None and most < lane.cap:
                lane.shrink(most)
        return self._lanes[key], unfit

    def _opened(
        self, lane: Lane, settings: SmtpSettings, policy: Policy, deadline: Deadline, *, may_wait: bool
    ) -> Kept | None:
        """A new connection; None if the server has too many of ours, so that one of those has to come back first.

        Where it is one that we have just ended, and we ``may_wait``, it gets a moment to notice that.
        """
        client = SmtpClient(settings, policy)
        client.allow(deadline.remaining(), policy)
        try:
            client.open()
        except BaseException as error:
            crowded = isinstance(error, DeliveryError) and policy.is_crowded(error)
            with self._lock:
                lane.busy -= 1
                others = lane.busy + len(lane.idle)
                if crowded:
                    lane.shrink(min(others, lane.cap - 1))
                cap = lane.cap
                lane.freed.notify()
                waits = crowded and not others and may_wait and lane.was_just_left
                if waits:
                    lane.freed.wait(min(_NOTICE_SECONDS, max(0, deadline.remaining())))
            if crowded:
                habits_of(settings.host, settings.port).learn(Habit.MOST_CONNECTIONS, cap)
                log.warning("smtp_too_many_connections", host=settings.host, port=settings.port, now_at_most=cap)
            if crowded and (others or waits):
                return None
            raise
        kept = Kept(client, lane)
        with self._lock:
            self._open.add(kept)
        return kept

    def _carry(
        self, kept: Kept, policy: Policy, parcels: Sequence[Parcel], deadline: Deadline, in_flight: int
    ) -> Generator[tuple[Parcel, Result]]:
        kept.client.allow(deadline.remaining(), policy)
        try:
            with closing(kept.client.send_all(parcels, in_flight=in_flight)) as results:
                for parcel, result in results:
                    kept.carried += 1
                    yield parcel, result
        finally:
            self._give_back(kept)

    def _give_back(self, kept: Kept) -> None:
        with self._lock:
            kept.lane.busy -= 1
            kept.idle_since = self._clock()
            stays = kept.may_stay
            if stays:
                kept.lane.idle.append(kept)
                self._start_reaper()
            kept.lane.freed.notify()
        if not stays:
            self._hang_up([kept])

    def _start_reaper(self) -> None:
        if not self._reaper:
            self._reaper = threading.Thread(target=incidents.watched(self._watch), name="smtp-pool", daemon=True)
            with suppress(RuntimeError):  # the interpreter is about to end, and closes the pool anyhow
                self._reaper.start()

    def _watch(self) -> None:
        while True:
            seconds = self.reap()
            with self._lock:
                # What is in use comes back in a moment: to end for that would cost a new thread with the next mail.
                if not any(lane.idle or lane.busy for lane in self._lanes.values()):
                    self._reaper = None
                    return
            self._wake.wait(self._limits.idle if seconds is None else seconds)
            self._wake.clear()

    def _hang_up(self, unfit: list[Kept]) -> None:
        for kept in unfit:
            kept.client.close(patiently=False)  # nobody should wait for the answer to a QUIT, which tells nothing
            kept.lane.left_at = self._clock()
        with self._lock:
            self._open.difference_update(unfit)


def _key(settings: SmtpSettings, policy: Policy) -> _Key:
    return (replace(settings, bearer=settings.bearer.named_only()) if settings.bearer else settings), policy


def _goes_again(result: Result, kept: Kept) -> bool:
    """Whether nothing of the mail was taken, for reasons of the connection, so that it costs nothing to try another.

    A kept connection may have gone before the message was said; a new one had better not.
    """
    if not isinstance(result, DeliveryError):
        return result is None
    gone = result.code == GOING_AWAY or result.fault is Fault.CLOSED
    is_stale = kept.carried > 1 and gone and result.phase in ENVELOPE and not result.may_have_been_sent
    return result.not_taken or is_stale


def _in_use() -> DeliveryError:
    error = Temporary(Phase.CONNECT, Fault.TIMEOUT, "All connections to the server are in use.")
    error.not_taken = True  # by mails of ours: nothing is wrong with the server
    return error


def _is_freed(lane: Lane, deadline: Deadline, policy: Policy) -> bool:
    """Wait until a connection may be free; False if it takes too long, or whoever waits is to end."""
    span = policy.span
    with span.covers(Queueing()) if span else nullcontext():
        while (left := deadline.remaining()) > 0 and not (span and span.is_over):
            if lane.freed.wait(min(left, _LOOK_AGAIN)):
                return True
    return False


def _after_fork() -> None:
    for each in _pools:
        each.forget()


_pools: WeakSet[Pool] = WeakSet()
os.register_at_fork(after_in_child=_after_fork)

pool: Final = Pool()
atexit.register(pool.close)
