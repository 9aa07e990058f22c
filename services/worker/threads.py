"""The threads that send queued mail. One claims for all of them, so that processes share a database fairly.

A commit in this process wakes them at once; whatever else there is, a sweep finds. Nothing here is promised: a claim
is only a lease, and whatever dies, another worker goes on with it.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeVar

import structlog
from flask import Flask
from sqlalchemy.exc import InterfaceError, OperationalError

from database.outbox_db import Priority
from services.accounts import password_reset
from services.delivery import held_servers
from services.outbox import figures, indexing, many, promise
from services.smtp import pool
from services.worker import groups, lease, pulse, turns
from services.worker.groups import Turn
from services.worker.lease import HEARTBEATS_A_LEASE, Group, Pace
from services.worker.probing import Probing
from services.worker.renewing import Renewing
from utils import ending, incidents, service_manager

log = structlog.get_logger(__name__)

EXTENSION: Final = "sealpost_worker"
SENDERS: Final = 2
SWEEP_SECONDS: Final = 5.0
LOOK_AGAIN_SECONDS: Final = 30.0  # between two looks for a server whose turn it is to be looked at
TIDY_SECONDS: Final = 3600.0
DEED_SECONDS: Final = 1.0  # of a deed on many mails, until a stop is heard of
PAUSE_SECONDS: Final = 0.1  # the answer to whoever asked for a reset is out before its work starts
LAST_SECONDS: Final = 1.0  # of a stop, for writing down what became of the mails
LOOK_SECONDS: Final = 0.1  # between two looks of a stop at what is under way
SILENT_SECONDS: Final = 60.0  # without a turn of the claimer, after which it counts as dead

T = TypeVar("T")


class MailWorker:
    """A claimer, ``senders`` threads that send, one more for security mail alone, one for deeds on many mails, and one
    for all other upkeep.

    Whoever waits for a server that has been silent for long is stood in for by one more, so that no server holds all.
    """

    def __init__(self, app: Flask, senders: int = SENDERS, pace: Pace | None = None) -> None:
        self.name = lease.worker_name()
        self._app = app
        self._pace = pace or Pace()
        self._senders = senders
        self._handed: SimpleQueue[Group | None] = SimpleQueue()
        self._under_way: dict[str, Group] = {}  # by token
        self._given_back: set[str] = set()  # tokens of those that still wait, but for no mail that was not begun
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._asked = threading.Event()  # somebody asked for a password reset
        self._ordered = threading.Event()  # somebody wants something done to many mails
        self._stopping = threading.Event()
        self._last_turn = time.monotonic()
        self._renewing = Renewing(app)
        self._probing = Probing(app)
        self._claimer = threading.Thread(target=incidents.watched(self._claim), name="mail-claimer", daemon=True)
        self._keeper = threading.Thread(target=incidents.watched(self._keep), name="mail-keeper", daemon=True)
        self._actor = threading.Thread(target=incidents.watched(self._act), name="mail-actor", daemon=True)
        self._sending = [self._sender() for _ in range(senders + 1)]

    def start(self) -> None:
        promise.new_mail.add(self.wake)
        password_reset.new_request.add(self._asked.set)
        many.new_deed.add(self._ordered.set)
        for thread in self._threads:
            thread.start()

    @property
    def _threads(self) -> list[threading.Thread]:
        with self._lock:
            return [self._claimer, self._keeper, self._actor, *self._sending]

    def _sender(self) -> threading.Thread:
        return threading.Thread(target=incidents.watched(self._send), name="mail-sender", daemon=True)

    def wake(self) -> None:
        """There may be mail to send."""
        self._woken.set()

    def is_alive(self) -> bool:
        """Whether the claimer has lately taken a turn and every thread runs."""
        recent = time.monotonic() - self._last_turn < SILENT_SECONDS
        return recent and all(thread.is_alive() for thread in self._threads)

    def stop(self, seconds: float | None = None) -> None:
        """Claim nothing more, finish what is under way for up to ``seconds``, give the rest back.

        Without a number it is as long as the end of the process leaves. A server that says nothing is not waited for:
        its conversation is ended, and what it has not taken given back.
        """
        promise.new_mail.remove(self.wake)
        password_reset.new_request.remove(self._asked.set)
        many.new_deed.remove(self._ordered.set)
        self._stopping.set()
        self._woken.set()
        self._asked.set()
        self._ordered.set()
        seconds = ending.seconds_left(lease.STOP_SECONDS) if seconds is None else seconds
        until = time.monotonic() + seconds
        self._guarded(self._renew)
        self._claimer.join(seconds)
        threads = self._threads
        for _ in threads:
            self._handed.put(None)
        self._end_silent(until - min(LAST_SECONDS, seconds / 2))
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._probing.end(max(0.0, until - time.monotonic()))
        self._renewing.join(max(0.0, until - time.monotonic()))  # or a token that was just given might be lost
        for group in self._groups():  # a name server that is silent still holds it; nothing of it was said
            self._guarded(partial(lease.give_back, group))

    def _end_silent(self, until: float) -> None:
        """Wait for what is under way, but for no server that says nothing; at ``until`` for none at all."""
        began = time.monotonic()
        while under_way := self._groups():
            now = time.monotonic()
            for group in under_way:
                if now >= until or lease.is_in_vain(group, began):
                    group.span.end()
            if now >= until:
                return
            time.sleep(LOOK_SECONDS)

    def join(self) -> None:
        """Wait until another thread has called ``stop``."""
        for thread in self._threads:
            thread.join()

    def _claim(self) -> None:
        next_heartbeat = 0.0
        while not self._stopping.is_set():
            self._woken.clear()
            self._last_turn = time.monotonic()
            if self._last_turn >= next_heartbeat:
                next_heartbeat = self._last_turn + self._pace.lease.total_seconds() / HEARTBEATS_A_LEASE
                self._guarded(self._renew)
            self._guarded(self._free_what_is_held)
            self._guarded(self._hand_out)
            self._woken.wait(max(0.0, min(self._nap(), next_heartbeat - time.monotonic())))

    def _nap(self) -> float:
        """For how long to wait for news; where a server may turn out to be silent, no longer than that takes."""
        is_near = held_servers.may_be_held_soon([group.span for group in self._groups()])
        return held_servers.HELD_BY_OWN / 2 if is_near else SWEEP_SECONDS

    def _keep(self) -> None:
        """Whatever may take long, or wait for others; neither claims nor leases wait for it."""
        next_sweep = next_tidy = next_look = next_count = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if now >= next_sweep:
                next_sweep = now + SWEEP_SECONDS
                self._guarded(self._sweep)
                self._guarded(indexing.index_some)
            self._guarded(password_reset.process_requests)
            if now >= next_look:
                next_look = now + LOOK_AGAIN_SECONDS
                self._guarded(pulse.beat)
                self._guarded(self._probing.begin)
            if now >= next_count:
                self._guarded(figures.count_up)
                next_count = time.monotonic() + figures.pause_after(time.monotonic() - now)
            if now >= next_tidy:
                next_tidy = now + TIDY_SECONDS
                self._guarded(groups.tidy)
                self._guarded(self._renewing.begin)
            if self._asked.wait(max(0.0, next_sweep - time.monotonic())):
                self._asked.clear()
                self._stopping.wait(PAUSE_SECONDS)

    def _act(self) -> None:
        """Deeds on many mails, each of which takes as long as it takes."""
        while True:
            self._ordered.clear()
            if self._stopping.is_set():
                return
            if not self._guarded(partial(many.go_on_with_all, DEED_SECONDS)):
                self._ordered.wait(SWEEP_SECONDS)

    def _renew(self) -> None:
        for group in self._groups():
            lease.renew(group, self._pace)

    def _sweep(self) -> None:
        self._renew()  # whatever the clock did, what this process has under way is not taken for lost
        groups.sweep(self._pace)
        self._woken.set()

    def _free_what_is_held(self) -> None:
        """Let mail go another way that waits for a silent server, and those who wait there beside others.

        Before anything of it was said, a mail can be given back while its sender still waits for the greeting.
        """
        for group in self._groups():
            if held_servers.may_be_given_back(group.span) and group.token not in self._given_back:
                self._given_back.add(group.token)
                lease.give_back(group)
        self._given_back.intersection_update(group.token for group in self._groups())
        for span in held_servers.waits().surplus():
            span.end()

    def _hand_out(self) -> None:
        """Claim a group for each sender that is free, until there is no other to claim just now."""
        is_another_free = True
        while is_another_free:
            busy = self._busy()
            wanted = self._wanted(busy)
            group = groups.claim_group(self.name, self._pace, wanted) if wanted else None
            if group is None:
                return
            with self._lock:
                self._under_way[group.token] = group
            self._handed.put(group)
            # Had security mail been due, it would have been this group; so there is none for the last free sender.
            is_another_free = group.is_security or busy + 1 < self._senders

    def _wanted(self, busy: int) -> Sequence[Priority]:
        """What a sender may take up while ``busy`` others are at work."""
        if busy > self._senders or self._stopping.is_set():
            return ()
        # The last free sender is for security mail, which never waits behind other mail.
        return (Priority.SECURITY,) if busy == self._senders else tuple(Priority)

    def _busy(self) -> int:
        """How many senders are at work, but for those that others stand in for since their server is silent."""
        under_way = self._groups()
        held = held_servers.excused([group.span for group in under_way])
        with self._lock:
            missing = 0 if self._stopping.is_set() else self._senders + 1 + held - len(self._sending)
            for _ in range(missing):
                self._sending.append(self._sender())
                self._sending[-1].start()
        return len(under_way) - held

    def _send(self) -> None:
        while (group := self._handed.get()) is not None:
            while group:
                group = self._next(group)
            self._woken.set()
            if self._is_spare():
                return

    def _is_spare(self) -> bool:
        """Whether this sender stood in for one that is back; it then ends."""
        held = held_servers.excused([group.span for group in self._groups()])
        with self._lock:
            if len(self._sending) <= self._senders + 1 + held:
                return False
            self._sending.remove(threading.current_thread())
            return True

    def _next(self, group: Group) -> Group | None:
        """Work a group off; the next one, if there was any to claim along with its results."""
        turn = self._guarded(partial(self._work_off, group), mails=group.mail_ids) or Turn()
        with self._lock:
            del self._under_way[group.token]
            if turn.next_group:
                self._under_way[turn.next_group.token] = turn.next_group
        return turn.next_group

    def _work_off(self, group: Group) -> Turn:
        if self._stopping.is_set():
            lease.give_back(group)
            return Turn()
        turn = groups.work_off(group, self._pace, lambda: self._wanted(self._busy() - 1))
        if turn.is_stuck:
            turns.turns().rest_system()
        return turn

    def _groups(self) -> list[Group]:
        with self._lock:
            return list(self._under_way.values())

    def _guarded(self, work: Callable[[], T], **facts: object) -> T | None:
        """What ``work`` gives. Goes on after whatever happens: the rows are the truth, and their lease runs out."""
        try:
            with self._app.app_context():
                return work()
        except (OperationalError, InterfaceError) as failure:  # the database is away: no news, for as long as it is
            kind, where = type(failure).__name__, incidents.place(failure)
            log.error("mail_worker_failed", kind=kind, where=where, **facts)
        except Exception as error:
            incidents.report("mail_worker_failed", error, **facts)
        self._stopping.wait(1.0)
        return None


def start(app: Flask, senders: int = SENDERS, pace: Pace | None = None) -> MailWorker:
    """Start the worker of this process. The caller stops it."""
    pool.pool.make_room(senders + 1)
    worker = MailWorker(app, senders, pace)
    app.extensions[EXTENSION] = worker
    worker.start()
    return worker


def is_alive(app: Flask) -> bool | None:
    """Whether the worker of this process runs; None if there is none here."""
    worker: MailWorker | None = app.extensions.get(EXTENSION)
    return worker.is_alive() if worker else None


def run_alone(app: Flask, senders: int = SENDERS) -> None:
    """Send queued mail, and do nothing else, until SIGTERM or SIGINT."""
    asked = threading.Event()
    ending.hear(asked.set)
    for number in ending.STOP_SIGNALS:
        signal.signal(number, ending.by_signal)
    worker = start(app, senders)
    service_manager.watch(worker.is_alive)
    service_manager.ready()
    asked.wait()
    worker.stop()
