"""Delivery attempts: what became of a mail at one server. Append only, never content."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict, cast

from sqlalchemy import JSON, Index, String, Table, Text, delete, exists, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.driver import Driver
from database.engine import Base, changed
from database.outbox_db import OutboxMail
from database.prepared import added_to
from database.types import UtcDateTime, partial_index

LONGEST_REPLY = 500
LONGEST_SERVER = 320
LONGEST_TLS = 16
_NEAR = 1000  # rows
LONGEST_QUEUE_ID = 200


class EmailAttempt(Base):
    """One server tried for one mail. Addresses are masked; the reply is the server's, redacted, for administrators.

    ``outcome`` is accepted, temporary, permanent, misconfigured, unknown, not_configured, suppressed or
    throttled; of a throttled one, which no server was asked about, the reply is the reason in our words. ``tls`` is
    the version, or "none" where the mail was said without encryption. ``conversation`` is the id of what was said.
    """

    __tablename__ = "email_attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    mail_id: Mapped[str | None] = mapped_column(String(32), index=True)
    account_id: Mapped[int | None]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ms: Mapped[int]
    kind: Mapped[str] = mapped_column(String(32))
    recipients: Mapped[str] = mapped_column(Text)
    refused: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    message_id: Mapped[str] = mapped_column(String(255))
    config_id: Mapped[int | None]
    server: Mapped[str] = mapped_column(String(LONGEST_SERVER))
    outcome: Mapped[str] = mapped_column(String(16))
    phase: Mapped[str | None] = mapped_column(String(16))
    fault: Mapped[str | None] = mapped_column(String(32))
    code: Mapped[int | None]
    enhanced: Mapped[str | None] = mapped_column(String(16))
    reply: Mapped[str] = mapped_column(String(LONGEST_REPLY), default="", server_default=text("''"))
    worker: Mapped[str | None] = mapped_column(String(64))
    # The code of why it was not accepted, "" where it was; the default is for rows from before it.
    reason: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    # None in rows from before there were these: nothing is known of it.
    tls: Mapped[str | None] = mapped_column(String(LONGEST_TLS))
    queue_id: Mapped[str | None] = mapped_column(String(LONGEST_QUEUE_ID))
    conversation: Mapped[str | None] = mapped_column(String(32))

    __table_args__ = (
        partial_index("ix_email_attempt_conversation", "conversation", where=text("conversation IS NOT NULL")),
        Index("ix_email_attempt_started_at", "started_at"),
        partial_index("ix_email_attempt_account", "account_id", "started_at", where=text("account_id IS NOT NULL")),
    )


class AttemptRow(TypedDict):
    """What is written of an attempt: a value for every column but the number; the last ones came later."""

    mail_id: str | None
    account_id: int | None
    started_at: datetime
    ms: int
    kind: str
    recipients: str
    refused: list[dict[str, Any]]
    message_id: str
    config_id: int | None
    server: str
    outcome: str
    phase: str | None
    fault: str | None
    code: int | None
    enhanced: str | None
    reply: str
    worker: str | None
    reason: str
    tls: NotRequired[str | None]
    queue_id: NotRequired[str | None]
    conversation: NotRequired[str | None]


_ADD = added_to(cast(Table, EmailAttempt.__table__))


def add_all(driver: Driver, attempts: Sequence[AttemptRow]) -> None:
    _ADD.run(driver, attempts)


def latest(session: Session, limit: int) -> list[EmailAttempt]:
    """The newest attempts first."""
    return list(session.scalars(select(EmailAttempt).order_by(EmailAttempt.id.desc()).limit(limit)))


def of_mail(session: Session, mail_id: str) -> list[EmailAttempt]:
    """The attempts of one queued mail, the first one first."""
    return list(session.scalars(select(EmailAttempt).where(EmailAttempt.mail_id == mail_id).order_by(EmailAttempt.id)))


def counts(session: Session, mail_ids: Sequence[str]) -> dict[str, int]:
    """How many attempts there were at each of these mails; those without any are left out."""
    query = select(EmailAttempt.mail_id, func.count()).where(EmailAttempt.mail_id.in_(mail_ids))
    return {mail_id or "": count for mail_id, count in session.execute(query.group_by(EmailAttempt.mail_id))}


def direct(session: Session, before: int | None, limit: int) -> list[EmailAttempt]:
    """The newest attempts of mails that never were in the outbox, only those older than ``before``."""
    query = select(EmailAttempt).where(EmailAttempt.mail_id.is_(None)).order_by(EmailAttempt.id.desc()).limit(limit)
    if before is not None:
        query = query.where(EmailAttempt.id < before)
    return list(session.scalars(query))


def direct_with(session: Session, attempt_id: int) -> list[EmailAttempt]:
    """An attempt at a mail that never was in the outbox, and the others at the same mail, the first one first."""
    one = session.get(EmailAttempt, attempt_id)
    if one is None or one.mail_id is not None:
        return []
    # One mail is tried at all servers within a minute or two; there is no index of Message-IDs.
    near = EmailAttempt.id.between(attempt_id - _NEAR, attempt_id + _NEAR)
    query = select(EmailAttempt).where(near, EmailAttempt.message_id == one.message_id, EmailAttempt.mail_id.is_(None))
    return list(session.scalars(query.order_by(EmailAttempt.id)))


def delete_old(session: Session, moment: datetime, limit: int, *, queued_only: bool = False) -> int:
    """Delete at most ``limit`` attempts from before ``moment``, but none of a mail that is still there; how many.

    ``queued_only`` spares the mails that never were in the outbox.
    """
    still_there = exists().where(OutboxMail.mail_id == EmailAttempt.mail_id)
    old = select(EmailAttempt.id).where(EmailAttempt.started_at < moment, ~still_there)
    if queued_only:
        old = old.where(EmailAttempt.mail_id.is_not(None))
    # A DELETE of PostgreSQL has no LIMIT, so the rows are chosen first; in this order, by an index.
    chosen = old.order_by(EmailAttempt.started_at).limit(limit)
    return changed(session, delete(EmailAttempt).where(EmailAttempt.id.in_(chosen)))
