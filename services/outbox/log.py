"""What became of every mail, as pages, API and commands ask for it: never its content, never its subject."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy.orm import Session

from database import attempt_db, conversation_db, mail_search_db, outbox_db, outbox_turn_db
from database.attempt_db import EmailAttempt, MailTries
from database.engine import reading, transaction
from database.mail_search_db import SearchTerms
from database.outbox_db import DEAD, SETTLED, UNSENT, WAITING, MailBacklog, OutboxMail, State
from database.outbox_turn_db import OutboxRest
from services import audit, conversations
from services.delivery.retry_policy import PAUSE_REASONS
from services.outbox import leaving, opens, promise, timeline
from services.outbox.facts import AttemptFacts, ConversationLine, DirectData, MailFacts, attempt_facts, mail_facts
from services.outbox.opens import OpensData
from services.outbox.reasons import HELD_FOR_ACCOUNT, OF_DOWN_SERVERS, Reason, words
from services.outbox.timeline import MailEventData, TimelineEntry
from utils import clock
from utils.encryption_utils import known_keys
from utils.env_utils import get_settings
from utils.errors import Conflict, NotFound
from utils.numbers import LARGEST

PAGE: Final = 50
MOST: Final = 200
BEHIND: Final = timedelta(minutes=15)
UNATTENDED: Final = timedelta(seconds=30)  # a worker sweeps every few seconds, and holds what it cannot send at once
NOBODY_SENDS: Final = "No worker is running. Start the application, or run: flask mail worker"
HALTED: Final = (Reason.NO_SERVER, Reason.NO_KEY, *OF_DOWN_SERVERS, *PAUSE_REASONS)  # why no mail at all can go
_HELD: Final = "This email is held. Ask an administrator to release it."
_LET_GO: Final = 500  # mails at once; whatever waits for a server looks again within minutes anyway
_BATCH: Final = 1000  # rows in one transaction
_ID_LENGTH: Final = 32
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class Story:
    """A queued mail with its attempts, the first one first, and what can still be done with it."""

    mail: MailFacts
    attempts: list[AttemptFacts]
    opens: OpensData | None  # None: it is not tracked
    history: list[MailEventData]
    worker: str | None  # that has it now
    can_retry: bool
    can_cancel: bool
    may_double: bool  # its fate is unknown: whoever has it already could get it again

    @property
    def timeline(self) -> list[TimelineEntry]:
        return timeline.entries(self.history, self.attempts)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How the sending of queued mail goes. ``oldest_due`` is when the mail was due that nobody has taken up."""

    counts: dict[State, int]
    reasons: dict[str, int]  # why mails wait, in words
    oldest_due: datetime | None
    last_attempt: DirectData | None
    workers: dict[str, int]  # how many mails each holds now
    keyless: int  # how many wait that are sealed with a key that is not here
    is_behind: bool
    is_unattended: bool

    @property
    def is_well(self) -> bool:
        return not (self.is_behind or self.is_unattended or self.keyless)

    @property
    def held(self) -> int:
        return self.counts.get(State.HELD, 0)


class DueMail(NamedTuple):
    """When the mail was due that has waited longest to be claimed, if any has.

    ``is_unattended``: no worker has taken any, so that there is probably none.
    """

    oldest: datetime | None
    is_unattended: bool


@dataclass(frozen=True, kw_only=True)
class Purged:
    mails: int
    attempts: int


def mails(
    states: Sequence[State] = (),
    before: int | None = None,
    limit: int = PAGE,
    *,
    tag: str | None = None,
    account_id: int | None = None,
) -> tuple[list[MailFacts], int | None]:
    """The newest queued mails first, and what ``before`` to ask for to get older ones; None if there are none.

    With a ``tag`` or an account only those with that tag, and of that account.
    """
    with reading() as session:
        # One more than is shown tells whether there are older ones.
        wanted = SearchTerms(states=states, tag=tag or "", account_id=account_id)
        rows = mail_search_db.page(session, wanted, before, limit + 1)
        tried = attempt_db.tried(session, [row.mail_id for row in rows[:limit]])
        rests = resting(session, rows)
    found = [mail_facts(row, tried.get(row.mail_id, MailTries()), rests.get(row.account_id)) for row in rows[:limit]]
    return found, rows[limit - 1].id if len(rows) > limit else None


