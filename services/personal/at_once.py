"""One attempt now, for who waits for it: the mail is queued and claimed in one transaction, and tried in this process.

So nobody else sends it meanwhile, whoever works off the queue, and whether anybody does; and if this process dies, its
lease runs out and the queue goes on with it, as with every other mail.
"""

import secrets
import threading
from collections import Counter
from functools import partial
from typing import Final

from flask import Flask, current_app
from sqlalchemy.orm import Session

from database import outbox_claim_db
from database.driver import borrowed
from database.outbox_claim_db import LeaseTerms
from services.outbox import promise
from services.worker import groups, lease
from services.worker.lease import Group, Heartbeat, Pace
from utils import clock, ending, incidents

SECONDS: Final = 20.0  # that a caller waits; a server that is slower than that is waited for without the caller
PLACES: Final = 3  # attempts at once in this process, since each holds a thread of the server for that long
PLACES_OF_ONE: Final = 2  # of them for one account

_busy: Final[Counter[int | None]] = Counter()
_lock: Final = threading.Lock()


class Attempt:
    """A place among the attempts of this process, and the mail that it is for once one is claimed."""

    def __init__(self, account_id: int | None) -> None:
        self._account_id = account_id
        self._pace = Pace()
        self._group: Group | None = None
        self._done = threading.Event()

    def claim(self, session: Session, mail_id: str) -> None:
        """Take the mail, within the transaction that queues it."""
        now = clock.now()
        terms = LeaseTerms(now, now + self._pace.lease, secrets.token_hex(16), lease.worker_name())
        with borrowed(session.connection()) as driver:
            claim = outbox_claim_db.claim_this(driver, mail_id, terms)
        if claim:
            self._group = Group(worker=terms.worker, token=terms.token, claims=[claim])

    def leave(self) -> None:
        """Give the place up."""
        with _lock:
            _busy[self._account_id] -= 1
            if not _busy[self._account_id]:
                del _busy[self._account_id]

    def run(self) -> bool:
        """Try the mail, and come back once that is over, or took too long to be waited for; whether it was tried."""
        if self._group is None:
            self.leave()
            return False
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        # No daemon: a process that ends gives it the time to write down what became of the mail.
        work = incidents.watched(partial(self._try, app, self._group))
        try:
            threading.Thread(target=work, name="mail-at-once", daemon=False).start()
        except RuntimeError:  # no thread is to be had: the lease runs out, and the queue goes on with it
            self.leave()
            return False
        self._done.wait(SECONDS)
        return True

    def _try(self, app: Flask, group: Group) -> None:
        try:
            with app.app_context(), Heartbeat(self._pace, ending.is_near) as heartbeat:
                heartbeat.hold(group)
                groups.work_off(group, self._pace)
        except Exception as error:  # the row is the truth, and its lease runs out
            incidents.report("mail_not_sent_at_once", error, mails=group.mail_ids)
        finally:
            self.leave()
            self._done.set()
            promise.new_mail.tell()  # whatever else the account has queued was not claimed meanwhile


def attempt_for(account_id: int | None) -> Attempt | None:
    """A place for a mail of this account; None while there is none, so that the mail is left to the queue."""
    with _lock:
        if _busy.total() >= PLACES or _busy[account_id] >= PLACES_OF_ONE:
            return None
        _busy[account_id] += 1
    return Attempt(account_id)
