"""Acting on many mails: a look at which they are, a preview, and then the deed, bounded to what was previewed.

Everything is done in batches, each in a short transaction of its own that leaves no mail half done; whoever dies in the
middle of one has done nothing of it, and anybody goes on: who asked for it, or any worker.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import structlog
from sqlalchemy.orm import Session

from database import mail_deed_db, mail_search_db
from database.engine import reading, transaction
from database.mail_deed_db import UNDER_WAY, DoneItem, MailDeed, MailStanding, NewItem, Stage
from services import audit
from services.audit import Action, Actor
from services.outbox import log as mail_log
from services.outbox import many_acts, searching
from services.outbox.facts import MailFacts
from services.outbox.many_acts import Order
from services.outbox.many_rules import Correction, DeedFacts, Hindrance, ManyAction, addresses_of, judge
from services.outbox.reasons import code_of
from services.outbox.searching import MailFilter
from services.suppression import listing
from utils import clock
from utils.addresses import mask_address
from utils.errors import Conflict, InvalidInput, NotFound
from utils.json_shapes import Moment
from utils.listeners import Listeners
from utils.numbers import counted

__all__ = ["Stage"]  # for the blueprints, which never import the database

log = structlog.get_logger(__name__)

AT_ONCE: Final = 1.0  # seconds that whoever asks waits for; the rest is a worker's
MOST_CHOSEN: Final = 1000  # that are named one by one
SHOWN: Final = 10
GOOD_FOR: Final = timedelta(hours=1)  # of a preview
NO_SUCH: Final = "No such action."
_ABANDONED: Final = timedelta(days=1)
_LOOK: Final = 500  # mails in one look
_TOGETHER: Final = 200  # in one transaction
_SHARE: Final = 1.0  # of the time of a batch, for which every other writer has the database then
_LEAST_PAUSE: Final = 0.005
_LOOK_AGAIN: Final = 0.05  # seconds, while another process goes on with it
_HEX: Final = frozenset("0123456789abcdef")
_ID_LENGTH: Final = 32
_ACTIONS: Final = {
    ManyAction.RETRY: Action.MAIL_RETRIED,
    ManyAction.CANCEL: Action.MAIL_CANCELLED,
    ManyAction.CORRECT: Action.MAIL_CORRECTED,
}

T = TypeVar("T")

new_deed: Final = Listeners()  # told whenever there is a deed to go on with


@dataclass(frozen=True, kw_only=True)
class DeedCount:
    """How many mails of one state, and of one cause, there are; ``hindrance`` is "" where the deed can be done."""

    state: str
    cause: str
    hindrance: str
    mails: int


@dataclass(frozen=True, kw_only=True)
class ManyData:
    """An action on many emails as it stands. ``filter`` is as in the address of a list, and empty for named ones.

    Of those ``found``, ``able`` can have it done, and ``doubles`` of them may arrive twice; ``unable`` counts the
    others by what hinders it. ``done`` have it, ``left`` counts those that were left alone after all, and ``to_do`` is
    what is still to come.
    """

    id: int
    action: ManyAction
    stage: Stage
    filter: dict[str, str]
    old_address: str
    new_address: str
    found: int
    able: int
    doubles: int
    unable: dict[str, int]
    done: int
    left: dict[str, int]
    to_do: int
    actor: str
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None


@dataclass(frozen=True, kw_only=True)
class ManyDeed(ManyData):
    """The same for people."""

    counts: list[DeedCount]
    is_of_chosen: bool

    @property
    def is_under_way(self) -> bool:
        return self.stage in UNDER_WAY

    @property
    def is_over(self) -> bool:
        """Whether a preview is too old to act on."""
        return self.stage is Stage.READY and clock.now() - self.created_at > GOOD_FOR

    @property
    def by_state(self) -> dict[tuple[str, str], int]:
        """How many can have it, by state and cause, the most first."""
        return _summed([each for each in self.counts if not each.hindrance], lambda each: (each.state, each.cause))


def propose(
    action: ManyAction,
    wanted: MailFilter | None = None,
    chosen: Sequence[str] = (),
    correction: Correction | None = None,
) -> int:
    """Ask for a deed on the mails that a filter finds, or that are named; its id. Nothing is done, nor looked at yet.

    None that is queued from now on is among them. Raises InvalidInput.
    """
    named = [each for each in dict.fromkeys(chosen) if len(each) == _ID_LENGTH and _HEX.issuperset(each)]
    if wanted is None and not named:
        raise InvalidInput({"ids": ["Select at least one email."]})
    if len(named) > MOST_CHOSEN:
        raise InvalidInput({"ids": [f"Select at most {MOST_CHOSEN} emails, or filter."]})
    if action is ManyAction.CORRECT:
        _check(correction, is_one=wanted is None and len(named) == 1)
    who = audit.actor()
    with transaction() as session:
        deed = MailDeed(
            action=action,
            stage=Stage.LOOKING,
            wanted={} if wanted is None else searching.to_args(wanted),
            chosen=named if wanted is None else None,
            old_address=correction.wrong if correction else "",
            new_address=correction.right if correction else "",
            cursor=0,
            newest=mail_search_db.newest(session),
            tally=[],
            left_alone={},
            actor=who.name,
            source=who.source,
            created_at=clock.now(),
        )
        session.add(deed)
        session.flush()
        deed_id = deed.id
    new_deed.tell()
    return deed_id


def go_on(deed_id: int, seconds: float = AT_ONCE) -> ManyDeed:
    """Look, or act, for up to so many seconds, and how it stands then. Raises NotFound."""
    until = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        stage = show(deed_id).stage
        went_on = _look(deed_id) if stage is Stage.LOOKING else _act(deed_id) if stage is Stage.RUNNING else False
        now = time.monotonic()
        if stage not in UNDER_WAY or now >= until:
            return show(deed_id)
        is_acting = stage is Stage.RUNNING  # a look hardly writes
        pause = max(_LEAST_PAUSE, (now - began) * _SHARE * is_acting) if went_on else _LOOK_AGAIN
        time.sleep(min(pause, until - now))


def go_on_with_all(seconds: float) -> bool:
    """Go on with every deed that is under way; whether there is more to do."""
    with reading() as session:
        found = mail_deed_db.under_way(session)
    stands = [go_on(deed_id, seconds / len(found)) for deed_id in found]  # none waits for the end of those before
    return any(deed.is_under_way for deed in stands)


def start(deed_id: int) -> ManyDeed:
    """Do what was previewed, and go on with it for a moment. Raises NotFound, and Conflict if it is not ready.

    Who is second starts nothing, and sees how it stands.
    """
    deed = show(deed_id)
    if deed.stage is Stage.LOOKING:
        raise Conflict("The preview is not complete yet.")
    if deed.is_over:
        raise Conflict("This preview is more than an hour old. Preview it again.")
    who = audit.actor()
    with transaction() as session:
        values = {"actor": who.name, "source": who.source, "started_at": clock.now()}
        is_ours = mail_deed_db.move(session, deed_id, [Stage.READY], Stage.RUNNING, **values)
    if is_ours:
        new_deed.tell()
    return go_on(deed_id)


def stop(deed_id: int) -> ManyDeed:
    """Do no more of it; what was done stays. Raises NotFound."""
    show(deed_id)
    with transaction() as session:
        deed = mail_deed_db.locked(session, deed_id)
        if deed and deed.stage == Stage.RUNNING:
            _end(session, deed, Stage.STOPPED)
        elif deed and deed.stage in (Stage.LOOKING, Stage.READY):
            _close(deed, Stage.STOPPED)
    _drop_rest(deed_id)
    return show(deed_id)


def show(deed_id: int) -> ManyDeed:
    """How it stands. Raises NotFound."""
    with reading() as session:
        deed = mail_deed_db.find(session, deed_id)
    if deed is None:
        raise NotFound(NO_SUCH)
    return _told(deed)


def latest(limit: int = SHOWN) -> list[ManyDeed]:
    """What was asked for last."""
    with reading() as session:
        return [_told(each) for each in mail_deed_db.latest(session, limit)]


def first_mails(deed_id: int) -> list[MailFacts]:
    """The newest of the mails that it is still to be done to."""
    with reading() as session:
        ids = mail_deed_db.first_mails(session, deed_id, SHOWN)
        found = mail_log.as_they_stand(session, ids)
    return [found[each] for each in ids if each in found]


def of_mail(session: Session, mail: int, mail_id: str) -> list[DoneItem]:
    """Which mail this one is a corrected copy of, then what was done to it with others, the first one first."""
    return mail_deed_db.of_mail(session, mail, mail_id)


def words(wanted: Mapping[str, str]) -> list[str]:
    """A filter as the audit trail has it, in which no address stands whole."""
    return [f"{name} {text}" for name, text in _masked(wanted).items()]


def stop_naming(is_named: Callable[[str], bool]) -> None:
    """Stop what names somebody who is to be forgotten; of what is over, no address is kept."""
    with reading() as session:
        found = mail_deed_db.open_ones(session)
    for deed in found:
        if any(map(is_named, [deed.old_address, deed.new_address, *deed.wanted.values()])):
            stop(deed.id)


def tidy() -> None:
    """Stop what nobody began or went on with, and forget deeds whose mails are gone."""
    now = clock.now()
    with reading() as session:
        idle = mail_deed_db.idle(session, [*UNDER_WAY, Stage.READY], now - _ABANDONED)
    for deed_id in idle:
        stop(deed_id)
    found = _LOOK
    while found == _LOOK:
        with transaction() as session:
            found = mail_deed_db.forgotten(session, now - _ABANDONED, _LOOK)


def _check(correction: Correction | None, *, is_one: bool) -> None:
    if correction is None:
        raise InvalidInput({"new_address": ["Enter the corrected address."]})
    if not correction.wrong and not is_one:
        raise InvalidInput({"old_address": ["Enter the wrong address or domain."]})


def _look(deed_id: int) -> bool:
    """Look at some more mails; whether that was done."""
    with reading() as session:
        deed = mail_deed_db.find(session, deed_id)
        if deed is None or deed.stage != Stage.LOOKING:
            return False
        ids, cursor = _next_ids(deed)
        mails = mail_deed_db.standings(session, ids)
        known = _known(session, mails, ManyAction(deed.action), _correction(deed))
    verdicts = [(mail, judge(mail, ManyAction(deed.action), known, _correction(deed))) for mail in mails]
    able = [(mail, verdict) for mail, verdict in verdicts if verdict.hindrance is None]
    tally = Counter({(state, cause, why): number for state, cause, why, number in deed.tally})
    tally.update((mail.state, code_of(mail.reason), verdict.hindrance or "") for mail, verdict in verdicts)
    if missing := len(ids) - len(mails):
        tally[("", "", Hindrance.NO_SUCH)] += missing
    with transaction() as session:
        again = mail_deed_db.taken(session, deed_id, Stage.LOOKING)
        if again is None or again.cursor != deed.cursor:  # somebody else has looked at the same
            return again is not None
        mail_deed_db.add_items(
            session,
            deed_id,
            [NewItem(mail.id, mail.state, mail.settled_at, verdict.stored_places) for mail, verdict in able],
        )
        again.found += len(ids)
        again.able += len(able)
        again.doubles += sum(verdict.may_double for _, verdict in able)
        again.tally = [(str(state), cause, str(why), number) for (state, cause, why), number in tally.items()]
        again.cursor = cursor
        if len(ids) < _LOOK:
            again.stage = Stage.READY
    return True


def _next_ids(deed: MailDeed) -> tuple[list[str], int]:
    """The next mails to look at, and how far the look has come then."""
    if deed.chosen is not None:
        ids = deed.chosen[deed.cursor : deed.cursor + _LOOK]
        return ids, deed.cursor + len(ids)
    found = searching.older(searching.parse(deed.wanted), deed.cursor or None, _LOOK, deed.newest)
    return [mail_id for _, mail_id in found], found[-1][0] if found else deed.cursor


def _act(deed_id: int) -> bool:
    """Do it to some more mails; whether anything is left to do, or was."""
    with transaction() as session:
        deed = mail_deed_db.taken(session, deed_id, Stage.RUNNING)
        if deed is None:
            return False
        items = mail_deed_db.to_do(session, deed_id, _TOGETHER)
        if not items:
            _end(session, deed, Stage.DONE)
            return False
        action, correction = ManyAction(deed.action), _correction(deed)
        mails = mail_deed_db.locked_standings(session, [item.mail for item in items])
        known = _known(session, list(mails.values()), action, correction)
        with audit.acting(Actor(deed.actor, deed.source)):
            batch = many_acts.act(session, items, mails, Order(action, known, correction))
        deed.done += len(batch.done)
        deed.left_alone = dict(Counter(deed.left_alone) + Counter(map(str, batch.left.values())))
    return True


def _end(session: Session, deed: MailDeed, stage: Stage) -> None:
    """Write down in the trail what it came to, with the deed's end, so that it stands there once."""
    one = deed.chosen[0] if deed.chosen and len(deed.chosen) == 1 and deed.done == 1 else ""
    details = [
        *words(deed.wanted),
        *([f"{len(deed.chosen)} selected"] if deed.chosen and not one else []),
        *([correction.in_words] if (correction := _correction(deed)) else []),
        *([f"{deed.found} found, {deed.found - deed.able} unable"] if not one else []),
        *([f"{sum(deed.left_alone.values())} left alone"] if deed.left_alone else []),
        *(["stopped"] if stage is Stage.STOPPED else []),
        f"action {deed.id}",
    ]
    _close(deed, stage)
    with audit.acting(Actor(deed.actor, deed.source)):
        audit.record(session, _ACTIONS[ManyAction(deed.action)], f"mail {one or counted(deed.done, 'email')}", details)
    log.info("many_mails_ended", deed=deed.id, action=deed.action, done=deed.done, left=deed.left_alone, stage=stage)


