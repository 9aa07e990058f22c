"""The ``alert_…`` tables: where alerts go, by which rules, how each stands, and what is still to be told."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Float, ForeignKey, String, Text, delete, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.engine import Base, changed, compared_and_set
from database.types import UtcDateTime

LONGEST_NAME = 64
LONGEST_PLACE = 255
LONGEST_SUBJECT = 64
LONGEST_TEXT = 500
_EMPTY = text("''")


class NoticeState(StrEnum):
    """What became of a notice. REPLACED: before it was sent there was newer news of the same alert."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    REPLACED = "replaced"


class AlertChannel(Base):
    """One way to reach the administrators. ``target`` holds what is secret about it, sealed with ``key_id``'s key.

    ``place`` is what may be shown of it. ``config_id`` is the server that mail goes through. ``ok_at`` and
    ``failed_at`` are of the last message; ``trouble`` says in a sentence why it failed. ``pinged_at`` is of a ping.
    """

    __tablename__ = "alert_channel"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    place: Mapped[str] = mapped_column(String(LONGEST_PLACE))
    target: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(String(8))
    config_id: Mapped[int | None] = mapped_column(ForeignKey("smtp_config.id", ondelete="SET NULL"), index=True)
    is_on: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ok_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    trouble: Mapped[str] = mapped_column(String(LONGEST_TEXT), default="", server_default=_EMPTY)
    pinged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertRule(Base):
    """A rule that was changed on the page; null is the usual value, and one without a row is as usual altogether."""

    __tablename__ = "alert_rule"

    name: Mapped[str] = mapped_column(String(24), primary_key=True)
    is_on: Mapped[bool] = mapped_column(default=True)
    amount: Mapped[int | None]
    least: Mapped[int | None]


class AlertState(Base):
    """How one alert stands, for every process and after a restart.

    ``lasted`` and ``clear`` are for how many seconds in a row the trouble was seen to be there, and not to be: measured
    while somebody looked, so that a clock that jumps changes neither. ``flaps`` counts how often it came back soon.
    """

    __tablename__ = "alert_state"

    rule: Mapped[str] = mapped_column(String(24), primary_key=True)
    subject: Mapped[str] = mapped_column(String(LONGEST_SUBJECT), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    headline: Mapped[str] = mapped_column(String(LONGEST_TEXT), default="", server_default=_EMPTY)
    remedy: Mapped[str] = mapped_column(String(LONGEST_TEXT), default="", server_default=_EMPTY)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    fired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lasted: Mapped[float] = mapped_column(Float, default=0.0)
    clear: Mapped[float] = mapped_column(Float, default=0.0)
    flaps: Mapped[int] = mapped_column(default=0)


class AlertNotice(Base):
    """One message to one channel. ``notice_id`` stays the same over all attempts, so that a receiver can tell."""

    __tablename__ = "alert_notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    notice_id: Mapped[str] = mapped_column(String(32), unique=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("alert_channel.id", ondelete="CASCADE"), index=True)
    rule: Mapped[str] = mapped_column(String(24))
    subject: Mapped[str] = mapped_column(String(LONGEST_SUBJECT))
    change: Mapped[str] = mapped_column(String(16))
    headline: Mapped[str] = mapped_column(String(LONGEST_TEXT))
    remedy: Mapped[str] = mapped_column(String(LONGEST_TEXT), default="", server_default=_EMPTY)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16), default=NoticeState.WAITING, index=True)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    trouble: Mapped[str] = mapped_column(String(LONGEST_TEXT), default="", server_default=_EMPTY)


class Pulse(Base):
    """A sign of life by name: of the workers, and of whoever watches the rules, which is one process at a time.

    That one holds the lease, by its id, until ``lease_until``.
    """

    __tablename__ = "pulse"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    lease_id: Mapped[str] = mapped_column(String(32), default="", server_default=_EMPTY)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


def channels(session: Session) -> list[AlertChannel]:
    return list(session.scalars(select(AlertChannel).order_by(AlertChannel.id)))


def find_channel(session: Session, channel_id: int) -> AlertChannel | None:
    return session.get(AlertChannel, channel_id)


def held_channel(session: Session, channel_id: int) -> AlertChannel | None:
    """The channel for a change of it: whoever else changes it waits."""
    return session.get(AlertChannel, channel_id, with_for_update=True, populate_existing=True)


def note_channel(session: Session, channel_id: int, **values: object) -> None:
    """Write down how a message to it went; that is no change of its settings."""
    compared_and_set(session, update(AlertChannel).where(AlertChannel.id == channel_id).values(**values))


def claim_ping(session: Session, channel_id: int, now: datetime, before: datetime) -> bool:
    """True for the one caller that is to ping: the last one was before then, or lies ahead since a clock was set."""
    due = or_(AlertChannel.pinged_at.is_(None), AlertChannel.pinged_at <= before, AlertChannel.pinged_at > now)
    return compared_and_set(
        session, update(AlertChannel).where(AlertChannel.id == channel_id, due).values(pinged_at=now)
    )


