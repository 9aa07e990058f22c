"""A group of queued mails along the route: each to the first server that takes it, none to two that might."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, NamedTuple

import structlog
from flask import current_app

from database.outbox_claim_db import Claim
from database.outbox_db import Priority
from services import (
    attempts,
    delivery,
    outbox_settling,
    retry_policy,
    sending_limits,
    server_pace,
    smtp_habits,
    smtp_route,
)
from services.circuit import Circuits, Key
from services.composing import Draft
from services.delivery import Consignment
from services.outbox_settling import Result
from services.outcome import Outcome
from services.retry_policy import Verdict
from services.sending_limits import Limits
from services.smtp_client import IN_FLIGHT
from services.smtp_habits import Habit
from services.smtp_route import RouteStep
from utils import clock

log = structlog.get_logger(__name__)

NO_SERVER: Final = "No mail server is usable."
PAUSED: Final = "The mail server failed several times; it is tried again soon."
THROTTLED: Final = "The sending limit is reached."
SLOWED: Final = "The mail server takes only so many mails a minute."
PINNED: Final = "It may have arrived through a server that cannot be used now; only that one may send it again."
_LONGEST_PAUSE: Final = 60.0  # seconds; a mended server, or a higher limit, is used soon

# Marks mails as on their way to a server; gives the ids of those that are still this worker's.
Fence = Callable[[Sequence[Claim], str], set[int]]


class Wait(NamedTuple):
    """Why a mail was not tried at one server, and for how many seconds; ``is_for_all``: no other mail may go either."""

    seconds: float
    reason: str
    is_for_all: bool = True


@dataclass(kw_only=True)
class Job:
    """A claimed mail on its way. ``result`` is set once its fate for now is known; a lost one is another worker's.

    ``is_stuck``: it was not tried, for reasons that hold for every other mail as well.
    """

    claim: Claim
    draft: Draft
    pending: tuple[str, ...]
    outcomes: list[Outcome] = field(default_factory=list)
    result: Result | None = None
    is_lost: bool = False
    is_stuck: bool = False
    is_about_it: bool = False  # what the last server said is about this mail, since it serves others
    waits: list[Wait] = field(default_factory=list)
    spared: list[Outcome] = field(
        default_factory=list
    )  # at servers that would have said to it what they said to another

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """The outcomes at servers that were down, or had just had enough."""
        return (*self.spared, *self.outcomes)

    @property
    def is_open(self) -> bool:
        return self.result is None and not self.is_lost


def deliver(
    jobs: Sequence[Job], account_id: int | None, fence: Fence, cool_down: timedelta, heard: Callable[[], None]
) -> None:
    """Try the servers of the route in order, the next one only for mails whose server was down.

    ``heard`` is told after each answer, when some jobs may have a result and others are still under way.
    """
    for server in smtp_route.usable(account_id):
        going = [job for job in jobs if job.is_open and job.claim.pinned_to in (None, server.owner)]
        if not going:
            continue
        admitted = _admitted(server, going)
        if admitted:
            _through(server, admitted, fence, cool_down, heard)
        if not server.failover:
            _leave(going, cool_down)
        if not any(job.is_open for job in jobs):
            return
    _leave([job for job in jobs if job.is_open], cool_down)


def _admitted(server: RouteStep, jobs: Sequence[Job]) -> list[Job]:
    """Those whom the server's circuit lets go now; the others are told why they wait."""
    is_urgent = any(job.claim.priority == Priority.SECURITY for job in jobs)
    admission = _circuits().admit(_key(server), [job.claim.id for job in jobs], is_urgent=is_urgent)
    for job in jobs:
        if job.claim.id not in admission.mails:
            job.waits.append(Wait(admission.wait, admission.cause or PAUSED, admission.is_for_all))
    return [job for job in jobs if job.claim.id in admission.mails]


def _through(
    server: RouteStep, jobs: Sequence[Job], fence: Fence, cool_down: timedelta, heard: Callable[[], None]
) -> None:
    limits = sending_limits.limits_of(server.emails_per_minute, server.emails_per_day)
    allowed = [job for job in jobs if not _is_throttled(server, job, limits)]
    if not allowed:
        return
    # First the connection, then the fence: a worker that dies while it connects leaves no mail of unknown fate.
    failure = delivery.failure_to_reach(server)
    if failure:
        server_pace.give_back(_place(server), len(allowed))
    else:
        ours = fence([job.claim for job in allowed], server.owner)
        for job in allowed:
            job.is_lost = job.claim.id not in ours
    going = [job for job in allowed if not job.is_lost]
    unsaid = dict(enumerate(going))
    told: dict[object, bool] = {}  # one broken connection is one failure, however many mails were to go over it
    with closing(_outcomes(server, going, failure)) as outcomes:
        for place, outcome in outcomes:
            job = unsaid.pop(place)
            job.outcomes.append(replace(outcome, skipped=job.skipped) if job.skipped else outcome)
            attempts.tell(job.draft, job.outcomes[-1])
            cause, verdict = _cause(outcome), _verdict(outcome)
            if cause is None or cause not in told:
                told[cause] = _note_on_circuit(server, job, verdict)
            job.is_about_it = told[cause]
            job.is_stuck = verdict is not None and verdict.crowds and failure is not None
            if not (server.failover and verdict and verdict.goes_on):
                job.result = _settled(job, outcome, server.owner, cool_down)
            heard()
            if verdict and verdict.slows and failure is None:
                # Of those in flight, each has been said already, and its answer is coming.
                spared = [] if _goes_blind(server) else list(unsaid.values())
                server_pace.note_too_much(_place(server), unsaid=len(spared), is_by_minute=verdict.paces)
                if spared:
                    _spare(server, spared, outcome, verdict)
                    return


