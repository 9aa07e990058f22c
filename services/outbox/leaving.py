"""When an account is disabled or deleted: its queued mail is held, and goes by no other server; its secrets are erased.

What is held so goes on when the account is enabled again. Of a deleted one it ends when its time is over.
"""

from sqlalchemy.orm import Session

from database import outbox_hold_db, user_db
from database.engine import transaction
from services.outbox import promise
from services.outbox.reasons import Reason
from services.settings import own_rows
from utils import clock


def hold(account_id: int) -> bool:
    """Hold what is queued for an account that may send nothing; False if it may."""
    with transaction() as session:
        account = user_db.lock(session, account_id)  # who enables it meanwhile finds what is held
        if account is not None and account.disabled_at is None:
            return False
        reason = Reason.ACCOUNT_DELETED if account is None else Reason.ACCOUNT_DISABLED
        outbox_hold_db.hold_of(session, account_id, reason)
    return True


def disabled(session: Session, account_id: int) -> None:
    """With the caller's change, which disables the account: the password of its own server is not kept either."""
    outbox_hold_db.hold_of(session, account_id, Reason.ACCOUNT_DISABLED)
    own_rows.erase_secrets(session, account_id)


def enabled(session: Session, account_id: int) -> None:
    """With the caller's change, which enables it again."""
    mail_ids = outbox_hold_db.held_for(session, account_id, Reason.ACCOUNT_DISABLED)
    if mail_ids:
        outbox_hold_db.expire(session, mail_ids, clock.now(), Reason.TOO_LATE)
        outbox_hold_db.release(session, mail_ids)
        promise.end_rest(session, account_id)


def deleted(session: Session, account_id: int) -> None:
    """With the caller's change, which deletes it: its server goes with its row, and what was granted for it ends."""
    outbox_hold_db.hold_of(session, account_id, Reason.ACCOUNT_DELETED, again=True)
    own_rows.disconnect(session, account_id)


def address_changed(session: Session, account_id: int) -> bool:
    """With the caller's change of its address: whether its own server, if it has one, is not used from now on."""
    return own_rows.retire(session, account_id, own_rows.ADDRESS_CHANGED)


def tidy() -> None:
    """Let end what is held for accounts that are gone, once its time is over."""
    with transaction() as session:
        outbox_hold_db.expire_for(session, Reason.ACCOUNT_DELETED, clock.now())
