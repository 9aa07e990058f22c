"""Whoever watches: one process at a time, by a lease; every server process has a thread that is ready to be the one."""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, Self

import structlog
from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from database import alert_db, schema_db
from database.engine import reading, transaction
from services.alerts import channels as stored_channels
from services.alerts import judging, notifying, observing, sending
from services.alerts import rules as stored_rules
from services.alerts.bodies import AlertNews
from services.alerts.channels import OpenChannel
from services.alerts.memory import PING_SECONDS, Memory
from services.alerts.observing import ALL, Sightings
from services.alerts.rules import RuleInForce, RuleName
from services.alerts.states import AlertStanding, Sighting
from utils import clock, ending, incidents
from utils.clock_watch import JUMP, ClockWatch

log = structlog.get_logger(__name__)

Find = Callable[[Mapping[RuleName, RuleInForce]], Sightings]

NAME: Final = "alerts"  # of the pulse, and of the lease in it
LOOK_SECONDS: Final = 15.0
FIRST_SECONDS: Final = 5.0  # until the first look: a process that has just started has other things to do
LEASE: Final = timedelta(seconds=60)
TIDY_SECONDS: Final = 3600.0
STOP_SECONDS: Final = 1.0
HUNG: Final = 5  # times as long as between two looks, after which one counts as hanging; sending takes less
_STOP_LOOK_SECONDS: Final = 0.5  # between two looks at whether to stop
_PING_EARLY: Final = 2.0  # seconds; looks are no exact minutes apart


class Watcher:
    """Looks once each time that it is told to. Whatever a look meets, the next one begins anew.

    One that ``remembers`` goes on from memory while the database is away; of several that share tasks none may.
    """

    def __init__(
        self,
        instance_path: Path,
        seconds: Callable[[], float] = time.monotonic,
        find: Find = observing.look,
        *,
        remembers: bool = True,
    ) -> None:
        self._find = find
        self._lease_id = secrets.token_hex(16)
        self._folder = instance_path
        self._seconds = seconds
        self._remembers = remembers
        self._memory = Memory(seconds)
        self._clock = ClockWatch(seconds)
        self._is_one = False  # that had the lease at the last look
        self._looked_at: float | None = None
        self._tidied_at: float | None = None
        self._written: AlertStanding | None = None  # how the storage stands by its row

    def look(self) -> None:
        """Take the lease or leave it to whoever has it; find, judge, tell. In an application context."""
        self._clock.look()
        try:
            has_lease = self._take_lease()
        except SQLAlchemyError as failure:
            self._without_database(failure)
            return
        if not has_lease:
            self._step_back()
            return
        try:
            self._watch()
        except SQLAlchemyError as failure:
            self._without_database(failure)

    def give_back(self) -> None:
        """Let another process watch."""
        self._is_one, self._looked_at = False, None
        with transaction(durable=False) as session:
            alert_db.give_lease_back(session, NAME, self._lease_id)

    def _take_lease(self) -> bool:
        now = clock.now()
        with transaction(durable=False) as session:
            last = alert_db.pulse(session, NAME)
            if last is not None and last.at > now + timedelta(seconds=JUMP):  # noted by a clock that was ahead
                self._clock.note_jump()
            return alert_db.take_lease(session, NAME, self._lease_id, now, now + LEASE)

    def _renew(self) -> bool:
        now = clock.now()
        with transaction(durable=False) as session:
            return alert_db.take_lease(session, NAME, self._lease_id, now, now + LEASE)

    def _watch(self) -> None:
        with reading() as session:
            open_channels = stored_channels.opened_all(session)
            rules = {rule.name: rule for rule in stored_rules.in_force(alert_db.rules(session)) if rule.is_on}
        if not self._is_one:
            self._recall()
        self._memory.learn(open_channels, rules.get(RuleName.STORAGE))
        found, unknown = self._found(rules)
        tick, now = self._seconds(), clock.now()
        seconds = tick - self._looked_at if self._is_one and self._looked_at is not None else None
        # Should a power cut take it, the next look finds the same again.
        with transaction(durable=False) as session:
            # This holds the row until the end, so that two who both believe to have the lease write one after another.
            if not alert_db.take_lease(session, NAME, self._lease_id, clock.now(), clock.now() + LEASE):
                return
            news = judging.judge(session, rules, found, unknown=unknown, seconds=seconds, now=now)
            for one in news:
                _log(one)
                notifying.promise(session, one, open_channels)
        self._is_one, self._looked_at = True, tick
        self._judge_storage(observing.disk_fault(self._folder))
        self._write_down()
        self._ping(open_channels)
        notifying.send_due({channel.id: channel for channel in open_channels}, self._renew)
        self._tidy()

    def _found(self, rules: Mapping[RuleName, RuleInForce]) -> tuple[Sightings, frozenset[RuleName]]:
        """What these rules find, and those whose answer means nothing just now. Raises SQLAlchemyError."""
        found: Sightings = {}
        unknown = {name for name, rule in rules.items() if self._clock.is_doubted(rule.believes_after)}
        for name, rule in rules.items():
            try:
                found |= self._find({name: rule})
            except SQLAlchemyError:
                raise
            except Exception as error:  # of which the other rules must not suffer
                incidents.report("alert_rule_failed", error, rule=name.value)
                unknown.add(name)
        return found, frozenset(unknown)

    def _recall(self) -> None:
        """How the storage stood when another process watched."""
        if self._memory.is_firing:
            return
        with reading() as session:
            rows = (row for row in alert_db.states(session) if row.rule == RuleName.STORAGE)
            row = next(rows, None)
            self._memory.storage = self._written = judging.standing_of(row) if row else None

    def _judge_storage(self, found: Sighting | None) -> None:
        """What there is to tell of it is remembered until it is written down or told, whichever can be done."""
        news = self._memory.judge(found, clock.now())
        if news:
            _log(news)
            self._memory.promise(news)

    def _write_down(self) -> None:
        """Put how the storage stands, and what is still to tell of it, where it outlives this process."""
        stands, untold = self._memory.storage, self._memory.untold
        if not untold and stands == self._written:
            return
        with transaction(durable=False) as session:
            row = next((row for row in alert_db.states(session) if row.rule == RuleName.STORAGE), None)
            judging.write(session, (RuleName.STORAGE.value, ALL), stands, row)
            for each in untold:
                notifying.promise(session, each.news, [each.channel])
        self._written = stands
        self._memory.forget(untold)

    def _step_back(self) -> None:
        """Another process watches. What this one has told of the database from memory, it takes back itself."""
        self._is_one, self._looked_at = False, None
        if self._memory.is_firing or self._memory.untold:
            self._judge_storage(None)
            self._memory.send_due()

    def _without_database(self, failure: SQLAlchemyError) -> None:
        """Go on from memory, if this process was the one that watched: the others could not know of each other."""
        self._looked_at = None
        if schema_db.lacks_something(failure):  # before its upgrade, which is no fault of the database
            return
        log.error("alerts_without_database", kind=type(failure).__name__)
        self.look_from_memory()

    def look_from_memory(self) -> None:
        """Look at the storage alone, which fails or does not answer, and tell of it."""
        if not self._remembers or not (self._is_one or self._memory.is_firing):
            return
        self._judge_storage(observing.disk_fault(self._folder) or observing.NO_DATABASE)
        self._memory.ping()
        self._memory.send_due()

    def _ping(self, open_channels: list[OpenChannel]) -> None:
        pings = [channel for channel in open_channels if channel.is_ping]
        if not pings:
            return
        with reading() as session:
            firing = [
                {"rule": row.rule, "subject": row.subject, "since": row.since.isoformat(), "headline": row.headline}
                for row in judging.firing(session)
            ]
        state: dict[str, object] = {"state": "alerting" if firing else "ok", "firing": firing}
        known = {channel.id: channel for channel in stored_channels.every()}
        for channel in pings:
            now = clock.now()
            with transaction(durable=False) as session:
                before = now - timedelta(seconds=PING_SECONDS - _PING_EARLY)
                is_due = alert_db.claim_ping(session, channel.id, now, before)
            if not is_due:
                continue
            trouble = sending.ping(channel, state)
            shown = known.get(channel.id)
            is_news = shown is None or (trouble.sentence if trouble else "") != shown.trouble or shown.ok_at is None
            if is_news:
                notifying.note(channel.id, trouble)

    def _tidy(self) -> None:
        if self._tidied_at is None or self._seconds() - self._tidied_at >= TIDY_SECONDS:
            self._tidied_at = self._seconds()
            notifying.tidy()


