"""Where the rows of many tables name one address: mail by its number, the others by its text, which they hold."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from database import mail_search_db
from database.address_change_db import AddressChange
from database.attempt_db import EmailAttempt
from database.audit_db import AuditEvent
from database.engine import compared_and_set
from database.mail_search_db import SearchTerms
from database.outbox_db import IN_HAND, OutboxMail, Recipient
from database.sender_db import AccountSender
from database.smtp_db import SmtpConfig
from database.user_db import Account

_CHUNK: Final = 200  # rows at a time


def pattern(address: str) -> re.Pattern[str]:
    """The address in a text, but no longer one that it is a part of."""
    return re.compile(rf"(?<![\w.+%'*/=?^`{{|}}~!#$&-]){re.escape(address)}(?![\w-]|\.\w)", re.IGNORECASE)


def mails(session: Session, recipient: str, number: int | None) -> Iterator[OutboxMail]:
    """The queued mails to an address in its canonical form, without content, the oldest first.

    By the number that stands for it; those that have none yet, by a look at each.
    """
    wanted, newest = SearchTerms(recipient=recipient, number=number), mail_search_db.newest(session)
    found: list[int] = []
    before: int | None = None
    while True:
        ids = [row[0] for row in mail_search_db.ids(session, wanted, before, _CHUNK, newest)]
        found += ids
        if len(ids) < _CHUNK:
            break
        before = ids[-1]
    found.sort()
    for start in range(0, len(found), _CHUNK):
        yield from mails_of_ids(session, found[start : start + _CHUNK])


def mails_of_ids(session: Session, ids: Sequence[int]) -> list[OutboxMail]:
    query = select(OutboxMail).options(defer(OutboxMail.content)).where(OutboxMail.id.in_(ids))
    return list(session.scalars(query.order_by(OutboxMail.id)))


def rewrite_mail(session: Session, row: OutboxMail, *, recipients: list[Recipient], **values: object) -> bool:
    """Write other recipients into a mail that is as it was read, and that no worker has, and delete its content."""
    same = update(OutboxMail).where(OutboxMail.id == row.id, OutboxMail.state == row.state)
    same = same.where(OutboxMail.state.not_in(IN_HAND))
    return compared_and_set(session, same.values(recipients=recipients, content=None, **values))


def attempts_in_words(session: Session, address: str) -> list[EmailAttempt]:
    """The attempts at which a server's reply repeats the address."""
    return _naming(session, EmailAttempt, [EmailAttempt.reply], address)


def attempts_with_conversation(session: Session, masked: str) -> list[EmailAttempt]:
    """The attempts of which it is kept what was said, at mails sent directly to an address that is masked like this."""
    direct = select(EmailAttempt).where(EmailAttempt.mail_id.is_(None), EmailAttempt.conversation.is_not(None))
    return list(session.scalars(direct.where(EmailAttempt.recipients.icontains(masked, autoescape=True))))


def events(session: Session, address: str) -> list[AuditEvent]:
    """The events of the audit trail that name the address."""
    return _naming(session, AuditEvent, [AuditEvent.actor, AuditEvent.subject, AuditEvent.details], address)


def accounts(session: Session, key: str) -> list[Account]:
    return list(session.scalars(select(Account).where(Account.email_key == key)))


def address_changes(session: Session, address: str) -> list[AddressChange]:
    """Addresses that are asked for in an account's place, and are not confirmed yet."""
    return _naming(session, AddressChange, [AddressChange.email], address)


def senders(session: Session, key: str) -> list[AccountSender]:
    return list(session.scalars(select(AccountSender).where(AccountSender.email_key == key)))


def servers(session: Session, address: str) -> list[SmtpConfig]:
    """The mail servers with the address as From, Reply-To or user name."""
    columns = [SmtpConfig.from_email, SmtpConfig.reply_to, SmtpConfig.smtp_username]
    return _naming(session, SmtpConfig, columns, address)


def _naming(session: Session, shape: Any, columns: Sequence[InstrumentedAttribute[Any]], address: str) -> list[Any]:  # noqa: ANN401
    """The rows of a table in which one of the columns names the address."""
    likely: list[ColumnElement[bool]] = [column.icontains(address, autoescape=True) for column in columns]
    found = session.scalars(select(shape).where(or_(*likely)))
    names = pattern(address)
    return [row for row in found if any(names.search(getattr(row, column.key) or "") for column in columns)]