def as_they_stand(session: Session, mail_ids: Sequence[str]) -> dict[str, MailFacts]:
    """Queued mails by their ids, without their attempts."""
    return {row.mail_id: mail_facts(row, MailTries()) for row in outbox_db.of_ids(session, mail_ids)}


def direct(before: int | None = None, limit: int = PAGE) -> tuple[list[DirectData], int | None]:
    """The same for mails that were sent directly: no more is known of them than each attempt."""
    with reading() as session:
        rows = mail_search_db.direct(session, SearchTerms(), before, limit + 1)
    return [attempt_facts(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None


def story(mail_id: str, account_id: int | None = None) -> Story:
    """All that is known of a queued mail; with an account what it may know of one of its own. Raises NotFound."""
    with reading() as session:
        # PostgreSQL raises an error at a NUL: what cannot be an id is not looked up.
        row = outbox_db.find(session, mail_id) if len(mail_id) == _ID_LENGTH and _HEX.issuperset(mail_id) else None
        if row is None or account_id not in (None, row.account_id):
            raise NotFound(promise.NO_SUCH)
        is_for_owner = account_id is not None
        found = attempt_db.of_mail(session, mail_id)
        tracked = opens.of_mail(session, mail_id) if row.pixel else None
        said = {} if is_for_owner else _said(session, found)
        attempts = [
            attempt_facts(each, is_for_owner=is_for_owner, said=said.get(each.conversation or "")) for each in found
        ]
        events = timeline.history(session, row, found, tracked, is_for_owner=is_for_owner)
        worker = None if is_for_owner else row.leased_by
        rest = resting(session, [row]).get(row.account_id)
        return _story(row, attempts, tracked, events, worker=worker, rest=rest)


def direct_attempts(attempt_id: int) -> list[AttemptFacts]:
    """An attempt at a mail that was sent directly, and the others at the same mail, in order. Raises NotFound."""
    with reading() as session:
        # A number that no row can have is an error to a database.
        found = attempt_db.direct_with(session, attempt_id) if attempt_id <= LARGEST else []
        if not found:
            raise NotFound(promise.NO_SUCH)
        said = _said(session, found)
        return [attempt_facts(each, said=said.get(each.conversation or "")) for each in found]


def _said(session: Session, attempts: Sequence[EmailAttempt]) -> dict[str, list[ConversationLine]]:
    """What was said in these attempts, by the ids of conversations; no lines where its key is missing."""
    found = conversations.of_ids(session, [each.conversation for each in attempts if each.conversation])
    return {own_id: [ConversationLine(ms=ms, text=text) for ms, text in lines or []] for own_id, lines in found.items()}


def is_there(mail_id: str) -> bool:
    """Whether a queued mail of this id is in the log."""
    with reading() as session:
        return outbox_db.message_id(session, mail_id) is not None


def retry(mail_id: str, account_id: int | None = None) -> Story:
    """Send a mail now, or once more: `promise.retry`, and what is known of the mail then.

    With an account only one of its own; what is held goes on by an administrator's hand.
    """
    before = story(mail_id, account_id)
    if before.mail.is_held and account_id is not None:
        raise Conflict(_HELD)
    # All was read before: once the change is committed, nothing is left that can fail.
    return _changed(before, promise.retry(mail_id), timeline.ASKED)


def let_go(session: Session, account_id: int | None) -> None:
    """Let mail go at once that waits for a server which works again; of an account, or of all."""
    outbox_db.make_due(session, HALTED, account_id, clock.now(), _LET_GO)
    promise.end_rest(session, account_id)


def cancel(mail_id: str, account_id: int | None = None) -> Story:
    """Withdraw a mail, with an account only one of its own: `promise.cancel`, and what is known of it then."""
    before = story(mail_id, account_id)
    return _changed(before, promise.cancel(mail_id), State.CANCELLED.value)


def counts() -> dict[State, int]:
    """How many mails are in each state but SENT, in the order of the states; states without any are left out."""
    with reading() as session:
        found = outbox_db.counts(session)
    return {state: found[state] for state in State if state in found}


def counts_within(most: int) -> dict[State, int]:
    """The same, but of each state no more than ``most`` and one, which takes no longer however many there are."""
    with reading() as session:
        found = mail_search_db.counts(session, most + 1)
    return {state: found[state] for state in State if state in found}


def waiting() -> MailBacklog:
    """The mails that wait for the servers of the system."""
    with reading() as session:
        return outbox_db.waiting(session)


def due() -> DueMail:
    """How it is with mail that is due."""
    now = clock.now()
    with reading() as session:
        oldest = outbox_turn_db.oldest_due(session, now)
        is_left = oldest is not None and now - oldest > UNATTENDED
        return DueMail(oldest, is_left and not outbox_db.is_in_hand(session, now))


def is_behind(by: timedelta = BEHIND, known: DueMail | None = None) -> bool:
    """Whether mail waits for so long that the workers, the server or the key must be away.

    What is put off again and again is never long overdue: it counts by its age. ``known`` is what is due, if that was
    just looked at.
    """
    oldest, since = (known or due()).oldest, clock.now() - by
    if oldest is not None and oldest <= since:
        return True
    with reading() as session:
        return outbox_db.is_stuck(session, HALTED, since)


def is_unattended() -> bool:
    """Whether mail is due and no worker has taken any, so that there is probably none."""
    return due().is_unattended


def summary() -> Summary:
    """How it all stands."""
    known = due()
    with reading() as session:
        reasons, workers = _in_words(outbox_db.reasons(session)), outbox_db.holders(session)
        last = attempt_db.latest(session, 1)
        keys = outbox_db.keys_of_waiting(session)
    return Summary(
        counts=counts(),
        reasons=reasons,
        oldest_due=known.oldest,
        last_attempt=attempt_facts(last[0]) if last else None,
        workers=workers,
        keyless=sum(mails for key_id, mails in keys.items() if key_id not in known_keys()),
        is_behind=is_behind(known=known),
        is_unattended=known.is_unattended,
    )


def purge(older_than: timedelta, states: Sequence[State] = ()) -> Purged:
    """Delete mails that were settled longer ago than this, with their attempts, in batches.

    Without ``states`` every settled mail, and those that were sent directly.
    """
    before = clock.now() - older_than
    mails = _in_batches(lambda session: outbox_db.purge(session, states or SETTLED, before, _BATCH))
    attempts = _in_batches(lambda session: attempt_db.delete_old(session, before, _BATCH, queued_only=bool(states)))
    _in_batches(lambda session: conversation_db.delete_unnamed(session, before, _BATCH))
    return Purged(mails=mails, attempts=attempts)


def _in_batches(delete: Callable[[Session], int]) -> int:
    """Delete until less than a batch is left to delete; how many that were."""
    total, batch = 0, _BATCH
    while batch == _BATCH:
        # A short one each: every other writer of SQLite waits meanwhile.
        with transaction() as session:
            batch = delete(session)
        total += batch
    return total


def tidy() -> None:
    """Delete what is older than MAIL_RETENTION_DAYS; 0 keeps everything."""
    leaving.tidy()
    days = get_settings().mail_retention_days
    if days:
        purge(timedelta(days=days))


def resting(session: Session, rows: Sequence[OutboxMail]) -> dict[int | None, OutboxRest]:
    """Of the accounts of these mails those whose mail waits where it is."""
    accounts = {row.account_id for row in rows if row.account_id is not None and row.state in WAITING}
    return {rest.account_id: rest for rest in outbox_turn_db.resting(session, accounts, clock.now())}


def _changed(before: Story, row: OutboxMail, what: str) -> Story:
    """The story after somebody did this, which is in no need of the database any more."""
    what = timeline.RELEASED if before.mail.is_held and what == timeline.ASKED else what
    done = MailEventData(at=clock.now(), what=what, by=audit.actor().name)
    return _story(row, before.attempts, before.opens, [*before.history, done])


def _story(
    row: OutboxMail,
    attempts: list[AttemptFacts],
    tracked: OpensData | None,
    events: list[MailEventData],
    *,
    worker: str | None = None,
    rest: OutboxRest | None = None,
) -> Story:
    mail = mail_facts(row, MailTries(len(attempts), attempts[-1].server if attempts else ""), rest)
    return Story(
        mail=mail,
        attempts=attempts,
        opens=tracked,
        history=events,
        worker=worker,
        can_retry=(mail.state in UNSENT and row.reason not in HELD_FOR_ACCOUNT)
        or (mail.state in DEAD and row.content is not None),
        can_cancel=mail.state in UNSENT,
        may_double=row.uncertain > 0,
    )


def _in_words(found: Mapping[str, int]) -> dict[str, int]:
    told: Counter[str] = Counter()
    for reason, count in found.items():
        told[words(reason)] += count
    return dict(told)
