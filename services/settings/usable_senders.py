"""From which addresses an account may send through its own server: one rule for saving, sending and the route."""

from sqlalchemy.orm import Session

from database import driver as driver_path
from database import sender_db, smtp_db
from database.engine import reading_in
from utils.addresses import InvalidAddress, ascii_address
from utils.numbers import LARGEST


def key_of(email: str) -> str | None:
    """The form in which two spellings of a From address are the same one; None for what can be none.

    Not as accounts are told apart (``user_db.comparable``), where "ß" and "ss" are one and the same: here a letter
    too many that counts as equal would let somebody write in another's name.
    """
    try:
        local, _, domain = ascii_address(email).rpartition("@")
    except InvalidAddress:
        return None
    return f"{local.lower()}@{domain}"


def may_use(account_id: int, email: str, session: Session | None = None, *, login: str | None = None) -> bool:
    """Whether an account may send from this address: it has confirmed it, signs in at its own server with it, or it
    is the account's own address. Asked in the caller's session if there is one.

    ``login`` is what it is about to sign in with, instead of what is stored.
    """
    key = key_of(email)
    if key is None:
        return False
    with reading_in(session) as own:
        return has_without_confirming(own, account_id, key, login) or sender_db.is_confirmed(own, account_id, key)


def has_without_confirming(session: Session, account_id: int, key: str, login: str | None = None) -> bool:
    """Whether the address with this key is the account's, or what it signs in with at its own server."""
    session.flush()  # what the caller has changed counts
    with driver_path.borrowed(session.connection()) as driver:
        owner = smtp_db.read_owner(driver, account_id) if 0 < account_id <= LARGEST else None
    if owner is None:
        return False
    if login is None:
        login = owner.server.smtp_username if owner.server else ""
    return key in (key_of(owner.email), key_of(login))
