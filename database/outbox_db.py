"""The ``email_outbox`` table: mails that were promised, each with what has become of it. The row is the truth."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    ColumnExpressionArgument,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    TextClause,
    TypeDecorator,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, defer, mapped_column

from database.engine import Base, changed, compared_and_set
from database.mail_facets import MailFacets, facet_indexes, unindexed
from database.smtp_db import SmtpConfig
from database.types import UtcDateTime, partial_index


class State(StrEnum):
    """How far a mail has come. LEASED and TRANSMITTING belong to a worker, HELD to people; the last five are final."""

    QUEUED = "queued"
    LEASED = "leased"
    TRANSMITTING = "transmitting"
    DEFERRED = "deferred"
    UNCERTAIN = "uncertain"  # the final dot is out and no answer came
    HELD = "held"  # nobody sends it until it is released, since it may have been sent already
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"


class RecipientState(StrEnum):
    """What the mail came to for one recipient; ACCEPTED, REFUSED and SUPPRESSED are final."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    SUPPRESSED = "suppressed"  # on the suppression list: no server was told of them


class Recipient(TypedDict):
    """One recipient as the row holds it, with the code and the enhanced code of the server's last answer.

    ``why`` is the reason of one that is suppressed, as a code.
    """

    address: str
    state: RecipientState
    code: NotRequired[int | None]
    enhanced: NotRequired[str | None]
    why: NotRequired[str]


class _Recipients(TypeDecorator[list[Recipient]]):
    """The recipients of a mail; none, where somebody has written into the row what is no list of them.

    That must stop no claim of other mails, and content that was sealed for somebody does not open for nobody.
    """

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], list[Recipient]]:
        decode: Callable[[Any], Any] = super().result_processor(dialect, coltype) or list  # else the driver has done it

        def read(stored: Any) -> list[Recipient]:  # noqa: ANN401 - whatever stands there
            try:
                return [_recipient(each) for each in decode(stored)]
            except (ValueError, LookupError, TypeError):
                return []

        return read


def _recipient(stored: dict[str, Any]) -> Recipient:
    if not isinstance(stored["address"], str):
        raise TypeError("an address that is no text")
    stored["state"] = _RECIPIENT_STATES[stored["state"]]
    return cast(Recipient, stored)


_RECIPIENT_STATES = {str(state): state for state in RecipientState}


class Priority(IntEnum):
    """Which mail goes first."""

    SECURITY = 0
    NORMAL = 1
    BULK = 2


IN_TURNS = (Priority.NORMAL, Priority.BULK)  # what is claimed by turns of the accounts


class NewMail(TypedDict):
    """A mail as it is promised; what is not named here begins as the column's default."""

    mail_id: str
    message_id: str
    kind: str
    account_id: int | None
    priority: Priority
    recipients: list[Recipient]
    content: bytes
    key_id: str
    idempotency_key: str | None
    digest: str | None
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    tag: str | None
    pixel: NotRequired[str | None]
    queued_by: NotRequired[str | None]
    traceparent: NotRequired[str | None]
    subject: NotRequired[str | None]
    recipient_key: NotRequired[int | None]
    domain_key: NotRequired[int | None]
    message_key: NotRequired[int | None]
    names: NotRequired[Sequence[int]]


WAITING = (State.QUEUED, State.DEFERRED, State.UNCERTAIN)
IN_HAND = (State.LEASED, State.TRANSMITTING)
UNSENT = (*WAITING, State.HELD)  # and with no worker: what can still be withdrawn
DEAD = (State.FAILED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED)
SETTLED = (State.SENT, *DEAD)
STILL_TO_GO = (RecipientState.PENDING, RecipientState.DEFERRED)


def among(*states: State) -> TextClause:
    """The condition that a mail is in one of these states; literal, so that SQLite finds the partial index.

    Without IN: SQLite would build a table of what stands there, for each index and each row that changes.
    """
    return text("({})".format(" OR ".join(f"state = '{state}'" for state in states)))


def literally(priority: Priority) -> ColumnElement[int]:
    """The priority as it stands in a statement: for a value that may be a partial index's, SQLite plans every time."""
    return literal_column(str(int(priority)), SmallInteger)


