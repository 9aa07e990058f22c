"""Deeds on many mails: what was asked for, the mails as they were when that was previewed, and how far it has come."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import JSON, ForeignKey, String, delete, exists, insert, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, changed, compared_and_set
from database.outbox_db import OutboxMail, Recipient, State
from database.types import UtcDateTime, partial_index
from database.user_db import Account
from utils.numbers import LARGEST

LONGEST_ADDRESS: Final = 254
_IS_TO_DO: Final = text("done_at IS NULL")
_IS_DONE: Final = text("done_at IS NOT NULL")
_HAS_COPY: Final = text("copy IS NOT NULL")


class Stage(StrEnum):
    """How far a deed has come. The last two are final."""

    LOOKING = "looking"  # which mails it is of, and which of them it can be done to
    READY = "ready"  # previewed; nothing was done
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"  # by somebody, or since nobody began it


UNDER_WAY: Final = (Stage.LOOKING, Stage.RUNNING)


class MailDeed(Base):
    """One deed. Its mails are those that ``wanted`` finds, as the query of an address, or those in ``chosen``.

    ``old_address`` and ``new_address`` are the addresses, or domains, of a correction. ``cursor``: how far the
    looking has come, and ``newest`` the mail after which none joins. ``tally`` counts what was found, as rows of state,
    cause, hindrance and number; ``left_alone`` what was left alone after all, by hindrance. ``actor`` and ``source``
    are as in the audit trail.
    """

    __tablename__ = "mail_deed"

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str] = mapped_column(String(16), index=True)
    wanted: Mapped[dict[str, str]] = mapped_column(JSON)
    chosen: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    old_address: Mapped[str] = mapped_column(String(LONGEST_ADDRESS), default="")
    new_address: Mapped[str] = mapped_column(String(LONGEST_ADDRESS), default="")
    cursor: Mapped[int]
    newest: Mapped[int]
    tally: Mapped[list[tuple[str, str, str, int]]] = mapped_column(JSON)
    found: Mapped[int] = mapped_column(default=0)
    able: Mapped[int] = mapped_column(default=0)
    doubles: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    left_alone: Mapped[dict[str, int]] = mapped_column(JSON)
    actor: Mapped[str] = mapped_column(String(160))
    source: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class MailDeedItem(Base):
    """A mail that a deed can be done to, by its row's id, and in which state it was when that was looked at.

    ``places`` are those of the recipients, in their list, whose address is corrected; ``copy`` is the id of the mail
    that they get. ``done_at`` is when; without, it is still to do.
    """

    __tablename__ = "mail_deed_item"

    id: Mapped[int] = mapped_column(primary_key=True)
    deed_id: Mapped[int] = mapped_column(ForeignKey("mail_deed.id", ondelete="CASCADE"), index=True)
    mail: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    places: Mapped[str] = mapped_column(String(320), default="")
    copy: Mapped[str | None] = mapped_column(String(32))
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        partial_index("ix_mail_deed_item_to_do", "deed_id", "mail", where=_IS_TO_DO),
        partial_index("ix_mail_deed_item_done", "mail", "deed_id", where=_IS_DONE),
        partial_index("ix_mail_deed_item_copy", "copy", where=_HAS_COPY),
    )


class MailStanding(NamedTuple):
    """A mail as a deed looks at it. ``is_at_rest``: its account is disabled or deleted."""

    id: int
    mail_id: str
    state: State
    settled_at: datetime | None
    priority: int
    kind: str
    reason: str
    recipients: list[Recipient]
    account_id: int | None
    expires_at: datetime
    uncertain: int
    key_id: str
    has_content: bool
    is_at_rest: bool


class NewItem(NamedTuple):
    """What is added of a mail that a deed can be done to."""

    mail: int
    state: str
    settled_at: datetime | None
    places: str


class DoneItem(NamedTuple):
    """A deed that was done to a mail, with the mail that it made."""

    deed_id: int
    action: str
    actor: str
    mail_id: str
    copy: str | None
    done_at: datetime


def standings(session: Session, mail_ids: Sequence[str]) -> list[MailStanding]:
    """These mails as they are now, the newest first."""
    query = _standings().where(OutboxMail.mail_id.in_(mail_ids)).order_by(OutboxMail.id.desc())
    return [_standing(row) for row in session.execute(query)]


def locked_standings(session: Session, ids: Sequence[int]) -> dict[int, MailStanding]:
    """The same by their rows' ids, for nobody else to change until the transaction ends."""
    query = _standings().where(OutboxMail.id.in_(ids)).order_by(OutboxMail.id).with_for_update(of=OutboxMail)
    return {row[0]: _standing(row) for row in session.execute(query)}


