"""Another address for one's own account: asked for with the password, in effect once a link mailed there is followed.

So a slip of the finger locks nobody out, and nobody takes an address that is somebody else's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from database import address_change_db, user_db
from database.engine import reading, transaction
from services import audit
from services.accounts import accounts, fields, reset_links
from services.accounts.sessions import subject_of
from services.audit import Action
from services.outbox import leaving, notices, owner_notices
from utils import clock
from utils.encryption_utils import digest
from utils.errors import InvalidInput

KEPT: Final = timedelta(days=1)


@dataclass(frozen=True)
class Pending:
    """What waits to be confirmed, and until when it can be."""

    username: str
    email: str
    expires_at: datetime


def ask(account_id: int, password: str, new_email: str) -> Pending:
    """Mail a link to a new address of one's own, and a warning to the present one.

    Raises InvalidInput with the fields email_password and email.
    """
    account = accounts.verified(account_id, password, field="email_password")
    email, key = fields.email_and_key(new_email)
    if email == account.email:
        raise InvalidInput({"email": ["This is already your account’s address."]})
    now = clock.now()
    with transaction() as session:
        held = accounts.unchanged(session, account)
        accounts.refuse_taken_email(session, key, account_id)
        reset_links.mail_confirmation(session, held, email, now)
        notices.address_change_asked(session, held.email, email, now)
        audit.record(session, Action.EMAIL_CHANGE_ASKED, subject_of(held))
        return Pending(held.username, email, now + reset_links.ADDRESS_LIFE)


def pending(account_id: int) -> Pending | None:
    """What this account waits for."""
    with reading() as session:
        change = address_change_db.find(session, account_id, clock.now())
        account = user_db.find(session, account_id)
    return Pending(account.username, change.email, change.expires_at) if change and account else None


def withdraw(account_id: int) -> None:
    """Keep the address as it is: the link that was mailed is void."""
    with transaction() as session:
        account = user_db.lock(session, account_id)
        if account and address_change_db.find(session, account_id, clock.now()):
            reset_links.void_address_change(session, account_id)
            audit.record(session, Action.EMAIL_CHANGE_WITHDRAWN, subject_of(account))


def find_valid(token: str) -> Pending | None:
    """What this token confirms, or None. Uses nothing up."""
    with reading() as session:
        found = address_change_db.find_good(session, digest(token), clock.now())
    return Pending(found[1].username, found[0].email, found[0].expires_at) if found else None


def confirm(token: str) -> bool:
    """Let the account have the address that this token was mailed to; False if the token is not good (any more).

    Links that were mailed to the old address are void, and it is told. Raises InvalidInput with the field email if
    another account has the address meanwhile.
    """
    with reading() as session:
        seen = address_change_db.find_good(session, digest(token), clock.now())
    if seen is None:
        return False
    with transaction() as session:
        account = user_db.lock(session, seen[1].id)
        found = address_change_db.find_good(session, digest(token), clock.now())
        if account is None or found is None:
            return False
        old, (new, key) = account.email, fields.email_and_key(found[0].email)
        accounts.refuse_taken_email(session, key, account.id)
        account.email, account.email_key = new, key
        accounts.flush_names(session, "email", "address")
        reset_links.void(session, account.id)
        has_server = leaving.address_changed(session, account.id)
        audit.record(session, Action.EMAIL_CHANGED, subject_of(account), by=account.username)
        notices.address_changed(session, old, new, clock.now())
        if has_server:
            owner_notices.server_retired(session, new)
    return True


def tidy() -> None:
    """Forget what nobody confirmed in time."""
    with transaction() as session:
        address_change_db.delete_expired(session, clock.now() - KEPT)