IS_WAITING = among(*WAITING)
IS_IN_HAND = among(*IN_HAND)
IS_URGENT = text("priority = 0")  # security mail; literal likewise
OF_ANY_PRIORITY = text(f"priority IN {tuple(map(int, Priority))}")  # SQLite's index of waiting mail begins with it
IS_HELD = among(State.HELD)
# HELD first: SQLite would take the indexes of these for the ones that wait, too, if they stood at the beginning.
IS_UNSENT = among(State.HELD, *WAITING)
IS_SETTLED = among(*SETTLED)
_IS_WAITING_URGENTLY = text(f"{IS_WAITING} AND {IS_URGENT}")
_IS_IN_HAND_OF_ACCOUNT = text(f"{IS_IN_HAND} AND account_id IS NOT NULL")
IS_DEAD = text(f"{IS_SETTLED} AND {among(*DEAD)}")
WAS_SETTLED = text("settled_at IS NOT NULL")
_IS_UNSENT_OF_ACCOUNT = text(f"{IS_UNSENT} AND account_id IS NOT NULL")
_IS_UNSENT_WITH_TAG = text(f"{IS_UNSENT} AND tag IS NOT NULL")
_HAS_KEY = text("idempotency_key IS NOT NULL")
_HAS_PIXEL = text("pixel IS NOT NULL")
_HAS_OWN_MESSAGE_ID = text("message_key IS NOT NULL")
_FACETS = ("server_key", "domain_key", "recipient_key", "account_id", "tag", "reason")


class OutboxMail(MailFacets, Base):
    """One mail to all its recipients.

    ``content`` is sealed under the key that ``key_id`` names, and gone once the mail is settled.
    ``pinned_to`` names the only server that a mail of unknown fate may go to. ``attempts`` counts what was charged,
    ``uncertain`` how often its fate was unknown. ``reason`` holds a code, or "". ``tag`` is its caller's own
    word for it. ``message_key`` is the number of a Message-ID that the ``mail_id`` is no part of.
    """

    __tablename__ = "email_outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    mail_id: Mapped[str] = mapped_column(String(32), unique=True)
    message_id: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(32))
    account_id: Mapped[int | None]
    priority: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(String(16), default=State.QUEUED)
    recipients: Mapped[list[Recipient]] = mapped_column(_Recipients)
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_id: Mapped[str] = mapped_column(String(8))
    idempotency_key: Mapped[str | None] = mapped_column(String(64))
    digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    uncertain: Mapped[int] = mapped_column(default=0)
    pinned_to: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text, default="")
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    leased_by: Mapped[str | None] = mapped_column(String(64))
    message_key: Mapped[int | None] = mapped_column(BigInteger)
    pixel: Mapped[str | None] = mapped_column(String(32))  # its id, if it is known when the mail is opened
    queued_by: Mapped[str | None] = mapped_column(String(32))  # who beside the application, as services/audit.py has it
    traceparent: Mapped[str | None] = mapped_column(String(55))  # of W3C Trace Context: in whose trace it was queued

    __table_args__ = (
        partial_index("uq_email_outbox_idempotency_key", "idempotency_key", where=_HAS_KEY, unique=True),
        partial_index("uq_email_outbox_pixel", "pixel", where=_HAS_PIXEL, unique=True),
        partial_index("ix_email_outbox_due", "priority", "account_id", "due_at", "id", "state", where=IS_WAITING),
        partial_index("ix_email_outbox_urgent", "due_at", "id", where=_IS_WAITING_URGENTLY),
        partial_index("ix_email_outbox_unsent", "state", "created_at", "id", *_FACETS, where=IS_UNSENT),
        partial_index("ix_email_outbox_account", "account_id", "state", "created_at", where=_IS_UNSENT_OF_ACCOUNT),
        partial_index("ix_email_outbox_tag", "tag", "state", "created_at", where=_IS_UNSENT_WITH_TAG),
        partial_index("ix_email_outbox_message", "message_key", where=_HAS_OWN_MESSAGE_ID),
        *facet_indexes("email_outbox", "state", "created_at", str(IS_SETTLED)),
        unindexed("email_outbox"),
        partial_index("ix_email_outbox_expires", "expires_at", where=IS_WAITING),
        partial_index("ix_email_outbox_in_hand", "lease_until", where=IS_IN_HAND),
        partial_index("ix_email_outbox_in_hand_of", "account_id", where=_IS_IN_HAND_OF_ACCOUNT),
        partial_index("ix_email_outbox_held", "id", where=IS_HELD),
        partial_index("ix_email_outbox_settled", "settled_at", where=WAS_SETTLED),
    )


class OutboxName(Base):
    """A recipient of a mail to several, or a domain where they have several, as a number."""

    __tablename__ = "outbox_name"

    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    outbox_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, index=True)


_UNTRIED = {"state": State.QUEUED, "settled_at": None, "attempts": 0, "uncertain": 0, "pinned_to": None, "reason": ""}


def find(session: Session, mail_id: str) -> OutboxMail | None:
    return session.scalars(select(OutboxMail).where(OutboxMail.mail_id == mail_id)).one_or_none()


def of_ids(session: Session, mail_ids: Sequence[str]) -> list[OutboxMail]:
    """These mails, without content."""
    return list(
        session.scalars(select(OutboxMail).options(defer(OutboxMail.content)).where(OutboxMail.mail_id.in_(mail_ids)))
    )