def _close(deed: MailDeed, stage: Stage) -> None:
    """Put a final stage; no address stands whole in it any more, so that there is none to forget."""
    deed.stage, deed.ended_at = stage, clock.now()
    deed.wanted = _masked(deed.wanted)
    deed.old_address, deed.new_address = Correction(deed.old_address, deed.new_address).masked_pair


def _masked(wanted: Mapping[str, str]) -> dict[str, str]:
    """A filter in which no address stands whole."""
    return {name: mask_address(text) if name == "recipient" and "@" in text else text for name, text in wanted.items()}


def _drop_rest(deed_id: int) -> None:
    dropped = _LOOK
    while dropped == _LOOK:
        with transaction() as session:
            dropped = mail_deed_db.drop_to_do(session, deed_id, _LOOK)


def _known(
    session: Session, mails: Sequence[MailStanding], action: ManyAction, correction: Correction | None
) -> DeedFacts:
    addresses = {each for mail in mails for each in addresses_of(mail, action, correction)}
    is_correction = action is ManyAction.CORRECT
    return DeedFacts(
        now=clock.now(),
        keys=many_acts.keys(),
        listed=listing.look_up(addresses),
        corrected=mail_deed_db.corrected_places(session, [mail.id for mail in mails]) if is_correction else {},
    )


