"""The outbox, as callers see it: a mail that was queued is promised, and can be looked up, cancelled and sent again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, SessionTransaction

from database import outbox_add_db, outbox_db, outbox_hold_db, outbox_turn_db, user_db
from database.engine import driver_transaction, reading, transaction
from database.mail_facets import key_of
from database.outbox_db import SETTLED, UNSENT, NewMail, OutboxMail, Priority, Recipient, RecipientState, State
from services import address_key, audit, tracing
from services.audit import Action
from services.message import recording
from services.message.draft import Draft
from services.outbox import content as outbox_content
from services.outbox.reasons import Reason
from services.settings.protection import SECURITY_KINDS
from utils import clock
from utils.encryption_utils import digest
from utils.errors import Conflict, NotFound
from utils.listeners import Listeners

GIVE_UP: Final = timedelta(hours=72)
NO_SUCH: Final = "No such email."
SAME_KEY: Final = "idempotency_key: Another email was queued with this key. Use a new key for different content."
_LONGEST_KEY: Final = 255
_LARGE: Final = 1 << 15  # octets
_WAKES: Final = "sealpost_wakes"

new_mail: Final = Listeners()  # told whenever there is mail to send


class KeyTaken(ValueError):
    """Another mail was queued with this key."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """When a mail goes, and which others it goes before. ``digest`` tells two mails with one key apart.

    ``tag`` is a word of the caller's own, by which the log finds the mail. ``traceparent`` names a trace;
    without, it is the one that the caller is in, if any.
    """

    priority: Priority = Priority.NORMAL
    send_at: datetime | None = None
    expires_at: datetime | None = None
    idempotency_key: str | None = None
    digest: str = ""
    account_id: int | None = None
    tag: str | None = None
    traceparent: str | None = None


def enqueue(mail: Draft, terms: Terms, session: Session | None = None) -> str:
    """Promise a mail, in the caller's transaction if there is one; gives the mail's id.

    Workers hear of it once that transaction is committed. With a key that was used before, nothing is added and the
    first mail's id given. Raises ValueError, naming the argument, for times that cannot be, for a key that was used for
    other content, and for security mail that would be tracked.
    """
    if mail.pixel and (terms.priority is Priority.SECURITY or mail.kind in SECURITY_KINDS):
        raise ValueError("track_opens: Security email is never tracked.")
    row = sealed(mail, terms)
    if recording.take(mail):
        return row["mail_id"]
    return add(row, terms, session)


def add(row: NewMail, terms: Terms, session: Session | None = None) -> str:
    """The second half of ``enqueue``, for whoever has let go of the mail meanwhile: a large one is in memory once less.

    Raises ValueError for a key that was used for other content.
    """
    with tracing.queueing(row["mail_id"], terms.priority.name.lower(), terms.traceparent) as traceparent:
        row["traceparent"] = traceparent
        return _promised(row, terms, session)


def _promised(row: NewMail, terms: Terms, session: Session | None) -> str:
    if session is not None:
        return _added(session, row)
    if terms.idempotency_key is not None:
        with transaction() as own:
            return _added(own, row)
    with driver_transaction() as driver:
        outbox_add_db.add_all(driver, [row])
    new_mail.tell()
    return row["mail_id"]


def cancel(mail_id: str) -> OutboxMail:
    """Withdraw a mail that has not gone yet; gives it as it is then. Raises NotFound; Conflict if it is too late."""
    with transaction() as session:
        if not outbox_db.withdraw(session, mail_id, Reason.CANCELLED, clock.now()):
            raise _too_late(outbox_db.find(session, mail_id), "cancelled")
        audit.record(session, Action.MAIL_CANCELLED, f"mail {mail_id}")
        return _changed(session, mail_id)


def retry(mail_id: str) -> OutboxMail:
    """Send a mail that waits at once, or a dead letter once more, to whoever has not got it; gives it as it is then.

    One that is held is released, to be sent when it is due, or ends if its time is over. Raises NotFound; Conflict if
    there is nothing to send: it was sent, is on its way, or its content is gone.
    """
    now = clock.now()
    with transaction() as session:
        _refuse_for_account(session, mail_id)
        is_over = bool(outbox_hold_db.expire(session, [mail_id], now, Reason.TOO_LATE))
        was_held = is_over or bool(outbox_hold_db.release(session, [mail_id]))
        if not was_held and not outbox_db.change_waiting(session, mail_id, due_at=now):
            row = outbox_db.find(session, mail_id)
            recipients = [once_more(recipient) for recipient in row.recipients] if row else []
            if not outbox_db.revive(session, mail_id, recipients, due_at=now, expires_at=now + GIVE_UP):
                raise _too_late(row, "sent again")
        audit.record(session, Action.MAIL_RELEASED if was_held else Action.MAIL_RETRIED, f"mail {mail_id}")
        changed = _changed(session, mail_id)
        if changed.account_id is not None:
            outbox_turn_db.end_rest(session, changed.account_id)
    new_mail.tell()
    return changed


def _refuse_for_account(session: Session, mail_id: str) -> None:
    """Raises Conflict where the mail's account may send nothing, since it would only be held again."""
    row = outbox_db.find(session, mail_id)
    if row is None or row.account_id is None:
        return
    account = user_db.find(session, row.account_id)
    if account is None:
        raise Conflict("Its account was deleted, so it cannot be sent.")
    if account.disabled_at is not None:
        raise Conflict("Its account is disabled. Enable the account first.")


