"""Forgetting an address: a pseudonym takes its place in the log, the audit trail and the suppression list alike."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from database import attempt_db, conversation_db, person_db, suppression_db
from database.attempt_db import LONGEST_REPLY, EmailAttempt
from database.audit_db import LONGEST_ACTOR, LONGEST_DETAILS, LONGEST_SUBJECT, AuditEvent
from database.engine import reading, transaction
from database.mail_facets import LONGEST_TAG
from database.outbox_db import IN_HAND, UNSENT, OutboxMail, Recipient, State
from services import address_key, audit
from services.address_key import AddressKey
from services.audit import Action
from services.outbox import indexing, many
from services.outbox.reasons import Reason
from services.privacy.person import AddressHolder
from utils import clock
from utils.addresses import mask_address

_TOGETHER: Final = 100  # mails in one transaction


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What names the address by its ``pseudonym`` now; of ``emails``, these many were ``cancelled`` for it.

    ``direct_emails`` were sent directly. So many ``conversations`` of attempts were deleted. ``left`` are emails that
    are being sent, or wait to be sent to others as well. ``accounts``, ``senders`` and ``servers`` use the address, and
    go where they are kept.
    """

    pseudonym: str
    emails: int = 0
    direct_emails: int = 0
    cancelled: int = 0
    replies: int = 0
    conversations: int = 0
    events: int = 0
    suppressions: int = 0
    left: int = 0
    accounts: int = 0
    senders: int = 0
    servers: int = 0

    @property
    def is_whole(self) -> bool:
        return not (self.left or self.accounts or self.senders or self.servers)


def forget(address: str) -> Forgotten:
    """Put a pseudonym in the place of an address, the same everywhere; an entry of the suppression list goes on.

    What waits to be sent to that address alone is cancelled, and the content of what could be sent again is deleted.
    Can be done again at any time. Raises InvalidInput, and Conflict while the key of addresses is away.
    """
    person = AddressHolder(address)
    with transaction() as session:
        key = address_key.find_or_make(session)
    pseudonym = key.pseudonym(person.on_the_wire)
    many.stop_naming(lambda text: person.replaced(text, pseudonym) != text)
    mails, cancelled, left, said = _forget_mails(person, key, pseudonym)
    with transaction() as session:
        # Of older direct mails only masked addresses tell. Who shares one loses no more than a record of what was said.
        said += _forget_conversations(session, person.direct(session))
        said += _forget_conversations(session, person_db.attempts_with_conversation(session, person.masked))
        replies = person.each(person_db.attempts_in_words, session)
        said += _forget_conversations(session, replies)
        for attempt in replies:
            attempt.reply = person.replaced(attempt.reply, pseudonym)[:LONGEST_REPLY]
        events = person.each(person_db.events, session)
        for event in events:
            _forget_event(event, person, pseudonym)
        told = Forgotten(
            pseudonym=pseudonym,
            emails=mails,
            direct_emails=_forget_direct(session, person, key, pseudonym),
            cancelled=cancelled,
            replies=len(replies),
            conversations=said,
            events=len(events),
            suppressions=_forget_suppressions(session, key.digest(person.on_the_wire), pseudonym),
            left=left,
            **person.elsewhere(session),
        )
        counts = [f"{name}: {count}" for name, count in asdict(told).items() if count and name != "pseudonym"]
        audit.record(session, Action.PERSON_FORGOTTEN, pseudonym, counts)
    return told


def _forget_mails(person: AddressHolder, key: AddressKey, pseudonym: str) -> tuple[int, int, int, int]:
    """How many mails name the pseudonym now, how many of them were cancelled for it, and how many are left.

    The last is how many conversations were deleted with that.
    """
    done = cancelled = left = said = 0
    with reading() as session:
        ids = [row.id for row in person.mails(session)]
    for start in range(0, len(ids), _TOGETHER):
        with transaction() as session:  # a short one each: every other writer of SQLite waits meanwhile
            for row in person_db.mails_of_ids(session, ids[start : start + _TOGETHER]):
                values = _values_for(row, person)
                if values is None or not _rewritten(session, row, person, pseudonym, values):
                    left += 1
                else:
                    indexing.renumber(session, row.id, address_key.numbers_of(key, _after(row, person, pseudonym)))
                    done, cancelled = done + 1, cancelled + bool(values)
                    said += _forget_conversations(session, attempt_db.of_mail(session, row.mail_id))
    return done, cancelled, left, said


