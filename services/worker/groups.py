"""The work on queued mail: claim a group, hand it over, write down what became of it. Threads and Celery share it.

No transaction is open while a server is waited for. A group is claimed and fenced together, so it is also the most that
a crash can double; security mail goes one by one.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Final

import structlog
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from database import attempt_db, conversation_db, oauth_db, outbox_claim_db
from database.driver import Driver
from database.engine import driver_transaction, transaction
from database.outbox_claim_db import Claim, LeaseTerms, Settlement
from database.outbox_db import Priority
from services import audit, tracing
from services.accounts import upkeep
from services.delivery import bounces, record
from services.delivery.bounces import TriedMail
from services.outbox import content, ending_notices, figures, many, notices, owner_notices
from services.outbox import log as mail_log
from services.outbox.content import CannotOpen
from services.outbox.reasons import Reason, words
from services.settings.protection import SECURITY_KINDS
from services.smtp import our_faults
from services.suppression import listing
from services.suppression import upkeep as suppression_upkeep
from services.suppression.listing import KnownAddresses
from services.worker import along_route, settling, turns, unwritten
from services.worker.along_route import Job, Shift
from services.worker.lease import Group, Pace
from services.worker.settling import MOST_UNCERTAIN
from services.worker.unwritten import News
from utils import clock, incidents
from utils.env_utils import get_settings
from utils.log_utils import logged

log = structlog.get_logger(__name__)

_EXPIRED_AT_ONCE: Final = 1000  # in one transaction; the others are expired when they are claimed, or next time
_UNWRITTEN_SECONDS: Final = 0.1  # after which a result is written down with the next answer
_CLOCKS_APART: Final = timedelta(minutes=5)  # at most, between machines that are well
KEY_PAUSE: Final = timedelta(minutes=5)

_Claiming = Callable[[Driver], Group | None]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a group leaves behind: perhaps another that is claimed already.

    ``is_stuck``: nothing else of the system could go now. An account that is stuck rests by itself.
    """

    next_group: Group | None = None
    is_stuck: bool = False


def claim_group(worker: str, pace: Pace, among: Iterable[Priority] = Priority) -> Group | None:
    """Claim mail that is due: one security mail, else a group of what comes next; None if there is none."""
    # A claim that a power cut takes back only leaves the mail due, as it was.
    with driver_transaction(durable=False) as driver:
        return _claimed(driver, worker, pace, among)


def work_off(group: Group, pace: Pace, wanted: Callable[[], Iterable[Priority]] = lambda: ()) -> Turn:
    """Deliver a group and settle each mail of it; if all went well, ``wanted`` tells what to claim along with that.

    Raises nothing for a mail problem.
    """
    work = _Work(group)
    shift = Shift(group=group, began_at=work.began_at, fence=_fenced, heard=work.heard, cool_down=pace.cool_down)
    among: Iterable[Priority] = ()
    went_well = False
    try:
        for account_id, theirs in _by_account(work.jobs):
            along_route.deliver(theirs, account_id, shift)
        went_well = work.went_well
        among = wanted() if went_well else ()
    finally:  # whatever stopped it, what servers have said so far is not lost
        next_group = work.finish(pace, among)
    if not went_well:  # else there is nothing to tell, and the next group must not wait for it
        record.note([outcome for job in work.jobs for outcome in job.outcomes])
        for server, meeting in {job.met[0].owner: job.met for job in work.jobs if job.met}.values():
            record.note_met(server, meeting)
        for job in work.jobs:
            if job.outcomes:
                notices.tell(job.outcomes[-1], job.draft.kind, is_about_it=job.is_about_it)
            elif job.blocked_by:
                owner_notices.tell_passed_over(job.blocked_by, None)
        work.let_accounts_rest()
    return Turn(next_group=next_group, is_stuck=work.is_stuck)


