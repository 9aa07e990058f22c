"""Forgotten passwords. The request only writes down that somebody asked; a worker looks up, limits and queues a mail.

So whoever asks learns nothing, neither from the answer nor from its time: known and unknown addresses cause
the same one insert. What waits survives a restart, since the row is the truth and a wake-up only a hint.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import reset_request_db, reset_token_db, user_db
from database.engine import reading, transaction
from database.reset_request_db import DONE, ResetRequest
from services.accounts import accounts, fields, reset_links
from services.audit import Action
from utils import clock
from utils.encryption_utils import digest
from utils.listeners import Listeners

REQUEST_LIFE: Final = timedelta(hours=1)
MAILS_PER_HOUR: Final = 3
KEPT: Final = timedelta(days=1)

new_request: Final = Listeners()  # told whenever somebody has asked for a reset


@dataclass(frozen=True)
class OpenLink:
    """A link that is good: whose it is, until when, and whether it is to choose the account's first password."""

    account_id: int
    username: str
    expires_at: datetime
    is_invitation: bool


def request_reset(address: str) -> None:
    """Write down that a reset of this address was asked for; whether it is anybody's is not looked up.

    Raises InvalidInput with the field email for what is no address by its form.
    """
    address = fields.email_and_key(address)[0]
    with transaction() as session:
        reset_request_db.add(session, address, clock.now())
    new_request.tell()


def process_requests() -> int:
    """Answer every request that waits, each in one transaction with the mail that it leads to; how many there were."""
    answered = 0
    while _answer_next():
        answered += 1
    return answered


def tidy() -> None:
    """Delete requests that were answered, and links that expired, more than a day ago."""
    before = clock.now() - KEPT
    with transaction() as session:
        reset_request_db.delete_done(session, before)
        reset_token_db.delete_expired(session, before)


def find_valid(token: str) -> OpenLink | None:
    """What this token is good for, or None. Uses nothing up."""
    with reading() as session:
        found = reset_token_db.find_good(session, digest(token), clock.now())
    if found is None:
        return None
    link, account = found
    return OpenLink(account.id, account.username, link.expires_at, not account.password_hash)


def redeem(token: str, new_password: str) -> bool:
    """Use the token and change its account's password, both or neither; False if the token is not good.

    Every session ends, every other link and API token is void, a notice is queued. Raises InvalidInput with the field
    password for one that is not accepted; the token stays good then.
    """
    now = clock.now()
    with reading() as session:
        found = reset_token_db.find_good(session, digest(token), now)
    if found is None:
        return False
    seen = found[1]
    password_hash = fields.new_password_hash(seen, new_password)
    with transaction() as session:
        # Held first, so that of two links of one account the second finds itself void, and a disabled one none.
        account = user_db.lock(session, seen.id)
        if account is None or account.disabled_at or not reset_token_db.use(session, digest(token), seen.id, now):
            return False
        action = Action.PASSWORD_RESET if account.password_hash else Action.INVITATION_ACCEPTED
        accounts.put_password(session, account, password_hash, now, action)
    return True


def _answer_next() -> bool:
    """Answer the request that has waited the longest; False if none waits."""
    with transaction() as session:
        request = reset_request_db.take_waiting(session)
        if request:
            _answer(session, request, clock.now())
    return request is not None


def _answer(session: Session, request: ResetRequest, now: datetime) -> None:
    """Settle a request and forget whom it named. Only the address of an enabled account leads to a mail."""
    account = user_db.find_by_email(session, user_db.comparable(request.address))
    account = user_db.lock(session, account.id) if account else None
    is_in_time = now < request.created_at + REQUEST_LIFE
    if account and not account.disabled_at and is_in_time and not _is_over_limit(session, account.id, now):
        reset_links.mail_new(session, account, now)
        request.account_id = account.id
    request.state, request.address = DONE, ""


def _is_over_limit(session: Session, account_id: int, now: datetime) -> bool:
    return reset_request_db.answered_since(session, account_id, now - timedelta(hours=1)) >= MAILS_PER_HOUR