def _after(row: OutboxMail, person: AddressHolder, pseudonym: str) -> list[str]:
    """The recipients of a mail without the person."""
    return [pseudonym if person.is_it(each["address"]) else each["address"] for each in row.recipients]


def _forget_direct(session: Session, person: AddressHolder, key: AddressKey, pseudonym: str) -> int:
    """Of mail that was sent directly, to the person alone or to others as well; how many."""
    found = person.direct(session)
    for attempt in found:
        masked = attempt.recipients.split(", ")
        if person.masked in masked:  # one, as another may look the same
            masked[masked.index(person.masked)] = mask_address(pseudonym)
        attempt.recipients = ", ".join(masked)
        attempt.subject = None
        _forget_words(attempt, person, pseudonym)
        indexing.renumber_attempt(session, attempt, key, person.on_the_wire, pseudonym)
    return len(found)


def _forget_words(attempt: EmailAttempt, person: AddressHolder, pseudonym: str) -> None:
    """What a server said, of whom it refused, and the caller's own word for the mail."""
    attempt.reply = person.replaced(attempt.reply, pseudonym)[:LONGEST_REPLY]
    attempt.tag = person.replaced(attempt.tag, pseudonym)[:LONGEST_TAG] if attempt.tag else None
    attempt.refused = [
        {**each, "recipient": mask_address(pseudonym)} if each.get("recipient") == person.masked else each
        for each in attempt.refused
    ]


def _values_for(row: OutboxMail, person: AddressHolder) -> dict[str, Any] | None:
    """What else becomes of a mail that names the person; None if it must go on as it is, for others' sake."""
    if row.state in IN_HAND:
        return None
    if row.state not in UNSENT:
        return {}
    is_alone = all(person.is_it(each["address"]) for each in row.recipients)
    return {"state": State.CANCELLED, "reason": Reason.CANCELLED, "settled_at": clock.now()} if is_alone else None


def _rewritten(
    session: Session, row: OutboxMail, person: AddressHolder, pseudonym: str, values: dict[str, Any]
) -> bool:
    recipients: list[Recipient] = [
        {**each, "address": pseudonym} if person.is_it(each["address"]) else each for each in row.recipients
    ]
    tag = person.replaced(row.tag, pseudonym)[:LONGEST_TAG] if row.tag else None
    if not person_db.rewrite_mail(session, row, recipients=recipients, tag=tag, subject=None, **values):
        return False
    attempts = attempt_db.of_mail(session, row.mail_id)
    _forget_attempts(attempts, recipients, person, pseudonym)
    return True


def _forget_attempts(
    attempts: Iterable[EmailAttempt], recipients: Iterable[Recipient], person: AddressHolder, pseudonym: str
) -> None:
    """An attempt names recipients masked, and perhaps in what the server has said."""
    masked = ", ".join(mask_address(each["address"]) for each in recipients)
    for attempt in attempts:
        attempt.recipients = masked
        _forget_words(attempt, person, pseudonym)


def _forget_conversations(session: Session, attempts: Sequence[EmailAttempt]) -> int:
    """What was said names the address in places that only its key opens: all of it goes; how many there were."""
    ids = [attempt.conversation for attempt in attempts if attempt.conversation]
    conversation_db.delete_of(session, ids)
    for attempt in attempts:
        attempt.conversation = None
    return len(ids)


def _forget_event(event: AuditEvent, person: AddressHolder, pseudonym: str) -> None:
    event.actor = person.replaced(event.actor, pseudonym)[:LONGEST_ACTOR]
    event.subject = person.replaced(event.subject, pseudonym)[:LONGEST_SUBJECT]
    event.details = person.replaced(event.details, pseudonym)[:LONGEST_DETAILS]


def _forget_suppressions(session: Session, digest: bytes, pseudonym: str) -> int:
    """An entry keeps its digest, and so goes on; what was only counted is deleted."""
    found = 0
    for row in suppression_db.of_digest(session, digest):
        if row.listed_at is None:
            suppression_db.remove(session, [row.id])
        else:
            row.sealed, row.note, found = None, pseudonym, found + 1
    return found
