"""Sessions of people: begun by a sign-in, kept here, known to the browser by a random id, ended by deleting the row."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import session_db, user_db
from database.engine import reading, transaction
from database.session_db import BrowserSession
from database.user_db import Account
from services import audit
from services.accounts import api_tokens, noting, proofs
from services.accounts.proofs import Proof
from services.audit import Action
from services.outbox import notices
from utils import clock
from utils.encryption_utils import mac
from utils.env_utils import get_settings
from utils.errors import Conflict, NotFound
from utils.log_utils import printable
from utils.same_names import shared

ID_BYTES: Final = 32
SHOWN: Final = 16  # characters of a hash that name a session among those of its account
RECENT: Final = timedelta(minutes=10)  # a proof
SEEN_NOTED: Final = timedelta(minutes=1)
ENDED_KEPT: Final = timedelta(minutes=30)

_PURPOSE: Final = "session-id-v1"
_CHANGED_MEANWHILE: Final = "Your sessions have ended. Sign in again."
_NO_SESSION: Final = "This session has already ended."


@dataclass(frozen=True)
class SessionInfo:
    """A session, and whose it is. ``key`` is the hash of its id, which only the browser knows."""

    key: str
    account_id: int
    username: str
    email: str
    is_admin: bool
    created_at: datetime
    proven_at: datetime
    proven_by: tuple[Proof, ...]
    last_seen_at: datetime
    address: str
    browser: str
    is_remembered: bool
    second_factor_since: datetime | None = None  # of the account
    second_factor_asked_at: datetime | None = None

    @property
    def handle(self) -> str:
        """What pages call the session by."""
        return self.key[:SHOWN]

    @property
    def is_recent(self) -> bool:
        """Whether somebody has proven here within ten minutes who they are."""
        return timedelta(0) <= clock.now() - self.proven_at < RECENT

    @property
    def is_whole(self) -> bool:
        """Whether it was proven by more than a password."""
        return not proofs.WHOLE.isdisjoint(self.proven_by)

    @property
    def proven_in_words(self) -> str:
        return proofs.in_words(self.proven_by)


def begin(
    account_id: int,
    epoch: int,
    *,
    proven_by: Collection[Proof],
    address: str,
    browser: str,
    is_remembered: bool = False,
    is_new: bool = True,
    is_known_browser: bool = True,
) -> str:
    """Begin a session for somebody who has just proven so who they are; its id, which is nowhere else.

    ``epoch`` is the account's when that was seen. ``is_new``: it is a sign-in, which the audit trail tells; otherwise
    a session goes on. A sign-in that is not in a known browser is told to the owner by mail, but for the first ever.
    Raises Conflict if all of its sessions were ended since.
    """
    session_id, now = secrets.token_urlsafe(ID_BYTES), clock.now()
    with transaction() as session:
        account = user_db.lock(session, account_id)
        if account is None or account.disabled_at or account.session_epoch != epoch:
            raise Conflict(_CHANGED_MEANWHILE)
        row = BrowserSession(
            id_hash=hash_of(session_id),
            account_id=account_id,
            created_at=now,
            proven_at=now,
            proven_by=proofs.stored(proven_by),
            vouched_at=now if Proof.OIDC in proven_by else None,
            last_seen_at=now,
            address=printable(address, session_db.LONGEST_ADDRESS),
            browser=printable(browser, session_db.LONGEST_BROWSER),
            is_remembered=is_remembered,
        )
        session.add(row)
        if is_new:
            if account.last_sign_in_at and not is_known_browser:
                notices.new_sign_in(session, account.email, row.browser, row.address, now)
            account.last_sign_in_at = now
            audit.record(
                session, Action.SIGNED_IN, subject_of(account), [proofs.in_words(proven_by)], by=account.username
            )
    return session_id


def resume(session_id: str, address: str, *, is_seen: bool = True) -> SessionInfo | None:
    """The session of this id, or None if there is none or its time is over.

    That somebody was seen at it is noted by the minute; not without ``is_seen``, where a page asks by itself.
    """
    now = clock.now()
    with reading() as session:
        found = session_db.find(session, hash_of(session_id))
    if found is None or _is_over(*found, now):
        return None
    info = _info(*found)
    if is_seen and not timedelta(0) <= now - info.last_seen_at < SEEN_NOTED:
        place = printable(address, session_db.LONGEST_ADDRESS)
        noting.note("session_not_noted", lambda session: session_db.note_seen(session, info.key, now, place))
    return info


def of_account(account_id: int) -> list[SessionInfo]:
    """An account's sessions, the one that was seen last first."""
    now = clock.now()
    with reading() as session:
        return [_info(*found) for found in session_db.of_account(session, account_id) if not _is_over(*found, now)]


def waits_for_provider(session_id: str) -> bool:
    """Whether nothing ended the session of this id but that the provider has to say again who it is."""
    now = clock.now()
    with reading() as session:
        found = session_db.find(session, hash_of(session_id))
    return found is not None and _is_unvouched(found[0], now) and not _has_ended(*found, now)


