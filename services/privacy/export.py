"""What is held about one address: how much of each kind, and all of it as JSON has it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from database import attempt_db, person_db, suppression_db
from database.attempt_db import EmailAttempt, MailTries
from database.engine import reading
from database.outbox_db import OutboxMail
from services import address_key, audit, conversations
from services.address_key import MISSING, AddressKey, KeyAway
from services.audit import Action
from services.outbox import opens
from services.outbox.facts import MessageData, attempt_facts, mail_facts
from services.outbox.opens import OpensData
from services.privacy.person import AddressHolder
from services.smtp.transcript import SpokenLine
from utils import clock
from utils.addresses import mask_address
from utils.errors import Conflict
from utils.json_shapes import json_of

_DIRECT_MAIL: Final = (
    "Email that an earlier version sent directly is not listed: only masked addresses were kept of it, which several "
    "people can share."
)
_NAMED: Final = re.compile(r"C: RCPT TO:<([^<>]+)>", re.IGNORECASE)
_DELETED_BEFORE: Final = "This address was deleted here before. Emails from then name it by a pseudonym."


@dataclass(frozen=True, kw_only=True)
class HeldAbout:
    """How much of each kind is held about an address; ``replies`` are of servers that repeat it, ``conversations`` of
    attempts at mail to it.
    """

    emails: int = 0
    direct_emails: int = 0
    replies: int = 0
    conversations: int = 0
    events: int = 0
    suppressions: int = 0
    accounts: int = 0
    senders: int = 0
    servers: int = 0


def held(address: str) -> HeldAbout:
    """How much is held about an address. Raises InvalidInput."""
    person = AddressHolder(address)
    with reading() as session:
        return HeldAbout(
            emails=len(mails := list(person.mails(session))),
            direct_emails=len(direct := person.direct(session)),
            conversations=_kept(session, mails) + sum(bool(each.conversation) for each in direct),
            replies=len(person.each(person_db.attempts_in_words, session)),
            events=len(person.each(person_db.events, session)),
            suppressions=len(_suppressions(session, person, _key())),
            **person.elsewhere(session),
        )


def export(address: str) -> dict[str, Any]:
    """All that is held about an address; that somebody asked is in the audit trail. Raises InvalidInput."""
    person, key = AddressHolder(address), _key()
    with reading() as session:
        found: dict[str, Any] = {
            "address": person.address,
            "made_at": clock.now().isoformat(),
            "emails": [_mail(session, person, row) for row in person.mails(session)],
            "direct_emails": _direct(session, person),
            "replies": [
                {"at": _iso(row.started_at), "mail_id": row.mail_id, "server": row.server, "reply": row.reply}
                for row in person.each(person_db.attempts_in_words, session)
            ],
            "events": [
                {name: getattr(row, name) for name in ("actor", "source", "action", "subject", "details")}
                | {"at": _iso(row.at)}
                for row in person.each(person_db.events, session)
            ],
            "suppressions": _suppressions(session, person, key),
            "accounts": [
                {"id": row.id, "username": row.username, "email": row.email, "created_at": _iso(row.created_at)}
                for row in person_db.accounts(session, person.key)
            ],
            "address_changes": [
                {"account_id": row.account_id, "email": row.email, "created_at": _iso(row.created_at)}
                for row in person.each(person_db.address_changes, session)
            ],
            "senders": [
                {"account_id": row.account_id, "email": row.email, "created_at": _iso(row.created_at)}
                for row in person_db.senders(session, person.key)
            ],
            "servers": [{"id": row.id, "name": row.name} for row in person.each(person_db.servers, session)],
            "notes": [_DIRECT_MAIL],
        }
        if key and _was_forgotten(session, person, key):
            found["notes"].append(_DELETED_BEFORE)
    audit.note(Action.PERSON_EXPORTED, f"address {person.masked}")
    return found


def _was_forgotten(session: Session, person: AddressHolder, key: AddressKey) -> bool:
    """Whether mail names the pseudonym of the address."""
    pseudonym = key.pseudonym(person.on_the_wire)
    return next(person_db.mails(session, pseudonym, address_key.number(key, pseudonym)), None) is not None


def _mail(session: Session, person: AddressHolder, row: OutboxMail) -> dict[str, Any]:
    """A mail, without its other recipients: they are other people."""
    rows = attempt_db.of_mail(session, row.mail_id)
    attempts = [attempt_facts(each) for each in rows]
    others = [each["address"] for each in row.recipients if not person.is_it(each["address"])]
    said = _conversations(session, rows)
    told = json_of(MessageData, mail_facts(row, MailTries(len(attempts))))
    told["recipients"] = [each for each in told["recipients"] if person.is_it(each["address"])]
    told["subject"] = row.subject
    told["attempts"] = [
        {"at": _iso(each.at), "server": each.server, "outcome": each.outcome, "code": each.code}
        | _without(others, said.get(stored.conversation or ""))
        for each, stored in zip(attempts, rows, strict=True)
    ]
    if row.pixel:
        told["opens"] = json_of(OpensData, opens.of_mail(session, row.mail_id))
    return told


def _kept(session: Session, mails: Iterable[OutboxMail]) -> int:
    """Of how many attempts at these mails it is kept what was said."""
    return sum(bool(each.conversation) for mail in mails for each in attempt_db.of_mail(session, mail.mail_id))


def _conversations(session: Session, rows: Iterable[EmailAttempt]) -> dict[str, list[SpokenLine] | None]:
    return conversations.of_ids(session, [row.conversation for row in rows if row.conversation])


def _without(others: Iterable[str], said: Iterable[SpokenLine] | None) -> dict[str, list[str]]:
    """What was said in an attempt, the other people's addresses masked; nothing where it is not kept."""
    if said is None:
        return {}
    lines = [line.text for line in said]
    for address in others:
        hidden = person_db.pattern(address)
        lines = [hidden.sub(mask_address(address), line) for line in lines]
    return {"conversation": lines}


def _direct(session: Session, person: AddressHolder) -> list[dict[str, Any]]:
    """The mails that were sent directly, each attempt by itself, without the other recipients."""
    rows = person.direct(session)
    said = _conversations(session, rows)
    names = ("message_id", "kind", "server", "outcome", "code", "enhanced", "tag", "subject")
    return [
        {"at": _iso(row.started_at)}
        | {name: getattr(row, name) for name in names}
        | _own_lines(person, said.get(row.conversation or ""))
        for row in rows
    ]


def _own_lines(person: AddressHolder, said: Iterable[SpokenLine] | None) -> dict[str, list[str]]:
    """The same of a mail of which only the conversation names the others."""
    lines = list(said or ())
    named = [found[1] for line in lines if (found := _NAMED.match(line.text))]
    return _without([each for each in named if not person.is_it(each)], None if said is None else lines)


def _suppressions(session: Session, person: AddressHolder, key: AddressKey | None) -> list[dict[str, Any]]:
    """The entries of the suppression list, and refusals that are only counted."""
    rows = suppression_db.of_digest(session, key.digest(person.on_the_wire)) if key else []
    names = ("reason", "source", "code", "enhanced", "mail_id", "refusals", "note", "added_by")
    moments = ("created_at", "listed_at", "ends_at", "accepted_at")
    return [
        {name: getattr(row, name) for name in names} | {name: _iso(getattr(row, name)) for name in moments}
        for row in rows
    ]


def _key() -> AddressKey | None:
    try:
        return address_key.find()
    except KeyAway:
        raise Conflict(MISSING) from None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