def traceparents(session: Session, mail_ids: Sequence[str]) -> dict[str, str]:
    """In whose traces these mails were queued, of those that were queued in one."""
    query = select(OutboxMail.mail_id, OutboxMail.traceparent)
    found = session.execute(query.where(OutboxMail.mail_id.in_(mail_ids), OutboxMail.traceparent.is_not(None)))
    return {mail_id: traceparent for mail_id, traceparent in found if traceparent}


def of_rows(session: Session, ids: Sequence[int]) -> list[OutboxMail]:
    """These mails by their rows' ids, with content."""
    return list(session.scalars(select(OutboxMail).where(OutboxMail.id.in_(ids))))


def message_id(session: Session, mail_id: str) -> str | None:
    return session.scalar(select(OutboxMail.message_id).where(OutboxMail.mail_id == mail_id))


def find_by_key(session: Session, idempotency_key: str) -> OutboxMail | None:
    return session.scalars(select(OutboxMail).where(OutboxMail.idempotency_key == idempotency_key)).one_or_none()


def used_keys(session: Session, idempotency_keys: Sequence[str]) -> set[str | None]:
    """Those of these keys under which a mail was queued."""
    query = select(OutboxMail.idempotency_key).where(OutboxMail.idempotency_key.in_(idempotency_keys))
    return set(session.scalars(query)) if idempotency_keys else set()


def counts(session: Session) -> dict[State, int]:
    """How many mails are in each state but SENT, which can be very many."""
    found: dict[State, int] = {}
    for condition in (IS_WAITING, IS_IN_HAND, IS_HELD, IS_DEAD):  # each by its own index, without what was sent
        found |= {State(state): count for state, count in _counts(session, OutboxMail.state, condition).items()}
    return found


def depths(session: Session) -> list[tuple[State, int, int]]:
    """How many mails that are not settled are in each state, of each priority; without a look at what was sent."""
    # Of those that wait there may be very many: counted in the order of their index, and not sorted by state.
    known = (State.DEFERRED, State.UNCERTAIN)
    columns = [func.count(case((OutboxMail.state == state, 1))) for state in known]
    counted = select(OutboxMail.priority, func.count(), *columns).where(IS_WAITING, OF_ANY_PRIORITY)
    found: list[tuple[State, int, int]] = []
    for priority, mails, *counts in session.execute(counted.group_by(OutboxMail.priority)):
        found += [(state, priority, many) for state, many in zip(known, counts, strict=True)]
        found.append((State.QUEUED, priority, mails - sum(counts)))
    keys = OutboxMail.state, OutboxMail.priority
    for condition in (IS_IN_HAND, IS_HELD):
        others = session.execute(select(*keys, func.count()).where(condition).group_by(*keys))
        found += [(State(state), priority, mails) for state, priority, mails in others]
    return found


def reasons(session: Session) -> dict[str, int]:
    """Why mails wait that have waited before, and how many for each reason."""
    return _counts(session, OutboxMail.reason, IS_WAITING, OutboxMail.reason != "")


def holders(session: Session) -> dict[str, int]:
    """The workers that have mails now, and how many each."""
    return {worker or "": count for worker, count in _counts(session, OutboxMail.leased_by, IS_IN_HAND).items()}


def keys_in_use(session: Session) -> dict[str, int]:
    """The keys that content is sealed under, waiting mails' and dead letters', and how many mails need each."""
    return _counts(session, OutboxMail.key_id, OutboxMail.content.is_not(None))


def keys_of_waiting(session: Session) -> dict[str, int]:
    """The same of mails alone that are still to be sent, whether they are due or not."""
    return _counts(session, OutboxMail.key_id, OutboxMail.content.is_not(None), OutboxMail.state.in_(UNSENT))


def is_in_hand(session: Session, moment: datetime) -> bool:
    """Whether a worker that still lives has a mail."""
    return session.scalar(select(OutboxMail.id).where(IS_IN_HAND, OutboxMail.lease_until > moment).limit(1)) is not None


class MailBacklog(NamedTuple):
    """How many mails wait, when the oldest was queued, and when the first of them is due."""

    mails: int
    oldest: datetime | None
    due_at: datetime | None


def waiting(session: Session) -> MailBacklog:
    """The mails that wait, but for those of accounts with a server of their own; by an index alone, and one row."""
    has_own_server = exists().where(SmtpConfig.account_id == OutboxMail.account_id)
    counted = select(
        func.count().label("mails"), func.min(OutboxMail.id).label("first"), func.min(OutboxMail.due_at).label("due_at")
    )
    found = counted.where(IS_WAITING, OF_ANY_PRIORITY, ~has_own_server).subquery()
    oldest = select(OutboxMail.created_at).where(OutboxMail.id == found.c.first).scalar_subquery()
    return MailBacklog(*session.execute(select(found.c.mails, oldest, found.c.due_at)).one())