def are_new(session: Session, terms: Sequence[Terms]) -> list[bool]:
    """Whether each would add a mail, as its key was not used before."""
    keys = [_key(each) for each in terms]
    used = outbox_db.used_keys(session, [key for key in keys if key])
    return [key not in used for key in keys]


def message_id(mail_id: str, session: Session | None = None) -> str | None:
    """The Message-ID of a mail, one that ``session`` has not written yet among them; None if there is no such mail."""
    recorded = recording.find(mail_id)
    if recorded:
        return recorded.message_id
    if session is None:
        with reading() as own:
            return outbox_db.message_id(own, mail_id)
    # The caller may not be done with what else the session would write.
    with session.no_autoflush:
        outbox_add_db.write_pending(session)
        return outbox_db.message_id(session, mail_id)


def sealed(mail: Draft, terms: Terms) -> NewMail:
    """The first half: the mail as the table is to have it. Raises ValueError for times that cannot be."""
    now = clock.now()
    due_at = _aware("send_at", terms.send_at) or now
    expires_at = _aware("expires_at", terms.expires_at) or max(due_at, now) + GIVE_UP
    if expires_at <= max(due_at, now):
        raise ValueError("expires_at: Pass a time after now and after send_at.")
    content, key_id = outbox_content.seal(mail)
    found = address_key.numbers_now(mail.recipients)
    is_ours = mail.message_id.startswith(f"<{mail.mail_id}@")
    return {
        "mail_id": mail.mail_id,
        "message_id": mail.message_id,
        "kind": mail.kind,
        "account_id": terms.account_id,
        "priority": terms.priority,
        "recipients": [{"address": address, "state": RecipientState.PENDING} for address in mail.recipients],
        "content": content,
        "key_id": key_id,
        "idempotency_key": _key(terms),
        "digest": terms.digest if terms.idempotency_key else None,
        "created_at": now,
        "due_at": due_at,
        "expires_at": expires_at,
        "tag": terms.tag or mail.tag or None,
        "pixel": mail.pixel or None,
        "queued_by": audit.actor().origin or None,
        "subject": mail.kept_subject,
        "recipient_key": found.recipient_key,
        "domain_key": found.domain_key,
        "message_key": None if is_ours else key_of(mail.message_id),
        "names": found.names,
    }