def _standings() -> Any:  # noqa: ANN401 - a query of many columns
    is_at_rest = OutboxMail.account_id.is_not(None) & ~exists().where(
        Account.id == OutboxMail.account_id, Account.disabled_at.is_(None)
    )
    named = [getattr(OutboxMail, name) for name in MailStanding._fields[:-2]]
    return select(*named, OutboxMail.content.is_not(None), is_at_rest)


def _standing(row: Any) -> MailStanding:  # noqa: ANN401
    found = MailStanding(*row)
    return found._replace(state=State(found.state))


def find(session: Session, deed_id: int) -> MailDeed | None:
    return session.get(MailDeed, deed_id) if deed_id <= LARGEST else None


def latest(session: Session, limit: int) -> list[MailDeed]:
    return list(session.scalars(select(MailDeed).order_by(MailDeed.id.desc()).limit(limit)))


def taken(session: Session, deed_id: int, stage: Stage) -> MailDeed | None:
    """The deed, for nobody else to go on with until the transaction ends; None if another has it, or it went on."""
    query = select(MailDeed).where(MailDeed.id == deed_id, MailDeed.stage == stage)
    return session.scalars(query.with_for_update(skip_locked=True)).one_or_none()


def locked(session: Session, deed_id: int) -> MailDeed | None:
    """The same in any stage; waits for whoever has it."""
    return session.scalars(select(MailDeed).where(MailDeed.id == deed_id).with_for_update()).one_or_none()


def under_way(session: Session) -> list[int]:
    """The deeds that somebody has to go on with, the first one first."""
    return list(session.scalars(select(MailDeed.id).where(MailDeed.stage.in_(UNDER_WAY)).order_by(MailDeed.id)))


def move(session: Session, deed_id: int, before: Sequence[Stage], after: Stage, **values: object) -> bool:
    """Put a deed into another stage, if it is in one of those; True if it was."""
    change = update(MailDeed).where(MailDeed.id == deed_id, MailDeed.stage.in_(before))
    return compared_and_set(session, change.values(stage=after, **values))


def stop_all(session: Session, now: datetime) -> None:
    """Stop every deed that is not over."""
    is_open = MailDeed.stage.in_((*UNDER_WAY, Stage.READY))
    change = update(MailDeed).where(is_open).values(stage=Stage.STOPPED, ended_at=now)
    session.execute(change.execution_options(synchronize_session=False))


def open_ones(session: Session) -> list[MailDeed]:
    """The deeds that are not over."""
    return list(session.scalars(select(MailDeed).where(MailDeed.stage.in_((*UNDER_WAY, Stage.READY)))))


def add_items(session: Session, deed_id: int, items: Iterable[NewItem]) -> None:
    rows = [{"deed_id": deed_id, **item._asdict()} for item in items]
    if rows:
        session.execute(insert(MailDeedItem), rows)


def to_do(session: Session, deed_id: int, limit: int) -> list[MailDeedItem]:
    """What is still to do, the oldest mail first."""
    query = select(MailDeedItem).where(MailDeedItem.deed_id == deed_id, MailDeedItem.done_at.is_(None))
    return list(session.scalars(query.order_by(MailDeedItem.mail).limit(limit)))


