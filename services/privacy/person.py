"""A person, as far as anything here knows one: an address, however it is written."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from database import mail_index_db, person_db
from database.attempt_db import EmailAttempt
from database.outbox_db import OutboxMail
from services import address_key
from services.accounts.fields import email_and_key
from services.address_key import MISSING, KeyAway
from utils.addresses import ascii_recipient, mask_address
from utils.errors import Conflict, InvalidInput

T = TypeVar("T")


class AddressHolder:
    """One address in all its spellings. Raises InvalidInput for what is none."""

    def __init__(self, text: str) -> None:
        try:
            self.address, self.key = email_and_key(text.strip())
        except InvalidInput as refused:
            raise InvalidInput({"address": refused.errors["email"]}) from None
        self.on_the_wire = ascii_recipient(self.address)
        self.masked = mask_address(self.address)
        self._spellings = tuple(dict.fromkeys((self.on_the_wire, self.address)))
        self._canonical = address_key.canonical(self.on_the_wire)
        self._patterns = [person_db.pattern(spelling) for spelling in self._spellings]

    def is_it(self, address: str) -> bool:
        return address_key.canonical(address) == self._canonical

    def names(self, text: str) -> bool:
        """Whether a text names the address, however it is written."""
        return any(pattern.search(text) for pattern in self._patterns)

    def replaced(self, text: str, pseudonym: str) -> str:
        """The text with the pseudonym in the place of the address, however it is written."""
        for pattern in self._patterns:
            text = pattern.sub(pseudonym, text)
        return text

    def each(self, find: Callable[[Session, str], Sequence[T]], session: Session) -> list[T]:
        """What is found by one spelling or another, each once."""
        found: dict[Any, T] = {}
        for spelling in self._spellings:
            found |= {id(row): row for row in find(session, spelling)}  # a session has one object of a row
        return list(found.values())

    def mails(self, session: Session) -> Iterator[OutboxMail]:
        """The queued mails that go to the person."""
        rows = person_db.mails(session, self._canonical, self.number())
        return (row for row in rows if any(self.is_it(each["address"]) for each in row.recipients))

    def direct(self, session: Session) -> list[EmailAttempt]:
        """The attempts at mail that was sent to the person directly, the oldest first."""
        number = self.number()
        return mail_index_db.attempts_at(session, number) if number is not None else []

    def number(self) -> int | None:
        """What stands for the address where mail is found; None while there is no key. Raises Conflict."""
        try:
            key = address_key.find()
        except KeyAway:
            raise Conflict(MISSING) from None
        return address_key.number(key, self.on_the_wire) if key else None

    def elsewhere(self, session: Session) -> dict[str, int]:
        """In how many places the address is used on purpose, and stays."""
        return {
            "accounts": len(person_db.accounts(session, self.key)),
            "senders": len(person_db.senders(session, self.key)),
            "servers": len(self.each(person_db.servers, session)),
        }
