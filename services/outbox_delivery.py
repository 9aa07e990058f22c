"""A group of queued mails along the route: each to the first server that takes it, none to two that might."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from flask import current_app

from database.outbox_claim_db import Claim
from database.outbox_db import Priority
from services import (
    attempts,
    delivery,
    held_servers,
    outbox_settling,
    protection,
    retry_policy,
    sending_limits,
    smtp_route,
)
from services.circuit import Circuits, Key
from services.composing import Draft
from services.delivery import Consignment
from services.held_servers import waits
from services.outbox_settling import Result
from services.outcome import Outcome, Withheld
from services.sending_limits import Limits
from services.smtp_client import IN_FLIGHT, Parcel
from services.smtp_patience import Span
from services.smtp_route import RouteStep
from utils import clock
from utils.errors import Fault

NO_SERVER: Final = "No mail server is usable."
PAUSED: Final = "The mail server failed several times; it is tried again soon."
THROTTLED: Final = "The sending limit is reached."
PINNED: Final = "It may have arrived through a server that cannot be used now; only that one may send it again."
WITHHELD: Final = "The mail server is down, and the next one would protect the mail less."
CUT_SHORT: Final = (Fault.TIMEOUT, Fault.CLOSED)  # what a conversation ends with that was ended on our side
_LONGEST_PAUSE: Final = 60.0  # seconds; a mended server, or a higher limit, is used soon

# Marks mails as on their way to a server; gives the ids of those that are still this worker's.
Fence = Callable[[Sequence[Claim], str], set[int]]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How a group is worked off. ``cool_down`` is for mails of unknown fate.

    ``heard`` is told after each answer, when some jobs may have a result and others are still under way. Nothing is
    begun once the ``span`` is over: what is left then is given back.
    """

    fence: Fence
    heard: Callable[[], None]
    span: Span
    cool_down: timedelta


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
    withheld: Withheld | None = None
    is_lost: bool = False
    is_stuck: bool = False

    @property
    def is_open(self) -> bool:
        return self.result is None and not self.is_lost


def deliver(jobs: Sequence[Job], account_id: int | None, shift: Shift) -> None:
    """Try the servers of the route in order, the next one only for mails whose server was down."""
    pauses: list[float] = []
    paused: list[RouteStep] = []
    is_security = any(job.claim.priority == Priority.SECURITY for job in jobs)
    for server in smtp_route.usable(account_id):
        going = [job for job in jobs if job.is_open and job.claim.pinned_to in (None, server.owner)]
        going = [job for job in going if not _is_withheld(job, server, paused)]
        if not going or shift.span.is_over:
            continue
        pause = _pause_at(server, is_security=is_security)
        if pause:
            pauses.append(pause)
            paused.append(server)
        else:
            with waits().at(server.owner, shift.span, is_security=is_security):
                _through(server, going, shift)
        if not server.failover:
            _leave(going, pauses, shift)
        if not any(job.is_open for job in jobs):
            return
    _leave([job for job in jobs if job.is_open], pauses, shift)


def _is_withheld(job: Job, server: RouteStep, paused: Sequence[RouteStep]) -> bool:
    """Whether the mail rather waits for a server that is down than goes through this one."""
    down = [outcome.server for outcome in job.outcomes if outcome.server] + list(paused)
    is_security = job.claim.priority == Priority.SECURITY
    reason = protection.refusal(server, down, is_security=is_security)
    if reason and not job.withheld:
        job.withheld = delivery.told_withheld(server, down, reason)
    return bool(reason)


def _pause_at(server: RouteStep, *, is_security: bool) -> float:
    """For how many seconds other mail than that under way is kept from this server; 0 if it may go."""
    if waits().is_held(server.owner, is_security=is_security):
        return held_servers.LOOK_AGAIN
    return _circuits().wait_seconds(_key(server))


