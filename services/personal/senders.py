"""From addresses of an account's own: asked for by the account, good once a link that was mailed there is followed."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import outbox_db, sender_db, smtp_db, user_db
from database.engine import reading, transaction
from database.sender_db import AccountSender
from database.user_db import Account
from services import audit
from services.accounts.reset_links import TOKEN_BYTES
from services.accounts.sessions import subject_of
from services.audit import Action
from services.outbox import template_mail
from services.outbox.reasons import Reason
from services.personal import mail_budget
from services.settings import personal_policy, usable_senders
from services.settings.personal_policy import Allowed
from services.settings.personal_route import ALL_OFF
from services.settings.usable_senders import key_of
from utils import clock
from utils.addresses import InvalidAddress, parse_address
from utils.encryption_utils import digest
from utils.errors import Conflict, Forbidden, InvalidInput, NotFound
from utils.numbers import LARGEST
from utils.same_names import shared

LIFE: Final = timedelta(hours=24)
MOST: Final = 50  # that one account may have
NO_SUCH: Final = "No such sender."
_KEPT: Final = timedelta(days=7)
_IN_USE: Final = "Your server sends from this address. Choose another From address there, then remove this one."

may_use = usable_senders.may_use


@dataclass(frozen=True, kw_only=True)
class SenderInfo:
    """An address that an account sends from, or wants to: then its link is good until ``expires_at``."""

    id: int
    email: str
    created_at: datetime
    confirmed_at: datetime | None
    expires_at: datetime | None
    has_link: bool

    @property
    def is_confirmed(self) -> bool:
        return self.confirmed_at is not None

    @property
    def has_expired(self) -> bool:
        """Whether its link confirms nothing any more, by its time or since the account was changed."""
        return not self.is_confirmed and (
            not self.has_link or self.expires_at is None or self.expires_at <= clock.now()
        )


@dataclass(frozen=True)
class Asked:
    """What a link asks: may this account send from this address?"""

    username: str
    email: str
    expires_at: datetime


def every(account_id: int) -> list[SenderInfo]:
    """An account's senders, confirmed or not."""
    with reading() as session:
        return [_info(row) for row in sender_db.of_account(session, account_id)]


def add(account_id: int, email: str) -> SenderInfo:
    """Mail a link to an address that the account wants to send from; nothing for one that is confirmed already.

    Raises InvalidInput with the field email, Conflict if there are too many, Forbidden while accounts may have no
    servers; TooMany if too many links were mailed there, or for this account.
    """
    try:
        address = parse_address(email)
    except InvalidAddress as refused:
        raise InvalidInput({"email": [str(refused)]}) from None
    key = key_of(address) or address
    if len(key) > user_db.LONGEST_EMAIL_KEY:
        raise InvalidInput({"email": ["The address is too long."]})
    with transaction() as session:
        account = _held(session, account_id)
        sender_db.delete_stale(session, account_id, clock.now() - _KEPT)
        row = sender_db.find_by_key(session, account_id, key)
        if row is None:
            if sender_db.count_of(session, account_id) >= MOST:
                raise Conflict(f"An account has at most {MOST} senders. Remove one that you no longer use.")
            row = AccountSender(account_id=account_id, email=address, email_key=key, created_at=clock.now())
            session.add(row)
            session.flush()
        if row.confirmed_at is None:
            _mail(session, account, row)
        return _info(row)


def send_again(account_id: int, sender_id: int) -> SenderInfo:
    """Mail another link; the one before is void. Raises NotFound, Conflict for one that is confirmed, TooMany."""
    with transaction() as session:
        account = _held(session, account_id)
        row = _found(session, account_id, sender_id)
        if row.confirmed_at is not None:
            raise Conflict("This sender is already confirmed.")
        _mail(session, account, row)
        return _info(row)


def remove(account_id: int, sender_id: int) -> SenderInfo:
    """Forget a sender; a link that was mailed for it is void. Gives what it was.

    Raises NotFound; Conflict while the account's own server sends from it and could not without its being confirmed.
    """
    with transaction() as session:
        account = user_db.lock(session, account_id)  # so that nobody saves a server with this From meanwhile
        row = _found(session, account_id, sender_id)
        if account is None:
            raise NotFound(NO_SUCH)
        _refuse_in_use(session, row)
        _withdraw(session, row)
        sender_db.remove(session, row.id)
        audit.record(session, Action.SENDER_REMOVED, subject_of(account), [row.email])
        return _info(row)


def find_valid(token: str) -> Asked | None:
    """What this token confirms, or None. Uses nothing up."""
    with reading() as session:
        found = sender_db.find_good(session, digest(token), clock.now())
    return _asked(*found) if found else None


def confirm(token: str) -> Asked | None:
    """Let the account send from the address that this token was mailed to; None if it is not good (any more)."""
    with reading() as session:
        seen = sender_db.find_good(session, digest(token), clock.now())
    if seen is None:
        return None
    with transaction() as session:
        # Held first, so that of two who follow the link at once the second finds it used.
        user_db.lock(session, seen[1].id)
        found = sender_db.find_good(session, digest(token), clock.now())
        if found is None:
            return None
        row, account = found
        asked = _asked(row, account)
        row.confirmed_at, row.token_hash, row.expires_at, row.mail_id = clock.now(), None, None, None
        audit.record(session, Action.SENDER_CONFIRMED, subject_of(account), [row.email], by=account.username)
        return asked


def _held(session: Session, account_id: int) -> Account:
    """The account, held, which may have senders. Raises NotFound or Forbidden."""
    account = user_db.lock(session, account_id)
    if account is None or account.disabled_at:
        raise NotFound("No such account.")
    if personal_policy.current(session).allowed is Allowed.OFF:
        raise Forbidden(ALL_OFF)
    return account


def _found(session: Session, account_id: int, sender_id: int) -> AccountSender:
    row = sender_db.find(session, account_id, sender_id) if 1 <= sender_id <= LARGEST else None
    if row is None:
        raise NotFound(NO_SUCH)
    return row


def _mail(session: Session, account: Account, row: AccountSender) -> None:
    """Mail a link for this row, through the global server as every mail of the system; the one before is void."""
    mail_budget.spend(session, *mail_budget.of_account(account.id), *mail_budget.of_address(row.email_key))
    _withdraw(session, row)
    token, expires_at = secrets.token_urlsafe(TOKEN_BYTES), clock.now() + LIFE
    link = template_mail.link("/confirm-sender", token)
    values = {"username": account.username, "email": row.email, "confirm_url": link}
    row.mail_id = template_mail.queue(session, row.email, "sender_confirmation", expires_at, **values)
    row.token_hash, row.expires_at = digest(token), expires_at
    audit.record(session, Action.SENDER_ADDED, subject_of(account), [row.email])


def _withdraw(session: Session, row: AccountSender) -> None:
    if row.mail_id:
        outbox_db.withdraw(session, row.mail_id, Reason.LINK_VOID, clock.now())


def _refuse_in_use(session: Session, row: AccountSender) -> None:
    own = smtp_db.find_own(session, row.account_id)
    is_from = own is not None and key_of(own.from_email) == row.email_key
    if is_from and not usable_senders.has_without_confirming(session, row.account_id, row.email_key):
        raise Conflict(_IN_USE)


def _asked(row: AccountSender, account: Account) -> Asked:
    return Asked(account.username, row.email, row.expires_at or row.created_at)


def _info(row: AccountSender) -> SenderInfo:
    return SenderInfo(**shared(SenderInfo, row), has_link=row.token_hash is not None)