def _correction(deed: MailDeed) -> Correction | None:
    return Correction(deed.old_address, deed.new_address) if deed.action == ManyAction.CORRECT else None


def _told(deed: MailDeed) -> ManyDeed:
    counts = [
        DeedCount(state=state, cause=cause, hindrance=why, mails=mails) for state, cause, why, mails in deed.tally
    ]
    return ManyDeed(
        id=deed.id,
        action=ManyAction(deed.action),
        stage=Stage(deed.stage),
        filter=deed.wanted,
        old_address=deed.old_address,
        new_address=deed.new_address,
        found=deed.found,
        able=deed.able,
        doubles=deed.doubles,
        unable=_summed(counts, lambda each: each.hindrance),
        done=deed.done,
        left=deed.left_alone,
        to_do=max(0, deed.able - deed.done - sum(deed.left_alone.values())),
        actor=deed.actor,
        created_at=deed.created_at,
        started_at=deed.started_at,
        ended_at=deed.ended_at,
        counts=counts,
        is_of_chosen=deed.chosen is not None,
    )


def _summed(counts: Sequence[DeedCount], key: Callable[[DeedCount], T]) -> dict[T, int]:
    found: Counter[T] = Counter()
    for each in counts:
        if name := key(each):
            found[name] += each.mails
    return dict(found.most_common())