class _Work:
    """A group under way: the jobs that can be done, and what is known of all its mails and not written down yet."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.began_at = clock.now()
        self._written_at = time.monotonic()
        self._listing = _listing_of(group.claims)
        opened = [_opened_surely(claim, self._listing, self.began_at) for claim in group.claims]
        self.jobs = [each for each in opened if isinstance(each, Job)]
        self._unwritten = list(self.jobs)
        self._settled = [each for each in opened if not isinstance(each, Job)]
        is_keyless = [isinstance(each, Settlement) and each.reason == Reason.NO_KEY for each in opened]
        keyless = compress([claim.key_id for claim in group.claims], is_keyless)
        for key_id, mails in Counter(keyless).items():
            log.warning("outbox_key_missing", key_id=key_id, mails=mails)

    @property
    def went_well(self) -> bool:
        """Whether each mail went through the first server that was asked, and nothing is to be noted on that."""
        outcomes = [outcome for job in self.jobs for outcome in job.outcomes]
        has_trouble = any(outcome.error for outcome in outcomes) or not all(job.outcomes for job in self.jobs)
        return not has_trouble and not record.has_news(outcomes)

    @property
    def is_stuck(self) -> bool:
        return bool(self.jobs) and all(job.is_stuck and job.claim.account_id is None for job in self.jobs)

    def let_accounts_rest(self) -> None:
        """Leave the accounts alone for a while whose other mail could not go either."""
        for account_id, theirs in _by_account(self.jobs):
            waiting = along_route.rest_of(theirs) if account_id is not None else None
            if account_id is not None and waiting:
                turns.rest(account_id, waiting.due_at, waiting.reason)

    def heard(self) -> None:
        """A server has answered: what it took some time ago is written down, lest a crash double that as well."""
        if time.monotonic() - self._written_at < _UNWRITTEN_SECONDS:
            return
        try:
            finish(self._news([job for job in self._unwritten if job.settlement]))
        except Exception as failure:  # the mails that are left must go on; at their end, it is tried once more
            log.error("results_not_written_yet", error=type(failure).__name__)
        else:
            self._settled, self._unwritten = [], [job for job in self._unwritten if not job.settlement]
        self._written_at = time.monotonic()

    def finish(self, pace: Pace, among: Iterable[Priority]) -> Group | None:
        """Write down what is left, and claim a next group in the same transaction."""
        claim = partial(_claimed, worker=self._group.worker, pace=pace, among=among) if among else None
        return finish(self._news(self._unwritten), claim)

    def _news(self, jobs: Sequence[Job]) -> News:
        """What is to be written of these jobs, and of the mails that could not be jobs.

        What they have shown of addresses is written first: whoever sees that a mail is settled finds it counted.
        """
        bounces.note([TriedMail(job.claim.mail_id, job.pending, job.outcomes) for job in jobs], self._listing)
        settlements = [*self._settled, *(each for job in jobs if (each := job.settled))]
        made = [each for job in jobs for each in job.records]
        return News(settlements, [each.row for each in made], [said for each in made for said in each.conversations])


def finish(news: News, claim: _Claiming | None = None) -> Group | None:
    """Write settlements and attempts down, in the database or, while that is away, in a file beside it.

    What ``claim`` takes in the same transaction spares one of its own.
    """
    try:
        claimed = _write(news, claim)
    except SQLAlchemyError as failure:
        if claim:  # it may be what failed, and is no matter of these mails
            return finish(news)
        log.error("outbox_not_settled", kind=type(failure).__name__, mails=len(news.settlements))
        unwritten.keep(Path(current_app.instance_path), news)
        claimed = None
    tracing.sent(news.attempts)
    return claimed


def sweep(pace: Pace) -> None:
    """Write down what only files know yet, and take up what dead workers and late mails left."""
    # A later time will do: what is reaped meanwhile keeps its token.
    with logged(log.error, "receipts_not_replayed", SQLAlchemyError, OSError):
        unwritten.replay(Path(current_app.instance_path), _write)
    now = clock.now()
    with transaction() as session:
        outbox_claim_db.shorten(session, now + pace.lease + _CLOCKS_APART, now + pace.lease)
        if lost := outbox_claim_db.lost(session, now):
            session.add_all(record.of_lost(session, mail, now, words(Reason.LOST_WORKER)) for mail in lost)
        found = {
            "lease_ran_out": outbox_claim_db.reap_leased(session, now),
            "fate_stays_unknown": outbox_claim_db.give_up_uncertain(session, MOST_UNCERTAIN, now, Reason.UNKNOWN_FATE),
            "fate_unknown": outbox_claim_db.reap_transmitting(session, now, now + pace.cool_down, Reason.LOST_WORKER),
            "expired": outbox_claim_db.expire(session, _EXPIRED_AT_ONCE, now, Reason.TOO_LATE),
        }
    for what, mail_ids in found.items():
        for mail_id in mail_ids:
            log.warning(f"outbox_{what}", mail_id=mail_id)


def tidy() -> None:
    """Delete what is older than it is kept, and tell of what will end."""
    incidents.each_of(
        turns.forget_rests,
        upkeep.tidy,
        ending_notices.tell_due,
        audit.purge,
        suppression_upkeep.tidy,
        mail_log.tidy,
        many.tidy,
        _forget_sign_ins,
        figures.tidy,
    )


def _forget_sign_ins() -> None:
    with transaction() as session:
        oauth_db.forget_pending(session, clock.now())


def _by_account(jobs: Sequence[Job]) -> list[tuple[int | None, list[Job]]]:
    """The jobs of each account, which a group claimed by an earlier version may have several of."""
    accounts = dict.fromkeys(job.claim.account_id for job in jobs)
    return [(each, [job for job in jobs if job.claim.account_id == each]) for each in accounts]


def _listing_of(claims: Sequence[Claim]) -> KnownAddresses:
    """What is known of all recipients of these mails."""
    return listing.look_up([address for claim in claims for address in settling.pending(claim)])


def _opened_surely(claim: Claim, known: KnownAddresses, now: datetime) -> Job | Settlement:
    """The same, whatever goes wrong: one mail that cannot be opened holds no other."""
    try:
        return _opened(claim, known, now)
    except incidents.STOPS:
        raise
    except BaseException as error:
        ours = our_faults.told("mail_not_opened", error, mail_id=claim.mail_id)
        return settling.met_our_fault(claim, ours, now)


def _opened(claim: Claim, known: KnownAddresses, now: datetime) -> Job | Settlement:
    """The mail ready to go, or what becomes of it since it cannot."""
    if get_settings().mail_suppress_send:
        return settling.suppressed(claim, now)
    if claim.expires_at <= now:
        return settling.expired(claim, now, Reason.TOO_LATE)
    if held_back := _held_back(claim, known):
        claim = settling.without(claim, held_back)
        if not settling.pending(claim):
            return settling.for_nobody(claim, now)
    try:
        draft = content.unseal(claim)
    except CannotOpen as sealed:
        if sealed.why is Reason.NO_KEY:
            return settling.snoozed(claim, now + KEY_PAUSE, sealed.why)
        return settling.dead(claim, now, sealed.why)
    return Job(claim=claim, draft=draft, pending=settling.pending(claim), is_careful=claim.uncertain > 0)


def _held_back(claim: Claim, known: KnownAddresses) -> dict[str, Reason]:
    """The recipients who are on the suppression list, and why; of security mail none is left out for that."""
    if claim.priority == Priority.SECURITY or claim.kind in SECURITY_KINDS:
        return {}
    return known.held_back(settling.pending(claim), claim.account_id)


def _fenced(claims: Sequence[Claim], owner: str) -> set[int]:
    """Losing this to a power cut only turns a mail of unknown fate into one that is tried again."""
    with driver_transaction(durable=False) as driver:
        return outbox_claim_db.fence(driver, claims, server=owner, now=clock.now())


def _write(news: News, claim: _Claiming | None = None) -> Group | None:
    with driver_transaction() as driver:
        if news.settlements:
            outbox_claim_db.settle(driver, news.settlements)
        if news.attempts:
            attempt_db.add_all(driver, news.attempts)
        conversation_db.add_all(driver, news.conversations)
        return claim(driver) if claim else None


def _claimed(driver: Driver, worker: str, pace: Pace, among: Iterable[Priority]) -> Group | None:
    now = clock.now()
    terms = LeaseTerms(now, now + pace.lease, secrets.token_hex(16), worker)
    for priority in among:
        if priority is Priority.SECURITY:
            claims = outbox_claim_db.claim_urgent(driver, terms)
        else:
            claims = turns.turns().claim(driver, priority, terms)
        if claims:
            return Group(worker=worker, token=terms.token, claims=claims)
    return None