def _through(server: RouteStep, jobs: Sequence[Job], shift: Shift) -> None:
    limits = sending_limits.limits_of(server.emails_per_minute, server.emails_per_day)
    allowed = [job for job in jobs if limits == Limits() or not _is_throttled(server, job, limits)]
    # All that can go wrong with a mail on our side comes first, then the connection, then the fence: a worker that
    # fails or dies before leaves no mail of unknown fate.
    parcels = {job.claim.id: parcel for job in allowed if (parcel := _parcel_of(server, job))}
    going = [job for job in allowed if job.claim.id in parcels]
    if not going:
        return
    failure = delivery.failure_to_reach(server, shift.span)
    if failure is None:
        ours = shift.fence([job.claim for job in going], server.owner)
        for job in going:
            job.is_lost = job.claim.id not in ours
    going = [job for job in going if not job.is_lost]
    told: set[object] = set()  # one broken connection is one failure, however many mails were to go over it
    with closing(_outcomes(server, going, parcels, failure, shift.span)) as outcomes:
        for job, outcome in outcomes:
            if _was_cut_short(outcome, shift.span):
                job.result = outbox_settling.given_back(job.claim, clock.now())
            else:
                _settle(job, server, outcome, shift.cool_down)
                if (cause := _cause(outcome)) not in told:
                    _note_on_circuit(_circuits(), _key(server), outcome)
                if cause is not None:
                    told.add(cause)
            shift.heard()


def _parcel_of(server: RouteStep, job: Job) -> Parcel | None:
    """The mail as this server gets it. One that cannot be made rests, and holds no other."""
    parcel = delivery.parcel_for(server, Consignment(job.draft, job.pending, job.outcomes))
    if isinstance(parcel, Parcel):
        return parcel
    _settle(job, server, parcel, timedelta(0))
    return None


def _settle(job: Job, server: RouteStep, outcome: Outcome, cool_down: timedelta) -> None:
    """Note what became of a mail at this server, and what it is then unless the next one is to be tried."""
    job.outcomes.append(replace(outcome, skipped=tuple(job.outcomes)) if job.outcomes else outcome)
    attempts.tell(job.draft, job.outcomes[-1])
    error = outcome.error
    if error and delivery.is_ours(outcome):
        job.result = outbox_settling.met_our_fault(job.claim, error, clock.now())
    elif not (server.failover and error and delivery.is_server_down(error)):
        job.result = outbox_settling.after(job.claim, outcome, server.owner, clock.now(), cool_down)


def _was_cut_short(outcome: Outcome, span: Span) -> bool:
    """Whether we have ended the conversation before the mail was taken: nobody is at fault."""
    error = outcome.error
    return error is not None and span.is_over and not error.may_have_been_sent and error.fault in CUT_SHORT


def _outcomes(
    server: RouteStep, jobs: Sequence[Job], parcels: Mapping[int, Parcel], failure: Outcome | None, span: Span
) -> Generator[tuple[Job, Outcome]]:
    """What becomes of each job at this server, once that is known."""
    if failure:
        yield from ((job, failure) for job in jobs)
        return
    alone: list[Job] = []
    in_flight = 1 if any(job.claim.priority == Priority.SECURITY for job in jobs) else IN_FLIGHT
    found = delivery.attempt_all(server, [parcels[job.claim.id] for job in jobs], span, in_flight=in_flight)
    with closing(found) as outcomes:
        for place, outcome in outcomes:
            if delivery.is_ours(outcome) and len(jobs) > 1:
                alone.append(jobs[place])  # one of them made the others fail: each shows by itself which
            else:
                yield jobs[place], outcome
    for job in alone:
        for _, outcome in delivery.attempt_all(server, [parcels[job.claim.id]], span, in_flight=1):
            yield job, outcome


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


def _leave(jobs: Sequence[Job], pauses: Sequence[float], shift: Shift) -> None:
    """Let mails wait that no server could take."""
    for job in jobs:
        if not job.is_open:
            continue
        now = clock.now()
        if job.outcomes:
            last = job.outcomes[-1] = replace(job.outcomes[-1], withheld=job.withheld)
            owner = last.server.owner if last.server else ""
            job.result = outbox_settling.after(job.claim, last, owner, now, shift.cool_down)
        elif shift.span.is_over:
            job.result = outbox_settling.given_back(job.claim, now)
        else:
            seconds = min([*pauses, _LONGEST_PAUSE])
            reason = PAUSED if pauses else PINNED if job.claim.pinned_to else NO_SERVER
            job.result = outbox_settling.snoozed(job.claim, now + timedelta(seconds=seconds), reason)
            job.is_stuck = reason != PINNED
        if job.withheld:
            job.result["reason"] = WITHHELD