def _added(session: Session, row: NewMail) -> str:
    if row["idempotency_key"] is None:
        outbox_add_db.add(session, row, at_once=_is_alone(session, row))
    elif earlier := _same(session, row):
        return earlier
    else:
        session.flush()  # so that what fails now is the key and nothing of the caller's
        outbox_add_db.begin(session)
        try:
            with session.begin_nested():
                outbox_add_db.add(session, row, at_once=True)
        except IntegrityError:  # another process was faster
            earlier = _same(session, row)
            if earlier is None:
                raise
            return earlier
    tell_when_committed(session)
    return row["mail_id"]


def end_rest(session: Session, account_id: int | None) -> None:
    """Let mail of this account, or of all, be taken up again: the caller changes what may have held it up."""
    if account_id is None:
        outbox_turn_db.end_rests(session)
    else:
        outbox_turn_db.end_rest(session, account_id)
    tell_when_committed(session)


def tell_when_committed(session: Session) -> None:
    """Let workers hear of what the caller's transaction has put into the queue, once it is there."""
    if _WAKES in session.info:
        return  # one call for all mails of a transaction
    if not event.contains(session, "after_commit", _committed):  # on this session: others are not ours
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_soft_rollback", _rolled_back)
    session.info[_WAKES] = True


def _is_alone(session: Session, row: NewMail) -> bool:
    """Many mails cost least together; the first of a transaction is often its only one, and large ones fill memory."""
    return _WAKES not in session.info or len(row["content"]) > _LARGE


def _committed(session: Session) -> None:
    # SQLAlchemy calls this for a savepoint that is released, too, when workers would find nothing yet.
    if not session.in_nested_transaction() and session.info.pop(_WAKES, False):
        new_mail.tell()


def _rolled_back(session: Session, previous: SessionTransaction) -> None:
    # A savepoint that is undone may leave other mails of the transaction.
    if previous.parent is None:
        session.info.pop(_WAKES, None)


def _same(session: Session, row: NewMail) -> str | None:
    """The mail that was queued with the same key, if one was. Raises ValueError if it is another mail."""
    earlier = outbox_db.find_by_key(session, row["idempotency_key"] or "")
    if earlier is None:
        return None
    if earlier.digest != row["digest"]:
        raise KeyTaken(SAME_KEY)
    return earlier.mail_id


def _key(terms: Terms) -> str | None:
    """What stands in the table for the caller's key, which is an account's own."""
    if terms.idempotency_key is None:
        return None
    if not isinstance(terms.idempotency_key, str) or not 0 < len(terms.idempotency_key) <= _LONGEST_KEY:
        raise ValueError(f"idempotency_key: Pass 1 to {_LONGEST_KEY} characters.")
    # A digest, so that every key fits.
    return digest(f"{terms.account_id}|{terms.idempotency_key}")


def _aware(argument: str, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError(f"{argument}: Pass a datetime with a time zone.")
    return moment


def once_more(recipient: Recipient) -> Recipient:
    """A recipient of a mail that is to be sent again: whoever has it does not get it twice."""
    accepted = recipient["state"] == RecipientState.ACCEPTED
    return recipient if accepted else {"address": recipient["address"], "state": RecipientState.PENDING}


def _changed(session: Session, mail_id: str) -> OutboxMail:
    """A mail as this transaction leaves it. Once that is committed, the caller needs the database for nothing more."""
    session.expire_all()
    row = outbox_db.find(session, mail_id)
    if row is None:
        raise NotFound(NO_SUCH)
    return row


def _too_late(row: OutboxMail | None, wanted: str) -> NotFound | Conflict:
    if row is None:
        return NotFound(NO_SUCH)
    if row.state not in (*SETTLED, *UNSENT):
        return Conflict(f"This email is being sent now. It cannot be {wanted}.")
    if row.state == State.SENT or wanted == "cancelled":
        return Conflict(f"This email is already {row.state}.")
    return Conflict("Its content was deleted, so it cannot be sent again.")
