"""A group of queued mails along the route: each to the first server that takes it, none to two that might."""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from database.outbox_claim_db import Claim, Settlement
from database.outbox_db import Priority
from services.delivery import account_limits, attempt, held_servers, pace, record, standing
from services.delivery import limits as sending_limits
from services.delivery.account_limits import Places
from services.delivery.held_servers import waits
from services.delivery.limits import Allowance, Limits, NoPlace
from services.delivery.outcome import LONG, Outcome, Withheld
from services.delivery.record import RecordedAttempt
from services.delivery.retry_policy import Verdict
from services.message.draft import Draft
from services.outbox import leaving, reasons
from services.outbox.reasons import Reason
from services.settings import protection, route
from services.settings.health import Meeting, What
from services.settings.personal_route import UnusableAccount
from services.settings.route import RouteStep
from services.smtp.client import IN_FLIGHT, Parcel
from services.smtp.patience import Span
from services.worker import settling
from services.worker.lease import Group
from utils import clock
from utils.errors import Fault

CUT_SHORT: Final = (Fault.TIMEOUT, Fault.CLOSED)  # what a conversation ends with that was ended on our side
# Why one mail waits, which says nothing of the next one.
_ABOUT_ONE_MAIL: Final = (Reason.GIVEN_BACK, Reason.PINNED, Reason.NO_KEY, Reason.FAILED_BEFORE_SENDING)
_LIMITS_OF_ACCOUNT: Final = (Reason.ACCOUNT_LIMIT, Reason.GLOBAL_LIMIT)
_LONGEST_PAUSE: Final = 60.0  # seconds; a mended server, or a higher limit, is used soon

_STALLED: Final = Meeting(what=What.FAILED, reason=Reason.SILENT, is_broken=True, is_unreachable=True)

