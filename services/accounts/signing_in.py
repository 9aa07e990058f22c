"""Signing in under limits: whoever guesses is stopped, and nobody can shut others out of a browser that they use.

A browser in which somebody has signed in before has a count of its own. Others are counted by account and network, by
network alone, and by account over all of them.
"""

from typing import Final

from database import user_db
from database.engine import reading, transaction
from database.user_db import Account
from services import audit
from services.accounts import accounts, devices, fields, tries
from services.accounts.accounts import Person
from services.accounts.sessions import subject_of
from services.accounts.tries import LOCKED_AFTER, Count
from services.audit import Action
from utils.errors import NotFound

MOST_OF_ACCOUNT: Final = 10  # in a window of 15 minutes: in one browser, or from one network
MOST_OF_CLIENT: Final = 20


def sign_in(login: str, password: str, *, client: str, device: str) -> Person | None:
    """Who signs in with this name or address and this password; None if they are wrong.

    ``client`` is the network that asks, ``device`` the cookie of a browser that signed in before, or "".
    Raises TooMany or Locked.
    """
    with reading() as session:
        account = user_db.find_by_login(session, fields.login_key(login))
    concerned = subject_of(account) if account else accounts.UNKNOWN
    with tries.counted(_counts(account, login, client, device), concerned) as attempt:
        person = accounts.authenticate(login, password)
        attempt.succeeded = person is not None
    return person


def unlock(login: str) -> Person:
    """Forget the failed sign-ins of an account. Raises NotFound."""
    with transaction() as session:
        account = user_db.find_by_login(session, fields.login_key(login))
        if account is None:
            raise NotFound("No such account. See: flask account list")
        tries.forget(session, tries.of_account(account.id))
        audit.record(session, Action.UNLOCKED, subject_of(account))
    return accounts.get(account.id)


def _counts(account: Account | None, login: str, client: str, device: str) -> list[Count]:
    """By account, whichever of its names was typed; by what was typed, where nobody has that name."""
    who = tries.of_account(account.id) if account else f"name {fields.login_key(login) or login}"
    known = devices.knows(device, account.id) if account else None
    if known is not None:
        own = Count(f"browser {known}", who, MOST_OF_ACCOUNT, of="this browser")
        if tries.in_a_row(own) < LOCKED_AFTER:
            return [own]
    return [
        Count(f"network {client}", most=MOST_OF_CLIENT, of="this network"),
        Count(f"network {client} {who}", who, MOST_OF_ACCOUNT, of="this network"),
        Count(who, who, slows=True, of="browsers that have not signed in before"),
    ]