def largest_waiting(session: Session) -> int:
    """How many octets the largest email has that waits, as it is sealed; 0 if none does."""
    return session.scalar(select(func.max(func.length(OutboxMail.content))).where(IS_WAITING)) or 0


def is_stuck(session: Session, reasons: Sequence[str], queued_before: datetime) -> bool:
    """Whether a mail queued before this moment waits, and for one of these reasons.

    Not one of an account with a server of its own, which is that account's matter.
    """
    stuck = (IS_WAITING, OutboxMail.reason.in_(reasons), OutboxMail.created_at <= queued_before)
    has_own_server = exists().where(SmtpConfig.account_id == OutboxMail.account_id)
    return session.scalar(select(OutboxMail.id).where(*stuck, ~has_own_server).limit(1)) is not None


def change_waiting(session: Session, mail_id: str, **values: object) -> bool:
    """Compare-and-set on a mail that waits and that no worker holds; True if it was so."""
    # Where a worker claims it just now, PostgreSQL waits and then looks at the state once more (READ COMMITTED).
    waiting = update(OutboxMail).where(OutboxMail.mail_id == mail_id, OutboxMail.state.in_(WAITING))
    return compared_and_set(session, waiting.values(**values))


def make_due(session: Session, reasons: Sequence[str], account_id: int | None, now: datetime, most: int) -> None:
    """Let up to ``most`` mails go now that wait for one of these reasons, the most urgent and oldest; of one account,
    or of all.
    """
    late = (IS_WAITING, OutboxMail.reason.in_(reasons), OutboxMail.due_at > now)
    chosen = select(OutboxMail.id).where(*late).order_by(OutboxMail.priority, OutboxMail.id).limit(most)
    if account_id is not None:
        chosen = chosen.where(OutboxMail.account_id == account_id)
    ids = chosen.with_for_update(skip_locked=True)
    session.execute(update(OutboxMail).where(OutboxMail.id.in_(ids)).values(due_at=now))


def unsent_of(session: Session, account_id: int) -> int:
    """How many mails wait to go out for this account, or are held."""
    query = select(func.count()).where(OutboxMail.account_id == account_id, IS_UNSENT)
    return session.scalar(query) or 0


def withdraw(session: Session, mail_id: str, reason: str, moment: datetime) -> bool:
    """Cancel a mail that waits, or is held, and that no worker has; True if it was so."""
    unsent = update(OutboxMail).where(OutboxMail.mail_id == mail_id, OutboxMail.state.in_(UNSENT))
    values = {"state": State.CANCELLED, "settled_at": moment, "content": None, "reason": reason}
    return compared_and_set(session, unsent.values(**values))


def revive(
    session: Session, mail_id: str, recipients: list[Recipient], *, due_at: datetime, expires_at: datetime
) -> bool:
    """Queue a dead letter anew, as one that was never tried, if its content is still there; True if it was so."""
    dead = update(OutboxMail).where(OutboxMail.mail_id == mail_id, OutboxMail.state.in_(DEAD))
    terms = {"recipients": recipients, "due_at": due_at, "expires_at": expires_at}
    return compared_and_set(session, dead.where(OutboxMail.content.is_not(None)).values(**_UNTRIED, **terms))


def revive_locked(
    session: Session, mails: Mapping[int, list[Recipient]], *, due_at: datetime, expires_at: datetime
) -> None:
    """The same of many, by their rows' ids, which this transaction has locked and seen to be as they should."""
    terms = {**_UNTRIED, "due_at": due_at, "expires_at": expires_at}
    if mails:
        session.execute(update(OutboxMail), [{"id": row, "recipients": who, **terms} for row, who in mails.items()])


def change_locked(session: Session, ids: Sequence[int], **values: object) -> None:
    """Write these values on such mails."""
    change = update(OutboxMail).where(OutboxMail.id.in_(ids)).values(**values)
    session.execute(change.execution_options(synchronize_session=False))


def purge(session: Session, states: Sequence[State], settled_before: datetime, limit: int) -> int:
    """Delete at most ``limit`` settled mails; how many there were."""
    old = (
        select(OutboxMail.id)
        .where(OutboxMail.settled_at < settled_before, OutboxMail.state.in_(states))
        .order_by(OutboxMail.settled_at)
        .limit(limit)
    )
    ids = list(session.scalars(old))
    session.execute(delete(OutboxName).where(OutboxName.outbox_id.in_(ids)))
    return changed(session, delete(OutboxMail).where(OutboxMail.id.in_(ids)))


def _counts(
    session: Session, column: InstrumentedAttribute[Any], *where: ColumnExpressionArgument[bool]
) -> dict[Any, int]:
    """How many such mails have each value of the column."""
    return dict(session.execute(select(column, func.count()).where(*where).group_by(column)).all())
