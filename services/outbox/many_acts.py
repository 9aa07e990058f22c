"""Doing a deed to a batch of mails: in the caller's transaction, which has locked them and seen them as previewed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from sqlalchemy.orm import Session

from database import mail_deed_db, outbox_db, outbox_hold_db, outbox_turn_db
from database.mail_deed_db import MailDeedItem, MailStanding
from database.outbox_db import DEAD, WAITING, OutboxMail, Priority, State
from services.message.readdressing import readdressed
from services.outbox import content, promise
from services.outbox.content import CannotOpen
from services.outbox.many_rules import Correction, DeedFacts, Hindrance, ManyAction, judge
from services.outbox.promise import GIVE_UP, Terms
from services.outbox.reasons import Reason
from utils.encryption_utils import known_keys


class Order(NamedTuple):
    """What is to be done to each, and what rules need to know for it."""

    action: ManyAction
    known: DeedFacts
    wanted: Correction | None


@dataclass
class Batch:
    """What has become of some items: those that were done, and of the others what hindered it."""

    done: list[int] = field(default_factory=list)
    left: dict[int, Hindrance] = field(default_factory=dict)  # by the item's id


@dataclass(frozen=True, kw_only=True)
class _Work:
    session: Session
    known: DeedFacts
    pairs: Sequence[tuple[MailDeedItem, MailStanding]]
    batch: Batch

    @property
    def mails(self) -> list[MailStanding]:
        return [mail for _, mail in self.pairs]


def act(session: Session, items: Sequence[MailDeedItem], mails: Mapping[int, MailStanding], order: Order) -> Batch:
    """Do it to those that are as they were previewed; the others are left alone."""
    batch = Batch()
    pairs = []
    for item in items:
        mail = mails.get(item.mail)
        hindrance = _hindrance(item, mail, order)
        if mail is None or hindrance:
            batch.left[item.id] = hindrance or Hindrance.NO_SUCH
        else:
            pairs.append((item, mail))
    _WORKS[order.action](_Work(session=session, known=order.known, pairs=pairs, batch=batch), order.wanted)
    batch.done = [item.id for item, _ in pairs if item.id not in batch.left]
    mail_deed_db.note_done(session, batch.done, order.known.now)
    mail_deed_db.drop(session, list(batch.left))
    return batch


def _hindrance(item: MailDeedItem, mail: MailStanding | None, order: Order) -> Hindrance | None:
    if mail is None:
        return Hindrance.NO_SUCH
    verdict = judge(mail, order.action, order.known, order.wanted)
    # Whoever was faster has done the same with it, or a worker has: what was previewed is not there any more.
    if mail.state != item.state or mail.settled_at != item.settled_at:
        return Hindrance.CHANGED
    if order.action is ManyAction.CORRECT and not verdict.hindrance and verdict.stored_places != item.places:
        return Hindrance.CHANGED
    return verdict.hindrance


def _retry(work: _Work, _wanted: Correction | None) -> None:
    """As `promise.retry` does it to one."""
    session, now = work.session, work.known.now
    outbox_db.change_locked(session, [mail.id for mail in work.mails if mail.state in WAITING], due_at=now)
    held = [mail.mail_id for mail in work.mails if mail.state == State.HELD]
    if held:
        outbox_hold_db.release(session, held)
    dead = {mail.id: list(map(promise.once_more, mail.recipients)) for mail in work.mails if mail.state in DEAD}
    outbox_db.revive_locked(session, dead, due_at=now, expires_at=now + GIVE_UP)
    for account_id in {mail.account_id for mail in work.mails} - {None}:
        if account_id is not None:
            outbox_turn_db.end_rest(session, account_id)
    promise.tell_when_committed(session)


def _cancel(work: _Work, _wanted: Correction | None) -> None:
    """As `promise.cancel` does it to one."""
    values = {"state": State.CANCELLED, "settled_at": work.known.now, "content": None, "reason": Reason.CANCELLED}
    outbox_db.change_locked(work.session, [mail.id for mail in work.mails], **values)


def _correct(work: _Work, wanted: Correction | None) -> None:
    """Promise a new mail to the corrected addresses of each; the old one stays as it is."""
    if wanted is None:
        return
    rows = {row.id: row for row in outbox_db.of_rows(work.session, [mail.id for mail in work.mails])}
    copies: dict[int, str] = {}
    for item, mail in work.pairs:
        try:
            copies[item.id] = _copied(work.session, rows[mail.id], item.places, wanted)
        except CannotOpen as sealed:
            work.batch.left[item.id] = _SEALED[sealed.why]
    work.session.flush()
    mail_deed_db.note_copies(work.session, copies)


def _copied(session: Session, row: OutboxMail, places: str, wanted: Correction) -> str:
    """The id of the new mail. It waits in nobody's stead: it has its own time, and no idempotency key."""
    wrong = [row.recipients[int(place)]["address"] for place in places.split(",")]
    old = replace(content.unseal(row), subject=row.subject or "")
    mail = readdressed(old, {each: wanted.of(each) for each in wrong}, pixel_id=row.pixel or "")
    terms = Terms(priority=Priority(row.priority), account_id=row.account_id, tag=row.tag)
    return promise.enqueue(mail, terms, session)


_WORKS: Final = {ManyAction.RETRY: _retry, ManyAction.CANCEL: _cancel, ManyAction.CORRECT: _correct}
_SEALED: Final = {Reason.NO_KEY: Hindrance.NO_KEY, Reason.ALTERED: Hindrance.ALTERED}


def keys() -> frozenset[str]:
    """The keys that open content."""
    return frozenset(known_keys())