class AlertWatch:
    """The thread of a server process that has another look every few seconds, and is not held up by one that hangs.

    Where a database's machine is gone without a word, nothing comes back from it, and no error either.
    """

    def __init__(self, app: Flask, watcher: Watcher | None = None, pause: float = LOOK_SECONDS) -> None:
        self._app = app
        self._watcher = watcher or Watcher(Path(app.instance_path))
        self._pause = pause
        self._hangs = False
        self._first = min(pause, FIRST_SECONDS)
        self._longest = pause * HUNG
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=incidents.watched(self._work), name="alert-watch", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it, and let another process watch; no channel that is silent is waited for."""
        self._stopping.set()
        self._thread.join(min(STOP_SECONDS, ending.seconds_left()))

    def _work(self) -> None:
        self._stopping.wait(self._first)
        while not self._stopping.is_set():
            look = threading.Thread(target=partial(self._guarded, self._watcher.look), name="alert-look", daemon=True)
            look.start()
            self._wait_for(look)
            self._stopping.wait(self._pause)
        if not self._hangs:
            self._guarded(self._watcher.give_back)

    def _wait_for(self, look: threading.Thread) -> None:
        until = time.monotonic() + self._longest
        while look.is_alive() and not self._stopping.is_set():
            look.join(min(self._pause, _STOP_LOOK_SECONDS))
            if look.is_alive() and time.monotonic() >= until:
                self._guarded(self._watcher.look_from_memory)
                until = time.monotonic() + self._pause
        self._hangs = look.is_alive()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            with self._app.app_context():
                work()
        except SQLAlchemyError as failure:
            log.error("alerts_not_looked_at", kind=type(failure).__name__)
        except Exception as error:
            incidents.report("alerts_not_looked_at", error)


def _log(news: AlertNews) -> None:
    log.warning(f"alert_{news.change}", rule=news.rule, subject=news.subject, headline=news.headline)


def look_once(watcher: Watcher) -> None:
    """For tasks of several processes: whichever gets the next one may take it up at once."""
    watcher.look()
    watcher.give_back()


def here(
    seconds: Callable[[], float] = time.monotonic, find: Find = observing.look, *, remembers: bool = True
) -> Watcher:
    """One for the application of this context."""
    return Watcher(Path(current_app.instance_path), seconds, find, remembers=remembers)
