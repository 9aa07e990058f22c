"""Mail that is held after a back-up was restored: what was sent since then waits in it as if it had not been.

Nobody can tell the two apart, so people decide: released mail goes on as it was, and by its own rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from database import mail_deed_db, outbox_hold_db
from database.engine import reading, transaction
from services import audit
from services.audit import Action
from services.outbox import promise
from services.outbox.reasons import HELD_FOR_ACCOUNT, Reason
from utils import clock
from utils.errors import Conflict
from utils.log_utils import printable
from utils.numbers import counted

# Since the back-up its account may have been enabled and the mail sent: then it must not go on by itself once more.
_MAY_GO_ON: Final = (Reason.ACCOUNT_DISABLED,)
_ID: Final = 40  # characters of what is no id
WHAT_TO_DO: Final = "To send held email: flask mail release --all. To cancel it: flask mail cancel --held"


@dataclass(frozen=True, kw_only=True)
class Held:
    """How many mails are held by now, and how many a worker is handing over, which nothing can stop."""

    held: int
    being_sent: int


@dataclass(frozen=True, kw_only=True)
class Released:
    """How many mails wait again, and how many ended since their time was over."""

    released: int
    expired: int


def hold_all() -> Held:
    """Hold all mail that is not settled, but for what a worker is handing over."""
    with transaction() as session:
        mail_deed_db.stop_all(session, clock.now())
        held = outbox_hold_db.hold_all(session, Reason.HELD, clock.now(), _MAY_GO_ON)
        being_sent = outbox_hold_db.being_sent(session)
        audit.record(session, Action.MAIL_HELD, counted(held, "mail"))
    return Held(held=held, being_sent=being_sent)


def hold_restored(session: Session) -> int:
    """The same in a database that no worker knows: what was being handed over there is of unknown fate."""
    return outbox_hold_db.hold_all(session, Reason.HELD, None, _MAY_GO_ON)


def stop_restored_deeds(session: Session) -> None:
    """Stop what acts on many mails in such a database: what it would send again may have been so since."""
    mail_deed_db.stop_all(session, clock.now())


def release_all() -> Released:
    """Let all held mail wait again."""
    with transaction() as session:
        found = _release(session, None)
    promise.new_mail.tell()
    return found


def release(mail_ids: Sequence[str]) -> Released:
    """Let these mails wait again, or none of them. Raises Conflict, which names the first that is not held."""
    wanted = list(dict.fromkeys(mail_ids))
    with transaction() as session:
        held = outbox_hold_db.held_among(session, wanted)
        if strangers := [each for each in wanted if each not in held]:
            raise Conflict(f"“{printable(strangers[0], _ID)}” is not a held email.")
        found = _release(session, wanted)
    promise.new_mail.tell()
    return found


def cancel_all() -> int:
    """Withdraw all held mail; how many."""
    with transaction() as session:
        cancelled = outbox_hold_db.cancel(session, clock.now(), Reason.CANCELLED, HELD_FOR_ACCOUNT)
        audit.record(session, Action.MAIL_CANCELLED, f"{counted(cancelled, 'held email')}")
    return cancelled


def count() -> int:
    """How many mails are held until somebody releases them."""
    with reading() as session:
        return outbox_hold_db.count(session, HELD_FOR_ACCOUNT)


def told(held: int) -> str:
    """That so many are held, and what to do, as sentences; "" for none."""
    if not held:
        return ""
    return f"{counted(held, 'email')} {'is' if held == 1 else 'are'} held since a back-up was restored. {WHAT_TO_DO}."


def _release(session: Session, mail_ids: Sequence[str] | None) -> Released:
    expired = outbox_hold_db.expire(session, mail_ids, clock.now(), Reason.TOO_LATE, HELD_FOR_ACCOUNT)
    released = outbox_hold_db.release(session, mail_ids, HELD_FOR_ACCOUNT)
    if released or expired:
        late = [f"{counted(expired, 'email')} too late"] if expired else []
        audit.record(session, Action.MAIL_RELEASED, counted(released, "mail"), late)
    return Released(released=released, expired=expired)
