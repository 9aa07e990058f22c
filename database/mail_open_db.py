"""When the pixel of a tracked mail was asked for: one row for each hour in which it was. Nothing of who asked."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ForeignKey, String, UniqueConstraint, and_, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.attempt_db import EmailAttempt
from database.engine import Base, compared_and_set
from database.outbox_db import OutboxMail
from database.types import UtcDateTime


class MailOpen(Base):
    """The opens of one mail in one hour; ``by_machines`` of them may not have been a person's. Goes with its mail."""

    __tablename__ = "mail_open"

    id: Mapped[int] = mapped_column(primary_key=True)
    mail_id: Mapped[str] = mapped_column(String(32), ForeignKey("email_outbox.mail_id", ondelete="CASCADE"))
    hour: Mapped[datetime] = mapped_column(UtcDateTime)
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    times: Mapped[int]
    by_machines: Mapped[int]

    __table_args__ = (UniqueConstraint("mail_id", "hour"),)


class TrackedMail(NamedTuple):
    """A mail with a pixel: when it was queued, and when a server took it first, if one has."""

    pixel: str
    mail_id: str
    created_at: datetime
    sent_at: datetime | None


class Opens(NamedTuple):
    """All opens of a mail."""

    first_at: datetime | None
    last_at: datetime | None
    times: int
    by_machines: int


def tracked(session: Session, pixels: Sequence[str]) -> list[TrackedMail]:
    """The mails that have these pixels; what is no mail's is left out."""
    taken = and_(EmailAttempt.mail_id == OutboxMail.mail_id, EmailAttempt.outcome == "accepted")
    query = (
        select(OutboxMail.pixel, OutboxMail.mail_id, OutboxMail.created_at, func.min(EmailAttempt.started_at))
        .outerjoin(EmailAttempt, taken)
        .where(OutboxMail.pixel.in_(pixels))
        .group_by(OutboxMail.pixel, OutboxMail.mail_id, OutboxMail.created_at)
    )
    return [TrackedMail(row[0] or "", row[1], row[2], row[3]) for row in session.execute(query)]


def times_in(session: Session, mail_id: str, hour: datetime) -> int:
    """How often this mail was opened in this hour."""
    query = select(MailOpen.times).where(MailOpen.mail_id == mail_id, MailOpen.hour == hour)
    return session.scalar(query) or 0


def note(session: Session, mail_id: str, hour: datetime, opens: Opens) -> None:
    """Add opens to those of this hour."""
    if _add_to(session, mail_id, hour, opens):
        return
    row = MailOpen(mail_id=mail_id, hour=hour, **opens._asdict())
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was quicker, or the mail is gone
        _add_to(session, mail_id, hour, opens)


def of_mail(session: Session, mail_id: str) -> Opens:
    """What is known of all opens of a mail."""
    columns = MailOpen.first_at, MailOpen.last_at, MailOpen.times, MailOpen.by_machines
    of_all = func.min(columns[0]), func.max(columns[1]), func.coalesce(func.sum(columns[2]), 0), func.sum(columns[3])
    row = session.execute(select(*of_all).where(MailOpen.mail_id == mail_id)).one()
    return Opens(row[0], row[1], int(row[2]), int(row[3] or 0))


def _add_to(session: Session, mail_id: str, hour: datetime, opens: Opens) -> bool:
    values = {
        "times": MailOpen.times + opens.times,
        "by_machines": MailOpen.by_machines + opens.by_machines,
        "last_at": opens.last_at,
    }
    return compared_and_set(
        session, update(MailOpen).where(MailOpen.mail_id == mail_id, MailOpen.hour == hour).values(**values)
    )
