"""Forgotten passwords. The request only writes down that somebody asked; a worker looks up, limits and mails.

So whoever asks learns nothing, neither from the answer nor from its time: known and unknown addresses cause
the same one insert. What waits survives a restart, since the row is the truth and a wake-up only a hint.
"""

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.orm import Session

from database import reset_request_db, reset_token_db, user_db
from database.engine import reading, transaction
from database.reset_request_db import ResetRequest
from services import account_fields, accounts, audit, email_service, notices
from services.audit import Action
from utils import clock

log = structlog.get_logger(__name__)

TOKEN_BYTES: Final = 32
TOKEN_LIFE: Final = timedelta(hours=1)
REQUEST_LIFE: Final = timedelta(hours=1)
MAILS_PER_HOUR: Final = 3
BACK_OFF: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
LEASE: Final = timedelta(minutes=2)  # longer than any delivery takes
KEPT: Final = timedelta(days=1)
POLL_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.1  # the answer to whoever asked is out before its work starts
STOP_SECONDS: Final = 5.0
TIDY_SECONDS: Final = 3600.0


def request_reset(address: str) -> None:
    """Write down that a reset of this address was asked for; whether it is anybody's is not looked up.

    Raises InvalidInput with the field email for what is no address by its form.
    """
    address = account_fields.email_and_key(address)[0]
    with transaction() as session:
        reset_request_db.add(session, address, clock.now())
    for worker in tuple(_running):
        worker.wake()


def process_requests() -> int:
    """Answer every request that is due; returns how many."""
    answered = 0
    while answer_next():
        answered += 1
    return answered


def answer_next() -> bool:
    """Answer the oldest request that is due; False if none is. A mail that fails is due again later."""
    with reading() as session:
        request = reset_request_db.find_due(session, clock.now())
    if request is None:
        return False
    with transaction() as session:
        lease_until = clock.now() + LEASE
        claimed = reset_request_db.claim(session, request.id, request.attempts, lease_until)
    if claimed:  # otherwise another process has it
        _answer(request, request.attempts + 1)
    return True


def tidy() -> None:
    """Delete requests that were answered, and links that expired, more than a day ago."""
    before = clock.now() - KEPT
    with transaction() as session:
        reset_request_db.delete_done(session, before)
        reset_token_db.delete_expired(session, before)


def find_valid(token: str) -> int | None:
    """The id of the account that this token is good for, or None. Uses nothing up."""
    with reading() as session:
        return reset_token_db.find_account_id(session, _hash(token), clock.now())


def redeem(token: str, new_password: str) -> bool:
    """Use the token and change its account's password, both or neither; False if the token is not good.

    Every session ends, every other link and API token is void, a notice is mailed. Raises InvalidInput with the field
    password for one that is not accepted; the token stays good then.
    """
    now = clock.now()
    account_id = find_valid(token)
    if account_id is None:
        return False
    with reading() as session:
        seen = user_db.find(session, account_id)
    if seen is None:
        return False
    password_hash = account_fields.new_password_hash(seen, new_password)
    with transaction() as session:
        account = user_db.lock(session, account_id)
        if account is None or not reset_token_db.use(session, _hash(token), account_id, now):
            return False
        accounts.put_password(session, account, password_hash, now, Action.PASSWORD_RESET)
        email = account.email
    notices.password_changed(email, now)
    return True


class ResetWorker:
    """A thread that answers requests as they come: woken at once in this process, after 5 s by any other."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._next_tidy = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="reset-worker", daemon=True)

    def start(self) -> None:
        _running.add(self)
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        """End the thread; a mail in flight gets 5 s, and what waits is left for the next start."""
        _running.discard(self)
        self._stopping.set()
        self._woken.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                with self._app.app_context():
                    self._work()
            except Exception as error:
                log.error("reset_worker_failed", error=type(error).__name__)
            if self._woken.wait(POLL_SECONDS):
                self._stopping.wait(PAUSE_SECONDS)

    def _work(self) -> None:
        while not self._stopping.is_set() and answer_next():
            pass
        if time.monotonic() >= self._next_tidy:
            tidy()
            audit.purge()
            self._next_tidy = time.monotonic() + TIDY_SECONDS


_running: set[ResetWorker] = set()


def start_reset_worker(app: Flask) -> ResetWorker:
    """Start the worker of this process. The caller stops it."""
    worker = ResetWorker(app)
    worker.start()
    return worker


@dataclass(frozen=True)
class _Link:
    """A fresh token, and the stored address that it goes to."""

    account_id: int
    email: str
    token: str = field(repr=False)


def _answer(request: ResetRequest, attempt: int) -> None:
    link = _issue(request, attempt)
    if link is None:
        return
    sent = email_service.send_password_reset_email(link.email, link.token)
    again_at = clock.now() + BACK_OFF[min(attempt, len(BACK_OFF)) - 1]
    with transaction() as session:
        if sent or again_at > request.created_at + REQUEST_LIFE:
            reset_request_db.finish(session, request.id, attempt)
        else:
            reset_request_db.put_off(session, request.id, attempt, again_at)
    if not sent:
        log.warning("reset_mail_not_sent", request_id=request.id, attempt=attempt)


def _issue(request: ResetRequest, attempt: int) -> _Link | None:
    """A token for the account with this address; otherwise the request ends here, and silently."""
    now = clock.now()
    with transaction() as session:
        account = user_db.find_by_email(session, user_db.comparable(request.address))
        account = user_db.lock(session, account.id) if account else None
        expired = request.created_at + REQUEST_LIFE <= now
        if account is None or expired or _is_over_limit(session, account.id, request):
            reset_request_db.finish(session, request.id, attempt)
            return None
        link = _Link(account.id, account.email, secrets.token_urlsafe(TOKEN_BYTES))
        reset_request_db.note_account(session, request.id, account.id)
        reset_request_db.finish_older(session, account.id, request.id)
        reset_token_db.void_unused(session, account.id)
        reset_token_db.add(session, account.id, _hash(link.token), now, now + TOKEN_LIFE)
    return link


def _is_over_limit(session: Session, account_id: int, request: ResetRequest) -> bool:
    since = clock.now() - timedelta(hours=1)
    mailed = reset_request_db.answered_since(session, account_id, since, but_not=request.id)
    return mailed >= MAILS_PER_HOUR


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