# Marks mails as on their way to a server; gives the ids of those that are still this worker's.
Fence = Callable[[Sequence[Claim], str], set[int]]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How a group is worked off, since ``began_at``. ``cool_down`` is for mails of unknown fate.

    ``heard`` is told after each answer, when some jobs may have a result and others are still under way. Nothing is
    begun once the ``span`` is over: what is left then is given back.
    """

    group: Group
    began_at: datetime
    fence: Fence
    heard: Callable[[], None]
    cool_down: timedelta

    @property
    def span(self) -> Span:
        return self.group.span


class Wait(NamedTuple):
    """Why a mail was not tried at one server, and for how many seconds; ``is_for_all``: no other mail may go either.

    ``is_unreachable``: it could not be connected or signed in to a moment ago.
    """

    server: RouteStep
    seconds: float
    reason: Reason
    is_for_all: bool = True
    is_unreachable: bool = False


@dataclass(kw_only=True)
class Job:
    """A claimed mail on its way. ``settlement`` is set once its fate for now is known; a lost one is another worker's.

    ``records`` are what is kept of its ``outcomes``. ``is_careful``: its fate was unknown before.
    ``is_stuck``: it was not tried, for reasons that hold for every other mail as well. ``is_about_it``: what the last
    server said is about this mail, since it serves others; ``is_for_domain``: what holds it up is about its recipients'
    domains. ``spared`` are the outcomes of other mails at servers that would have said the same to this one.
    """

    claim: Claim
    draft: Draft
    pending: tuple[str, ...]
    outcomes: list[Outcome] = field(default_factory=list)
    records: list[RecordedAttempt] = field(default_factory=list)
    settlement: Settlement | None = None
    withheld: Withheld | None = None
    is_careful: bool = False
    is_lost: bool = False
    is_stuck: bool = False
    is_about_it: bool = False
    is_for_domain: bool = False
    waits: list[Wait] = field(default_factory=list)
    spared: list[Outcome] = field(default_factory=list)
    blocked_by: RouteStep | None = None  # its account's own server
    places: Places | None = None  # of its account, if it is any's
    met: tuple[RouteStep, Meeting] | None = None  # what keeps all mail from a server that it was not tried at

    @property
    def settled(self) -> Settlement | None:
        """What it is from now on, with the server that it was tried at last."""
        if self.settlement is None or not self.records:
            return self.settlement
        return self.settlement._replace(server_key=self.records[-1].row["server_key"])

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """The outcomes at servers that were down, or had just had enough."""
        return (*self.spared, *self.outcomes)

    @property
    def is_open(self) -> bool:
        return self.settlement is None and not self.is_lost


def deliver(jobs: Sequence[Job], account_id: int | None, shift: Shift) -> None:
    """Try the servers of the route in order, the next one only for mails whose server was down.

    Mail of an account that is gone, or disabled, is held.
    """
    if account_id is not None:
        _give_places(jobs, account_id)
    try:
        _along(jobs, account_id, shift)
    except UnusableAccount:  # it is found at the first step, before anything was said
        is_held = account_id is not None and leaving.hold(account_id)
        for job in (each for each in jobs if each.is_open):
            if is_held:
                job.is_lost = True
            else:  # it was enabled again just now
                job.settlement = settling.given_back(job.claim, clock.now())


def _along(jobs: Sequence[Job], account_id: int | None, shift: Shift) -> None:
    for server in route.usable(account_id):
        going = [job for job in jobs if job.is_open and job.claim.pinned_to in (None, server.owner)]
        going = [job for job in going if not _is_withheld(job, server)]
        if not going or shift.span.is_over:
            continue
        is_security = any(job.claim.priority == Priority.SECURITY for job in going)
        if admitted := _admitted(server, going, is_security=is_security):
            is_own = server.account_id is not None
            with waits().at(server.owner, shift.span, is_security=is_security, is_own=is_own):
                _through(server, admitted, shift)
        _leave([job for job in going if job.is_open and not _goes_further(job, server)], shift)
        if not any(job.is_open for job in jobs):
            return
    blocked_by = route.blocking(account_id)
    for job in jobs:
        job.blocked_by = blocked_by
    _leave(jobs, shift)


def rest_of(jobs: Sequence[Job]) -> Settlement | None:
    """What the rest of an account's mail would come to as well, since its limit is reached or none of these could go.

    None if others of it may go. It asks again within a minute: a mended server, or a higher limit, is used soon.
    """
    waiting = [job.settlement for job in jobs if job.settlement and _waits_for_all(job)]
    limited = [each for each in waiting if reasons.code_of(each.reason) in _LIMITS_OF_ACCOUNT]
    if not limited and (len(waiting) < len(jobs) or any(job.claim.priority == Priority.SECURITY for job in jobs)):
        return None
    first = min(limited or waiting, key=lambda each: each.due_at, default=None)
    latest = clock.now() + timedelta(seconds=_LONGEST_PAUSE)
    return first and first._replace(due_at=min(first.due_at, latest))


def _waits_for_all(job: Job) -> bool:
    """Whether the mail waits, uncharged, for what other mails of its account would wait for as well."""
    settlement = job.settlement
    if settlement is None or job.is_for_domain:
        return False
    is_snoozed = settlement.settled_at is None and settlement.attempts < job.claim.attempts
    return is_snoozed and reasons.code_of(settlement.reason) not in _ABOUT_ONE_MAIL


def _goes_further(job: Job, server: RouteStep) -> bool:
    """Whether a mail that this server has not settled may go to the next one."""
    if any(outcome.server is server and outcome.goes_further for outcome in job.skipped):
        return True
    is_unreachable = any(wait.server is server and wait.is_unreachable for wait in job.waits)
    return server.lets_go(is_down=True, is_unreachable=is_unreachable)


def _give_places(jobs: Sequence[Job], account_id: int) -> None:
    limits_of_account = account_limits.of_account(account_id)
    for job in jobs:
        job.places = account_limits.places_of(limits_of_account)


def _is_withheld(job: Job, server: RouteStep) -> bool:
    """Whether the mail rather waits for a server that is down than goes through this one."""
    down = [outcome.server for outcome in job.outcomes if outcome.server] + [wait.server for wait in job.waits]
    is_security = job.claim.priority == Priority.SECURITY
    reason = protection.refusal(server, down, is_security=is_security)
    if reason and not job.withheld:
        job.withheld = attempt.told_withheld(server, down, reason)
    return bool(reason)


def _admitted(server: RouteStep, jobs: Sequence[Job], *, is_security: bool) -> list[Job]:
    """Those who may go to the server now; the others are told why they wait."""
    if waits().is_held(server.owner, is_security=is_security):
        wait, mails = Wait(server, held_servers.LOOK_AGAIN, Reason.SILENT), frozenset[int]()
    elif server.account_id is not None and waits().is_silent(server.owner):
        wait, mails = Wait(server, held_servers.OWN_LOOK_AGAIN, Reason.SILENT), frozenset[int]()
    else:
        found = standing.admit(server, [job.claim.id for job in jobs], is_security=is_security)
        reason, mails = found.cause or Reason.PAUSED, found.mails
        wait = Wait(server, found.wait, reason, found.is_for_all, found.is_unreachable)
    for job in jobs:
        if job.claim.id not in mails:
            job.waits.append(wait)
        if waits().is_stalled(server.owner):
            job.met = server, _STALLED
    return [job for job in jobs if job.claim.id in mails]


def _through(server: RouteStep, jobs: Sequence[Job], shift: Shift) -> None:
    limits = account_limits.of_server(server)
    allowed = [job for job in jobs if not _is_throttled(server, job, limits)]
    # All that can go wrong with a mail on our side comes first, then the connection, then the fence: a worker that
    # fails or dies before leaves no mail of unknown fate.
    parcels = {job.claim.id: parcel for job in allowed if (parcel := _parcel_of(server, job, shift))}
    going = [job for job in allowed if job.claim.id in parcels]
    if not going:
        return
    failure = attempt.failure_to_reach(server, shift.span)
    if failure:
        pace.give_back(pace.place_of(server), len(allowed))
    else:
        ours = shift.fence([job.claim for job in going], server.owner)
        for job in going:
            job.is_lost = job.claim.id not in ours
    going = [job for job in going if not job.is_lost]
    told: dict[object, bool] = {}  # one broken connection is one failure, however many mails were to go over it
    unsaid = {job.claim.id: job for job in going}
    with closing(_outcomes(server, going, parcels, failure, shift.span)) as outcomes:
        for job, outcome in outcomes:
            unsaid.pop(job.claim.id, None)
            if _was_cut_short(outcome, shift.span):
                job.settlement = settling.given_back(job.claim, clock.now())
                shift.heard()
                continue
            error, verdict = outcome.error, outcome.verdict
            cause = "lost" if error and error.may_have_been_sent else error  # all that a connection took with it
            if cause is None or cause not in told:
                told[cause] = standing.note(server, job.claim.id, outcome)
            job.is_about_it = told[cause]
            is_crowded = failure is not None and verdict is not None and verdict.crowds
            job.is_stuck = is_crowded and not server.is_personal
            _settle(job, server, outcome, shift)
            shift.heard()
            if verdict and verdict.slows and not failure and _has_had_enough(server, unsaid.values(), outcome, verdict):
                return


def _has_had_enough(server: RouteStep, unsaid: Collection[Job], outcome: Outcome, verdict: Verdict) -> bool:
    """Note that the server took no more, and whether the mails that are left are not to be said to it now.

    Of those in flight, each has been said already, and its answer is coming.
    """
    spared = [] if standing.goes_blind(server) else list(unsaid)
    pace.note_too_much(pace.place_of(server), unsaid=len(spared), is_by_minute=verdict.paces)
    for job in spared:
        job.spared.append(outcome)
        job.waits.append(Wait(server, verdict.seconds or 0, verdict.reason))
    return bool(spared)


def _parcel_of(server: RouteStep, job: Job, shift: Shift) -> Parcel | None:
    """The mail as this server gets it. One that cannot be made rests, and holds no other."""
    parcel = attempt.parcel_for(server, job.draft, job.pending, job.skipped, is_careful=job.is_careful)
    if isinstance(parcel, Parcel):
        return parcel
    _settle(job, server, parcel, shift)
    return None


def _settle(job: Job, server: RouteStep, outcome: Outcome, shift: Shift) -> None:
    """Note what became of a mail at this server, and what it is then unless the next one is to be tried."""
    if outcome.error:
        outcome = replace(outcome, is_about_it=job.is_about_it, is_weighed=True)
    job.outcomes.append(replace(outcome, skipped=job.skipped) if job.skipped else outcome)
    claim = job.claim
    known = {"mail_id": claim.mail_id, "worker": shift.group.worker}
    job.records.append(record.told(job.draft, outcome, shift.began_at, claim.account_id, **known))
    if outcome.error and outcome.is_ours:
        job.settlement = settling.met_our_fault(claim, outcome.error, clock.now())
    elif not (outcome.is_server_down and outcome.goes_further):
        job.settlement = _after(job, outcome, server.owner, shift.cool_down)


def _after(job: Job, outcome: Outcome, owner: str, cool_down: timedelta) -> Settlement:
    return settling.after(job.claim, outcome, owner, clock.now(), cool_down, is_about_it=job.is_about_it)


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
    found = attempt.attempt_all(server, [parcels[job.claim.id] for job in jobs], span, in_flight=in_flight)
    with closing(found) as outcomes:
        for place, outcome in outcomes:
            if outcome.is_ours and len(jobs) > 1:
                alone.append(jobs[place])  # one of them made the others fail: each shows by itself which
            else:
                yield jobs[place], outcome
    for job in alone:
        for _, outcome in attempt.attempt_all(server, [parcels[job.claim.id]], span, in_flight=1):
            yield job, outcome


def _is_throttled(server: RouteStep, job: Job, limits: Limits) -> bool:
    """Whether the mail waits, since the server takes no more now or as many have gone as may. If not, it is counted."""
    is_security, place = job.claim.priority == Priority.SECURITY, pace.place_of(server)
    if seconds := pace.seconds_until_willing(place, is_security=is_security):
        _snooze(job, seconds, Reason.SLOWED, is_for_all=True)
        return True
    refusal = _refusal(server, job, limits, is_security=is_security)
    if not refusal:
        return False
    pace.give_back(place, 1)
    of_account = job.places.reason(refusal) if job.places else ""
    if not of_account and server.is_personal and server.lets_go(is_down=True, is_unreachable=False):
        job.waits.append(Wait(server, refusal.seconds, Reason.THROTTLED))  # the policy lets another send at once
        return True
    job.is_for_domain = refusal.is_of_domain
    if not of_account and not refusal.is_of_domain and refusal.seconds >= LONG:
        job.met = server, Meeting(what=What.PAUSED, reason=Reason.THROTTLED, seconds=refusal.seconds)
    _snooze(job, refusal.seconds, of_account or Reason.THROTTLED, is_for_all=not refusal.is_of_domain)
    return True


def _refusal(server: RouteStep, job: Job, limits: Limits, *, is_security: bool) -> NoPlace | None:
    """Which allowance has no place for the mail; security mail is counted for its account, and never held up by it."""
    if limits == Limits() and not job.places:
        return None
    domains = sending_limits.domains_of(job.pending)
    if not is_security:
        return account_limits.take(server, limits, domains, job.places)
    refusal = sending_limits.take([Allowance(server.owner, limits, tuple(domains))], is_security=True)
    if not refusal:
        account_limits.charge(server, job.places)
    return refusal


def _snooze(job: Job, seconds: float, reason: str, *, is_for_all: bool) -> None:
    until = clock.now() + timedelta(seconds=min(seconds, _LONGEST_PAUSE))
    job.settlement = settling.snoozed(job.claim, until, reason)
    job.is_stuck = is_for_all


def _leave(jobs: Sequence[Job], shift: Shift) -> None:
    """Let mails wait that no server could take."""
    for job in jobs:
        if not job.is_open:
            continue
        now = clock.now()
        if job.outcomes:
            last = job.outcomes[-1] = replace(job.outcomes[-1], withheld=job.withheld)
            job.settlement = _after(job, last, last.server.owner if last.server else "", shift.cool_down)
        elif shift.span.is_over:
            job.settlement = settling.given_back(job.claim, now)
        else:
            soonest = min(job.waits, key=lambda wait: wait.seconds, default=None)
            nobody = Reason.NO_OWN_SERVER if job.blocked_by else Reason.NO_SERVER
            reason = soonest.reason if soonest else Reason.PINNED if job.claim.pinned_to else nobody
            seconds = min(soonest.seconds, _LONGEST_PAUSE) if soonest else _LONGEST_PAUSE
            job.settlement = settling.snoozed(job.claim, now + timedelta(seconds=seconds), reason)
            # What keeps an account's own server from mail is no reason for others' to wait.
            is_for_all = soonest.is_for_all and not soonest.server.is_personal if soonest else True
            job.is_stuck = is_for_all and reason not in (Reason.PINNED, Reason.NO_OWN_SERVER)
        if job.withheld:
            job.settlement = job.settlement._replace(reason=Reason.WITHHELD)