def reseal(session: Session, channel_id: int, old: tuple[str, str], new: tuple[str, str]) -> bool:
    """Put a target under another key, each with its key's id, unless somebody has changed it meanwhile."""
    mine = AlertChannel.id == channel_id, AlertChannel.target == old[0], AlertChannel.key_id == old[1]
    return compared_and_set(session, update(AlertChannel).where(*mine).values(target=new[0], key_id=new[1]))


def rules(session: Session) -> dict[str, AlertRule]:
    """Those that were changed, by their names."""
    return {row.name: row for row in session.scalars(select(AlertRule))}


def lock_rules(session: Session) -> dict[str, AlertRule]:
    """The same, held until the transaction ends."""
    return {row.name: row for row in session.scalars(select(AlertRule).with_for_update())}


def states(session: Session) -> list[AlertState]:
    return list(session.scalars(select(AlertState).order_by(AlertState.since, AlertState.rule, AlertState.subject)))


def waiting(session: Session) -> list[AlertNotice]:
    """The notices that are still to be sent, the oldest first."""
    return list(
        session.scalars(
            select(AlertNotice).where(AlertNotice.state == NoticeState.WAITING).order_by(AlertNotice.id).limit(200)
        )
    )


def replace_waiting(session: Session, channel_id: int, rule: str, subject: str) -> int:
    """Let what waits for a channel about one alert be replaced by what is newer; how many that were."""
    mine = AlertNotice.channel_id == channel_id, AlertNotice.rule == rule, AlertNotice.subject == subject
    waits = update(AlertNotice).where(*mine, AlertNotice.state == NoticeState.WAITING)
    return changed(session, waits.values(state=NoticeState.REPLACED))


def claim_notice(session: Session, notice: AlertNotice, now: datetime, due_at: datetime) -> bool:
    """True for the one caller that is to send it now; until ``due_at`` nobody else does."""
    mine = (
        AlertNotice.id == notice.id,
        AlertNotice.attempts == notice.attempts,
        AlertNotice.state == NoticeState.WAITING,
    )
    taken = update(AlertNotice).where(*mine).values(attempts=notice.attempts + 1, tried_at=now, due_at=due_at)
    return compared_and_set(session, taken)


def settle_notice(session: Session, notice_id: str, **values: object) -> None:
    """What became of it, unless something newer has replaced it meanwhile."""
    waits = AlertNotice.notice_id == notice_id, AlertNotice.state == NoticeState.WAITING
    compared_and_set(session, update(AlertNotice).where(*waits).values(**values))


def latest_notices(session: Session, limit: int) -> list[AlertNotice]:
    """The newest first."""
    return list(session.scalars(select(AlertNotice).order_by(AlertNotice.id.desc()).limit(limit)))


def forget_notices(session: Session, before: datetime, keep: Sequence[NoticeState] = (NoticeState.WAITING,)) -> int:
    """Delete what is older and done with; how many."""
    old = AlertNotice.changed_at < before, AlertNotice.state.not_in(keep)
    return changed(session, delete(AlertNotice).where(*old))


def beat(session: Session, name: str, now: datetime) -> None:
    """Note a sign of life."""
    if not compared_and_set(session, update(Pulse).where(Pulse.name == name).values(at=now)):
        _add_pulse(session, Pulse(name=name, at=now))


def pulse(session: Session, name: str) -> Pulse | None:
    """The last sign of life, if there ever was one."""
    return session.get(Pulse, name, populate_existing=True)


def take_lease(session: Session, name: str, lease_id: str, now: datetime, until: datetime) -> bool:
    """Whether this one has the lease until then. One that a clock set back has left far ahead is void."""
    free = or_(
        Pulse.lease_id == lease_id,
        Pulse.lease_until.is_(None),
        Pulse.lease_until <= now,
        Pulse.lease_until > until,
    )
    taken = update(Pulse).where(Pulse.name == name, free)
    if compared_and_set(session, taken.values(at=now, lease_id=lease_id, lease_until=until)):
        return True
    if session.get(Pulse, name, populate_existing=True) is not None:
        return False
    return _add_pulse(session, Pulse(name=name, at=now, lease_id=lease_id, lease_until=until))


def give_lease_back(session: Session, name: str, lease_id: str) -> None:
    """Let another have it at once, if it is still this one's."""
    mine = Pulse.name == name, Pulse.lease_id == lease_id
    compared_and_set(session, update(Pulse).where(*mine).values(lease_id="", lease_until=None))


def _add_pulse(session: Session, row: Pulse) -> bool:
    """False where another process has added it a moment before."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True
