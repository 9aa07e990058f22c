"""The mail log, searched: queued and direct mail by one filter, a page at a time, counted, or all of it in batches."""

from collections.abc import Iterator
from typing import Final

from database import attempt_db, mail_search_db
from database.attempt_db import MailTries
from database.engine import reading
from database.mail_search_db import SearchTerms
from services import address_key
from services.address_key import KeyAway
from services.outbox import log
from services.outbox.facts import DirectData, MailFacts, attempt_facts, mail_facts
from services.outbox.log import PAGE
from services.outbox.mail_filter import MailFilter, parse, to_args
from utils.errors import Conflict

__all__ = ["PAGE", "MailFilter", "count", "direct", "find", "ids", "parse", "to_args"]

_BATCH: Final = 1000


def find(wanted: MailFilter, before: int | None = None, limit: int = PAGE) -> tuple[list[MailFacts], int | None]:
    """The newest queued mails first, and what ``before`` to ask for to get older ones; None if there are none."""
    with reading() as session:
        # One more than is shown tells whether there are older ones.
        rows = mail_search_db.page(session, _terms(wanted), before, limit + 1)
        tried = attempt_db.tried(session, [row.mail_id for row in rows[:limit]])
        rests = log.resting(session, rows)
    found = [mail_facts(row, tried.get(row.mail_id, MailTries()), rests.get(row.account_id)) for row in rows[:limit]]
    return found, rows[limit - 1].id if len(rows) > limit else None


def direct(wanted: MailFilter, before: int | None = None, limit: int = PAGE) -> tuple[list[DirectData], int | None]:
    """The same of mails that were sent directly: of each attempt, by when it was made."""
    with reading() as session:
        rows = mail_search_db.direct(session, _terms(wanted), before, limit + 1)
    return [attempt_facts(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None


def count(wanted: MailFilter, most: int | None = None) -> int:
    """How many queued mails there are; with ``most`` it may be told as soon as there are more."""
    with reading() as session:
        return mail_search_db.count(session, _terms(wanted), None if most is None else most + 1)


def ids(wanted: MailFilter) -> Iterator[list[str]]:
    """The ids of queued mails, the newest first, in batches; of none that is queued after this has begun.

    No transaction is open between two batches, so whoever takes them may change the mails meanwhile.
    """
    with reading() as session:
        newest = mail_search_db.newest(session)
    before: int | None = None
    while True:
        with reading() as session:
            rows = mail_search_db.ids(session, _terms(wanted), before, _BATCH, newest)
        if rows:
            yield [mail_id for _, mail_id in rows]
        if len(rows) < _BATCH:
            return
        before = rows[-1][0]


def older(wanted: MailFilter, before: int | None, limit: int, newest: int) -> list[tuple[int, str]]:
    """The numbers and ids of such mails, the newest first: what ``ids`` gives, to go on later behind number ``before``.

    Of none with a number above ``newest``.
    """
    with reading() as session:
        return mail_search_db.ids(session, _terms(wanted), before, limit, newest)


def _terms(wanted: MailFilter) -> SearchTerms:
    """The filter as the columns hold it. Raises Conflict if an address is asked for whose key is away."""
    return SearchTerms(
        recipient=_canonical(wanted.recipient),
        number=_number(wanted.recipient),
        message_id=wanted.message_id,
        tag=wanted.tag,
        states=wanted.states,
        server=wanted.server,
        account_id=wanted.account_id,
        since=wanted.since,
        until=wanted.until,
        cause=wanted.cause,
    )


def _canonical(recipient: str) -> str:
    if not recipient:
        return ""
    is_address = recipient.rpartition("@")[0] != ""
    return address_key.canonical(recipient) if is_address else address_key.canonical_domain(recipient.lstrip("@"))


def _number(recipient: str) -> int | None:
    """What stands for an address or a domain; None while there is no key yet, and so no number."""
    if not recipient:
        return None
    try:
        key = address_key.find()
    except KeyAway:
        raise Conflict(f"Recipients cannot be searched. {address_key.MISSING}") from None
    if key is None:
        return None
    is_address = recipient.rpartition("@")[0] != ""
    return address_key.number(key, recipient) if is_address else address_key.domain_number(key, recipient)
