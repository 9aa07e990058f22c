"""Making mail findable that was not when it was queued: from before there was an index, or while the key was away."""

import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy.orm import Session

from database import attempt_db, mail_index_db
from database.attempt_db import EmailAttempt
from database.engine import reading, transaction
from database.mail_facets import SEVERAL, key_of
from services import address_key
from services.address_key import AddressKey, AddressNumbers
from utils.errors import Conflict

_BATCH: Final = 250  # rows in one transaction: every other writer of SQLite waits meanwhile
_SECONDS: Final = 1.0
_NOWHERE: Final = AddressNumbers(SEVERAL, SEVERAL)


def index_some(seconds: float = _SECONDS) -> int:
    """Index mail that is not yet, for about so long; how many rows. None while the key of addresses is away."""
    with reading() as session:
        if not mail_index_db.has_unindexed(session):
            return 0
    try:
        with transaction() as session:
            address_key.find_or_make(session)
        key = address_key.find()
    except (Conflict, address_key.KeyAway):
        return 0
    total, end = 0, time.monotonic() + seconds
    while key is not None:
        # A power cut that takes it back leaves the rows as they were.
        with transaction(durable=False) as session:
            done = _index_mails(session, key) + _index_attempts(session, key)
        total += done
        if not done or time.monotonic() >= end:
            break
    return total


def renumber(session: Session, outbox_id: int, found: AddressNumbers) -> None:
    """Let a mail be found by these numbers, and no others."""
    mail_index_db.name_mail(session, outbox_id, found.names)
    mail_index_db.number_mail(session, outbox_id, found.recipient_key, found.domain_key)


def renumber_attempt(session: Session, row: EmailAttempt, key: AddressKey, address: str, pseudonym: str) -> None:
    """Let a mail that was sent directly be found by a pseudonym instead of an address.

    Its masked recipients name the pseudonym already; the domains are theirs.
    """
    if row.recipient_key != SEVERAL:
        found = address_key.numbers_of(key, [pseudonym])
        row.recipient_key, row.domain_key = found.recipient_key, found.domain_key
        return
    names = mail_index_db.names_of_attempt(session, row.id)
    domains = {address_key.domain_number(key, domain) for domain in _domains(row)}
    old_domains = domains | {address_key.domain_number(key, address)}
    names = names - old_domains - {address_key.number(key, address)} | {address_key.number(key, pseudonym)}
    row.domain_key = domains.pop() if len(domains) == 1 else SEVERAL
    mail_index_db.name_attempt(session, row.id, sorted(names | domains))


def _index_mails(session: Session, key: AddressKey) -> int:
    rows = mail_index_db.unindexed_mails(session, _BATCH)
    unknown = [row.mail_id for row in rows if row.server_key is None]
    tried = attempt_db.tried(session, unknown) if unknown else {}
    for row in rows:
        addresses = [each["address"] for each in row.recipients]
        found = address_key.numbers_of(key, addresses) if addresses else _NOWHERE
        row.recipient_key, row.domain_key = found.recipient_key, found.domain_key
        if found.names:
            mail_index_db.name_mail(session, row.id, found.names)
        if row.mail_id in tried and (server := tried[row.mail_id].server):
            row.server_key = key_of(server)
        if row.message_key is None and not row.message_id.startswith(f"<{row.mail_id}@"):
            row.message_key = key_of(row.message_id)
    return len(rows)


def _index_attempts(session: Session, key: AddressKey) -> int:
    """Attempts at mails that were sent directly: of their addresses no more is left than the domains."""
    rows = mail_index_db.unindexed_attempts(session, _BATCH)
    for row in rows:
        row.recipient_key, row.domain_key = SEVERAL, SEVERAL
        domains = sorted({address_key.domain_number(key, domain) for domain in _domains(row)})
        if len(domains) == 1:
            row.domain_key = domains[0]
        if len(domains) > 1:
            mail_index_db.name_attempt(session, row.id, domains)
        if row.server_key is None and row.server:
            row.server_key = key_of(row.server)
    return len(rows)


def _domains(row: EmailAttempt) -> Sequence[str]:
    return [domain for each in row.recipients.split(", ") if (domain := each.partition("@")[2])]