def _spare(server: RouteStep, jobs: Iterable[Job], outcome: Outcome, verdict: Verdict) -> None:
    """Do not say the mails that are left, since the server has just had enough of them."""
    for job in jobs:
        job.spared.append(outcome)
        job.waits.append(Wait(verdict.seconds or 0, verdict.reason))
        if not server.failover:
            _leave([job], timedelta(0))


def _outcomes(server: RouteStep, jobs: Sequence[Job], failure: Outcome | None) -> Generator[tuple[int, Outcome]]:
    """What becomes of each job at this server: its place and its outcome, once that is known."""
    if failure:
        yield from enumerate([failure] * len(jobs))
        return
    mails = [Consignment(job.draft, job.pending, job.skipped) for job in jobs]
    in_flight = 1 if any(job.claim.priority == Priority.SECURITY for job in jobs) else IN_FLIGHT
    yield from delivery.attempt_all(server, mails, in_flight=in_flight)


def _is_throttled(server: RouteStep, job: Job, limits: Limits) -> bool:
    is_security = job.claim.priority == Priority.SECURITY
    seconds, reason = server_pace.seconds_until_willing(_place(server), is_security=is_security), SLOWED
    if not seconds and limits != Limits():
        domains = [address.rpartition("@")[2] for address in job.pending]
        seconds = sending_limits.seconds_until_allowed(server.owner, limits, domains, is_security=is_security)
        reason = THROTTLED
        if seconds:
            server_pace.give_back(_place(server), 1)
    if seconds:
        until = clock.now() + timedelta(seconds=min(seconds, _LONGEST_PAUSE))
        job.result = outbox_settling.snoozed(job.claim, until, reason)
        job.is_stuck = reason == SLOWED or not limits.per_minute_per_domain  # to another domain there may be room
    return seconds > 0


def _cause(outcome: Outcome) -> object:
    """What tells one failure of a server from the next: all mails that a connection took with it are one."""
    error = outcome.error
    return "lost" if error and error.may_have_been_sent else error


def _verdict(outcome: Outcome) -> Verdict | None:
    return retry_policy.of_error(outcome.error) if outcome.error else None


def _note_on_circuit(server: RouteStep, job: Job, verdict: Verdict | None) -> bool:
    """Let the circuit know; whether what the server said is about this mail alone."""
    circuits, key = _circuits(), _key(server)
    if verdict is None:
        circuits.note_success(key)
        return False
    cause = verdict.reason if verdict.reason in retry_policy.PAUSE_REASONS else ""
    is_about_it = False
    if verdict.is_doubtful:
        is_about_it = not circuits.note_doubt(key, job.claim.id, long=verdict.opens, cause=cause)
    elif verdict.trips or verdict.opens:
        circuits.note_failure(key, long=verdict.opens, cause=cause)
    elif not verdict.goes_on:
        circuits.note_success(key)  # it answered, if only to refuse this mail
    if verdict.opens and not is_about_it:
        log.warning("server_paused", server=server.name, config_id=server.config_id, reason=verdict.reason)
    return is_about_it


def _circuits() -> Circuits:
    """The circuits of this application in this process."""
    circuits: Circuits = current_app.extensions.setdefault("sealpost_circuits", Circuits())
    return circuits


def _key(server: RouteStep) -> Key:
    return Key(server.owner, server.fingerprint)


def _place(server: RouteStep) -> tuple[str, int]:
    return (server.settings.host, server.settings.port) if server.settings else ("", 0)


def _goes_blind(server: RouteStep) -> bool:
    """Whether a whole group may be on its way before the first answer comes."""
    return smtp_habits.habits_of(*_place(server)).shows(Habit.SWALLOWS)


def _settled(job: Job, outcome: Outcome, owner: str, cool_down: timedelta) -> Result:
    return outbox_settling.after(job.claim, outcome, owner, clock.now(), cool_down, is_about_it=job.is_about_it)


def _leave(jobs: Sequence[Job], cool_down: timedelta) -> None:
    """Let mails wait that no server could take."""
    for job in jobs:
        if not job.is_open:
            continue
        if job.outcomes:
            last = job.outcomes[-1]
            job.result = _settled(job, last, last.server.owner if last.server else "", cool_down)
            continue
        soonest = min(job.waits, default=None)
        reason = soonest.reason if soonest else PINNED if job.claim.pinned_to else NO_SERVER
        seconds = min(soonest.seconds, _LONGEST_PAUSE) if soonest else _LONGEST_PAUSE
        job.result = outbox_settling.snoozed(job.claim, clock.now() + timedelta(seconds=seconds), reason)
        job.is_stuck = soonest.is_for_all if soonest else reason != PINNED