def renew(key: str, by: Collection[Proof]) -> tuple[str, SessionInfo]:
    """The person at this session has just proven so again who they are: it goes on under another id, which is given.

    So an id that somebody else knew before is worth nothing for what a recent proof opens. How it was proven before
    stays known. Raises Conflict if the session was ended meanwhile.
    """
    session_id, now = secrets.token_urlsafe(ID_BYTES), clock.now()
    with transaction() as session:
        former = session_db.find(session, key)
        proven_by = {*proofs.read(former[0].proven_by), *by} if former else by
        vouched_at = now if Proof.OIDC in by else former[0].vouched_at if former else None
        proof = session_db.ProofNoted(proven_at=now, proven_by=proofs.stored(proven_by), vouched_at=vouched_at)
        if not session_db.rename(session, key, hash_of(session_id), proof):
            raise Conflict(_CHANGED_MEANWHILE)
        found = session_db.find(session, hash_of(session_id))
        assert found is not None  # noqa: S101 - it was just written
        return session_id, _info(*found)


def sign_out(session_id: str) -> None:
    """End one's own session."""
    with transaction() as session:
        found = session_db.find(session, hash_of(session_id))
        if found and session_db.end(session, [found[0].id_hash], clock.now()):
            audit.record(session, Action.SIGNED_OUT, subject_of(found[1]))


def replace(session_id: str) -> None:
    """End the session that a browser had before it began another."""
    with transaction() as session:
        session_db.end(session, [hash_of(session_id)], clock.now())


def end_one(account_id: int, handle: str, *, with_tokens: bool = False) -> SessionInfo:
    """End one session of an account, and its API tokens if asked to. Raises NotFound."""
    with transaction() as session:
        account = held(session, account_id)
        rows = [row for row, _ in session_db.of_account(session, account_id) if row.id_hash[:SHOWN] == handle]
        if not session_db.end(session, [row.id_hash for row in rows], clock.now()):
            raise NotFound(_NO_SESSION)
        audit.record(session, Action.SESSIONS_ENDED, subject_of(account), ["one", rows[0].browser])
        if with_tokens:
            api_tokens.revoke_all(session, account)
        return _info(rows[0], account)


def end_all(account_id: int, *, but: str | None = None, with_tokens: bool = False) -> int:
    """End every session of an account, those that are remembered too; how many there were. Raises NotFound.

    ``but`` is the key of one that goes on. ``with_tokens``: its API tokens end as well.
    """
    with transaction() as session:
        account = held(session, account_id)
        ended = end_every(session, account, but=but)
        audit.record(session, Action.SESSIONS_ENDED, subject_of(account), ["all but one"] if but else ["all"])
        if with_tokens:
            api_tokens.revoke_all(session, account)
    return ended


def end_every(session: Session, account: Account, *, but: str | None = None) -> int:
    """As ``end_all``, within the caller's transaction, who holds the account and writes the audit trail.

    A sign-in whose password was seen before does not begin a session afterwards.
    """
    account.session_epoch += 1
    return session_db.end_of_account(session, account.id, clock.now(), but=but)


def account_of_ended(session_id: str) -> int | None:
    """The account that this session was of, if it ended within the last 30 minutes."""
    key, since = hash_of(session_id), clock.now() - ENDED_KEPT
    with reading() as session:
        ended = session_db.account_of_ended(session, key, since)
        found = session_db.find(session, key) if ended is None else None
    if found and _is_over(*found, clock.now()) and not _is_over(*found, since):
        return found[1].id
    return ended


def tidy() -> None:
    """Delete sessions whose time is over, and forget whose those were that ended."""
    ours, before = get_settings(), clock.now() - ENDED_KEPT
    with transaction() as session:
        for remembered, life in ((False, ours.session_life), (True, ours.session_remembered_life)):
            session_db.delete_begun_before(session, before - life, remembered=remembered)
        session_db.forget_ended_before(session, before)


def hash_of(session_id: str) -> str:
    """What is stored of an id. Keyed, so that who can write to the database cannot make a session of it.

    With another ``APP_KEY`` every session is over.
    """
    return mac(_PURPOSE, [session_id.encode(errors="replace").decode()])


def subject_of(account: Account) -> str:
    """How the audit trail names an account."""
    return f"account {account.username}"


def _is_over(row: BrowserSession, account: Account, now: datetime) -> bool:
    return _is_unvouched(row, now) or _has_ended(row, account, now)


def _is_unvouched(row: BrowserSession, now: datetime) -> bool:
    """Whether the provider of single sign-on said too long ago who that is: it may know better by now."""
    ours = get_settings().oidc
    if ours is None or ours.recheck is None or row.vouched_at is None:
        return False
    return now >= row.vouched_at + ours.recheck


def _has_ended(row: BrowserSession, account: Account, now: datetime) -> bool:
    """By its age, or if the account is disabled; an administrator's also when it was left alone and not remembered.

    Where nobody signs in but by single sign-on, one that began with a password before that was so is over as well.
    """
    ours = get_settings()
    is_closed_way = ours.oidc is not None and ours.oidc.is_only and proofs.GIVEN.isdisjoint(proofs.read(row.proven_by))
    if account.disabled_at or is_closed_way:
        return True
    if row.is_remembered:
        return now >= row.created_at + ours.session_remembered_life
    idle = ours.session_admin_idle
    is_left_alone = account.is_admin and bool(idle) and now >= row.last_seen_at + idle
    return is_left_alone or now >= row.created_at + ours.session_life


def held(session: Session, account_id: int) -> Account:
    """The account as it is now, held until the transaction ends. Raises NotFound."""
    account = user_db.lock(session, account_id)
    if account is None:
        raise NotFound("No such account.")
    return account


def _info(row: BrowserSession, account: Account) -> SessionInfo:
    known = shared(SessionInfo, account) | shared(SessionInfo, row)
    return SessionInfo(**known | {"proven_by": proofs.read(row.proven_by)}, key=row.id_hash)
