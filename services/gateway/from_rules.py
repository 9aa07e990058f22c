"""From which address a program may send: what an account may use, and what becomes of another as the account chose."""

from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import gateway_db, user_db
from database.engine import reading_in, transaction
from services import audit
from services.audit import Action
from services.gateway.replies import Rejection
from services.settings import route, usable_senders
from utils.errors import NotFound


class ForeignFrom(StrEnum):
    """What becomes of a mail from an address that its account may not use."""

    REFUSE = "refuse"
    REWRITE = "rewrite"  # it is from the server's address, in the account's name, as when another's server stands in


MEANINGS: Final = {
    ForeignFrom.REFUSE: "Refuse email from an address that is not yours.",
    ForeignFrom.REWRITE: "Send it from the server’s own address, with your name, and with your address for replies.",
}


def chosen(account_id: int, session: Session | None = None) -> ForeignFrom:
    """What the account chose; REFUSE where it did not."""
    with reading_in(session) as own:
        saved = gateway_db.choice(own, account_id)
    return ForeignFrom.REWRITE if saved == ForeignFrom.REWRITE else ForeignFrom.REFUSE


def choose(account_id: int, foreign_from: ForeignFrom) -> None:
    """Remember the account's choice. Raises NotFound for an account that is gone."""
    with transaction() as session:
        account = user_db.lock(session, account_id)
        if account is None:
            raise NotFound("No such account.")
        gateway_db.choose(session, account_id, foreign_from)
        audit.record(session, Action.UPDATED, f"gateway of {account.username}", [foreign_from.value])


def usable(session: Session, account_id: int | None, address: str) -> str | Rejection:
    """The From that a message may keep, "" where another has to stand there, or why it is refused.

    ``address`` is what it says, "" for nothing that could be kept. Mail of no account is the system's, from a network
    that administrators trust: at its server it keeps the From that is the server's own.
    """
    if account_id is None:
        return address
    if address and may_use(session, account_id, address):
        return address
    if chosen(account_id, session) is ForeignFrom.REWRITE:
        return ""
    return Rejection.NOT_YOUR_FROM if address else Rejection.NO_FROM


def may_use(session: Session, account_id: int, address: str) -> bool:
    """Whether the address is the account's, or the global server's own and its owner an administrator, who sets it."""
    if usable_senders.may_use(account_id, address, session):
        return True
    account = user_db.find(session, account_id)
    if account is None or not account.is_admin:
        return False
    server = route.first_usable(None, session)
    if server is None or server.settings is None:
        return False
    return usable_senders.key_of(server.settings.from_email) == usable_senders.key_of(address)