def first_mails(session: Session, deed_id: int, limit: int) -> list[str]:
    """The ids of the first mails that are still to do, the newest first."""
    query = select(OutboxMail.mail_id).join(MailDeedItem, MailDeedItem.mail == OutboxMail.id)
    query = query.where(MailDeedItem.deed_id == deed_id, MailDeedItem.done_at.is_(None))
    return list(session.scalars(query.order_by(MailDeedItem.mail.desc()).limit(limit)))


def note_done(session: Session, item_ids: Sequence[int], now: datetime) -> None:
    session.execute(_of(item_ids, update(MailDeedItem)).values(done_at=now))


def note_copies(session: Session, copies: dict[int, str]) -> None:
    """Write the ids of the mails that were made for these items."""
    if copies:
        session.execute(update(MailDeedItem), [{"id": item, "copy": copy} for item, copy in copies.items()])


def drop(session: Session, item_ids: Sequence[int]) -> None:
    """Forget items that nothing was done to."""
    session.execute(_of(item_ids, delete(MailDeedItem)))


def drop_to_do(session: Session, deed_id: int, limit: int) -> int:
    """Forget up to ``limit`` of those that are still to do; how many there were."""
    todo = select(MailDeedItem.id).where(MailDeedItem.deed_id == deed_id, MailDeedItem.done_at.is_(None)).limit(limit)
    return changed(session, _of(todo, delete(MailDeedItem)))


def _of(item_ids: Any, statement: Any) -> Any:  # noqa: ANN401 - ids or a query, a statement of either kind
    return statement.where(MailDeedItem.id.in_(item_ids)).execution_options(synchronize_session=False)


def corrected_places(session: Session, ids: Sequence[int]) -> dict[int, set[int]]:
    """Of these mails, by their rows' ids: the places of recipients whose corrected address has a mail already.

    One that was cancelled does not count: nobody gets it.
    """
    query = (
        select(MailDeedItem.mail, MailDeedItem.places)
        .join(OutboxMail, OutboxMail.mail_id == MailDeedItem.copy)
        .where(MailDeedItem.mail.in_(ids), _IS_DONE, _HAS_COPY, OutboxMail.state != State.CANCELLED)
    )
    found: dict[int, set[int]] = {}
    for mail, places in session.execute(query):
        found.setdefault(mail, set()).update(int(place) for place in places.split(",") if place)
    return found


def of_mail(session: Session, mail: int, mail_id: str) -> list[DoneItem]:
    """What made this mail, then what was done to it, the first one first; ``mail_id`` of each is the older mail's."""
    query = (
        select(
            MailDeed.id, MailDeed.action, MailDeed.actor, OutboxMail.mail_id, MailDeedItem.copy, MailDeedItem.done_at
        )
        .join(MailDeedItem, MailDeedItem.deed_id == MailDeed.id)
        .join(OutboxMail, OutboxMail.id == MailDeedItem.mail)
        .where(_IS_DONE)
        .order_by(MailDeedItem.done_at, MailDeedItem.id)
    )
    to_it = query.where(MailDeedItem.mail == mail)
    made_it = query.where(MailDeedItem.copy == mail_id)
    rows: list[Any] = [row for each in (made_it, to_it) for row in session.execute(each)]
    return [DoneItem(*row) for row in rows]


def forgotten(session: Session, before: datetime, limit: int) -> int:
    """Delete up to ``limit`` items of mails that are gone from the log, then deeds without any; how many items."""
    is_gone = ~exists().where(OutboxMail.id == MailDeedItem.mail)
    old = select(MailDeedItem.id).where(is_gone).limit(limit)
    found = changed(session, _of(old, delete(MailDeedItem)))
    has_items = exists().where(MailDeedItem.deed_id == MailDeed.id)
    ended = MailDeed.stage.not_in((*UNDER_WAY, Stage.READY)) & (MailDeed.created_at < before) & ~has_items
    session.execute(delete(MailDeed).where(ended).execution_options(synchronize_session=False))
    return found


def idle(session: Session, stages: Sequence[Stage], before: datetime) -> list[int]:
    """Deeds in these stages that were asked for before this moment."""
    return list(session.scalars(select(MailDeed.id).where(MailDeed.stage.in_(stages), MailDeed.created_at < before)))
