"""A group of queued mails along the route: each to the first server that takes it, none to two that might."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from flask import current_app

from database.outbox_claim_db import Claim
from database.outbox_db import Priority
from services import attempts, delivery, outbox_settling, retry_policy, sending_limits, smtp_route
from services.circuit import Circuits, Key
from services.composing import Draft
from services.delivery import Consignment
from services.outbox_settling import Result
from services.outcome import Outcome
from services.sending_limits import Limits
from services.smtp_client import IN_FLIGHT
from services.smtp_route import RouteStep
from utils import clock

NO_SERVER: Final = "No mail server is usable."
PAUSED: Final = "The mail server failed several times; it is tried again soon."
THROTTLED: Final = "The sending limit is reached."
PINNED: Final = "It may have arrived through a server that cannot be used now; only that one may send it again."
_LONGEST_PAUSE: Final = 60.0  # seconds; a mended server, or a higher limit, is used soon

# Marks mails as on their way to a server; gives the ids of those that are still this worker's.
Fence = Callable[[Sequence[Claim], str], set[int]]


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

    @property
    def is_open(self) -> bool:
        return self.result is None and not self.is_lost


def deliver(
    jobs: Sequence[Job], account_id: int | None, fence: Fence, cool_down: timedelta, heard: Callable[[], None]
) -> None:
    """Try the servers of the route in order, the next one only for mails whose server was down.

    ``heard`` is told after each answer, when some jobs may have a result and others are still under way.
    """
    pauses: list[float] = []
    for server in smtp_route.usable(account_id):
        going = [job for job in jobs if job.is_open and job.claim.pinned_to in (None, server.owner)]
        if not going:
            continue
        pause = _circuits().wait_seconds(_key(server))
        if pause:
            pauses.append(pause)
        else:
            _through(server, going, fence, cool_down, heard)
        if not server.failover:
            _leave(going, pauses, cool_down)
        if not any(job.is_open for job in jobs):
            return
    _leave([job for job in jobs if job.is_open], pauses, cool_down)


def _through(
    server: RouteStep, jobs: Sequence[Job], fence: Fence, cool_down: timedelta, heard: Callable[[], None]
) -> None:
    limits = sending_limits.limits_of(server.emails_per_minute, server.emails_per_day)
    allowed = [job for job in jobs if limits == Limits() or not _is_throttled(server, job, limits)]
    if not allowed:
        return
    # First the connection, then the fence: a worker that dies while it connects leaves no mail of unknown fate.
    failure = delivery.failure_to_reach(server)
    if failure is None:
        ours = fence([job.claim for job in allowed], server.owner)
        for job in allowed:
            job.is_lost = job.claim.id not in ours
    going = [job for job in allowed if not job.is_lost]
    circuits, key = _circuits(), _key(server)
    told: set[object] = set()  # one broken connection is one failure, however many mails were to go over it
    with closing(_outcomes(server, going, failure)) as outcomes:
        for place, outcome in outcomes:
            job = going[place]
            job.outcomes.append(replace(outcome, skipped=tuple(job.outcomes)) if job.outcomes else outcome)
            attempts.tell(job.draft, job.outcomes[-1])
            if (cause := _cause(outcome)) not in told:
                _note_on_circuit(circuits, key, outcome)
            if cause is not None:
                told.add(cause)
            goes_on = server.failover and outcome.error is not None and delivery.is_server_down(outcome.error)
            if not goes_on:
                job.result = outbox_settling.after(job.claim, outcome, key.owner, clock.now(), cool_down)
            heard()


def _outcomes(server: RouteStep, jobs: Sequence[Job], failure: Outcome | None) -> Generator[tuple[int, Outcome]]:
    """What becomes of each job at this server: its place and its outcome, once that is known."""
    if failure:
        yield from enumerate([failure] * len(jobs))
        return
    mails = [Consignment(job.draft, job.pending, job.outcomes) for job in jobs]
    in_flight = 1 if any(job.claim.priority == Priority.SECURITY for job in jobs) else IN_FLIGHT
    yield from delivery.attempt_all(server, mails, in_flight=in_flight)


def _is_throttled(server: RouteStep, job: Job, limits: Limits) -> bool:
    seconds = sending_limits.seconds_until_allowed(
        server.owner,
        limits,
        [address.rpartition("@")[2] for address in job.pending],
        is_security=job.claim.priority == Priority.SECURITY,
    )
    if seconds:
        until = clock.now() + timedelta(seconds=min(seconds, _LONGEST_PAUSE))
        job.result = outbox_settling.snoozed(job.claim, until, THROTTLED)
        job.is_stuck = not limits.per_minute_per_domain  # to another domain there may be room
    return seconds > 0


def _cause(outcome: Outcome) -> object:
    """What tells one failure of a server from the next: all mails that a connection took with it are one."""
    error = outcome.error
    return "lost" if error and error.may_have_been_sent else error


def _note_on_circuit(circuits: Circuits, key: Key, outcome: Outcome) -> None:
    if outcome.error is None:
        circuits.note_success(key)
        return
    verdict = retry_policy.of_error(outcome.error)
    if verdict.trips or verdict.opens:
        circuits.note_failure(key, long=verdict.opens)
    elif not delivery.is_server_down(outcome.error):
        circuits.note_success(key)  # it answered, if only to refuse this mail


def _circuits() -> Circuits:
    """The circuits of this application in this process."""
    circuits: Circuits = current_app.extensions.setdefault("sealpost_circuits", Circuits())
    return circuits


def _key(server: RouteStep) -> Key:
    return Key(server.owner, server.fingerprint)


def _leave(jobs: Sequence[Job], pauses: Sequence[float], cool_down: timedelta) -> None:
    """Let mails wait that no server could take."""
    for job in jobs:
        if not job.is_open:
            continue
        now = clock.now()
        if job.outcomes:
            last = job.outcomes[-1]
            owner = last.server.owner if last.server else ""
            job.result = outbox_settling.after(job.claim, last, owner, now, cool_down)
            continue
        seconds = min([*pauses, _LONGEST_PAUSE])
        reason = PAUSED if pauses else PINNED if job.claim.pinned_to else NO_SERVER
        job.result = outbox_settling.snoozed(job.claim, now + timedelta(seconds=seconds), reason)
        job.is_stuck = reason != PINNED
