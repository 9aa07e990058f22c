"""A link for whoever is locked out, given by somebody with a shell of the machine: it signs in once, and soon ends."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from database import sign_in_link_db, user_db
from database.engine import reading, transaction
from database.sign_in_link_db import SignInLink
from services import audit
from services.accounts import accounts, fields
from services.accounts.accounts import Person
from services.accounts.reset_links import TOKEN_BYTES
from services.accounts.sessions import subject_of
from services.audit import Action
from utils import clock
from utils.encryption_utils import digest
from utils.env_utils import get_base_url
from utils.errors import Conflict, NotFound

LIFE: Final = timedelta(minutes=15)
PATH: Final = "/login/link"


@dataclass(frozen=True)
class GoodLink:
    """Whom a link lets in, and until when."""

    username: str
    expires_at: datetime


def issue(login: str) -> str:
    """A new link for an account, by its user name or address; those before it are void. Raises NotFound or Conflict."""
    token, now = secrets.token_urlsafe(TOKEN_BYTES), clock.now()
    with transaction() as session:
        account = user_db.find_by_login(session, fields.login_key(login))
        if account is None:
            raise NotFound("No such account. See: flask account list")
        if account.disabled_at:
            raise Conflict(f"{account.username} is disabled. First: flask account enable {account.username}")
        sign_in_link_db.forget(session, account.id, now)
        session.add(SignInLink(account_id=account.id, token_hash=digest(token), expires_at=now + LIFE))
        audit.record(session, Action.SIGN_IN_LINK_ISSUED, subject_of(account))
    return f"{get_base_url()}{PATH}?token={token}"


def find_valid(token: str) -> GoodLink | None:
    """Whom this link lets in, or None. Uses nothing up."""
    with reading() as session:
        found = sign_in_link_db.find_good(session, digest(token), clock.now())
    return GoodLink(found[1].username, found[0].expires_at) if found else None


def redeem(token: str) -> Person | None:
    """Use a link up; whom it lets in, or None if it is not good."""
    with transaction() as session:
        found = sign_in_link_db.find_good(session, digest(token), clock.now())
        if found is None or not sign_in_link_db.use(session, found[0].id):
            return None
        return accounts.person_of(found[1])
