"""Delivery attempts: what became of a mail at one server. Append only, never content."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Index,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from database.driver import Driver
from database.engine import Base, changed
from database.mail_facets import MailFacets, facet_indexes, unindexed
from database.outbox_db import OutboxMail
from database.prepared import Prepared, added_to
from database.types import UtcDateTime, partial_index

LONGEST_REPLY = 500
LONGEST_SERVER = 320
LONGEST_TLS = 16
_NEAR = 1000  # rows
LONGEST_QUEUE_ID = 200


IS_DIRECT = text("mail_id IS NULL")


class EmailAttempt(MailFacets, Base):
    """One server tried for one mail. Addresses are masked; the reply is the server's, redacted, for administrators.

    Only attempts at mail that was sent directly have a tag, a subject and keys of addresses: other mail has its own.

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
        partial_index("ix_email_attempt_message", "message_id", where=IS_DIRECT),
        *facet_indexes("email_attempt", "outcome", "started_at", str(IS_DIRECT)),
        unindexed("email_attempt", str(IS_DIRECT)),
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
    server_key: int | None
    tag: NotRequired[str | None]
    subject: NotRequired[str | None]
    recipient_key: NotRequired[int | None]
    domain_key: NotRequired[int | None]


_ADD = added_to(cast(Table, EmailAttempt.__table__))


class AttemptName(Base):
    """A recipient of a mail to several that was sent directly, or a domain where they have several, as a number."""

    __tablename__ = "attempt_name"

    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    attempt_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, index=True)


# Of a mail that is sent at once: the newest attempt at it is the one just added.
_NAME = Prepared(
    insert(AttemptName).from_select(
        ["key", "attempt_id"],
        select(bindparam("name", type_=BigInteger), func.max(EmailAttempt.id)).where(
            EmailAttempt.message_id == bindparam("wanted"), IS_DIRECT
        ),
    )
)


def add_all(driver: Driver, attempts: Sequence[AttemptRow]) -> None:
    _ADD.run(driver, attempts)


def add_direct(driver: Driver, attempt: AttemptRow, names: Sequence[int]) -> None:
    """Add an attempt at a mail that never was in the outbox, with the numbers of its recipients if it has several."""
    _ADD.run(driver, [attempt])
    _NAME.run(driver, [{"name": name, "wanted": attempt["message_id"]} for name in names])


def latest(session: Session, limit: int) -> list[EmailAttempt]:
    """The newest attempts first."""
    return list(session.scalars(select(EmailAttempt).order_by(EmailAttempt.id.desc()).limit(limit)))


def of_mail(session: Session, mail_id: str) -> list[EmailAttempt]:
    """The attempts of one queued mail, the first one first."""
    return list(session.scalars(select(EmailAttempt).where(EmailAttempt.mail_id == mail_id).order_by(EmailAttempt.id)))


class MailTries(NamedTuple):
    """How many attempts there were at a mail, and the server of the last one, as the log names it."""

    tries: int = 0
    server: str = ""


def tried(session: Session, mail_ids: Sequence[str]) -> dict[str, MailTries]:
    """What was tried with each of these mails; those without any attempt are left out."""
    query = select(EmailAttempt.mail_id, EmailAttempt.server).where(EmailAttempt.mail_id.in_(mail_ids))
    found: dict[str, MailTries] = {}
    for mail_id, server in session.execute(query.order_by(EmailAttempt.id)):
        before = found.get(mail_id or "", MailTries())
        found[mail_id or ""] = MailTries(before.tries + 1, server or before.server)
    return found


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
    ids = list(session.scalars(chosen))
    session.execute(delete(AttemptName).where(AttemptName.attempt_id.in_(ids)))
    return changed(session, delete(EmailAttempt).where(EmailAttempt.id.in_(ids)))


def last_accepted(
    session: Session, config_id: int | None, name: str, since: datetime, until: datetime
) -> datetime | None:
    """When a server took a mail last, between these moments; one without a row goes by its ``name`` in the log."""
    is_theirs = EmailAttempt.config_id == config_id
    if config_id is None:
        is_theirs = and_(EmailAttempt.config_id.is_(None), EmailAttempt.server.startswith(f"{name} (", autoescape=True))
    query = (
        select(EmailAttempt.started_at)
        .where(EmailAttempt.started_at.between(since, until), EmailAttempt.outcome == "accepted", is_theirs)
        .order_by(EmailAttempt.started_at.desc())
    )
    return session.scalar(query.limit(1))
