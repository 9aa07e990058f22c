"""What administrators do with accounts: invite, disable, enable, promote, demote, delete.

Each of them takes ``by``, the account of who acts, or None on the command line. Whoever was removed a moment ago acts
no more, and the last one who can act as administrator stays, however many act at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from database import api_token_db, outbox_db, smtp_db, suppression_db, user_db
from database.engine import reading, transaction
from database.user_db import Account
from services import audit
from services.accounts import accounts, api_tokens, fields, reset_links, sessions, tries
from services.accounts.accounts import Person
from services.accounts.sessions import subject_of
from services.audit import Action
from services.outbox import leaving
from utils import clock
from utils.errors import Conflict, Forbidden

_NO_LONGER: Final = "You are no longer an administrator."
_LAST: Final = "{} is the only administrator who can sign in. Make someone else an administrator first."
_IS_IN: Final = "{} has already chosen a password. “Forgot your password?” sends a new link."
_IS_DISABLED: Final = "{} is disabled. Enable the account first."


@dataclass(frozen=True)
class Belongings:
    """What goes with an account, in numbers."""

    tokens: int
    servers: int
    waiting_mails: int


def belongings(account_id: int) -> Belongings:
    """What is deleted with this account."""
    with reading() as session:
        return Belongings(
            tokens=len(api_token_db.unrevoked(session, account_id)),
            servers=smtp_db.count_of(session, account_id),
            waiting_mails=outbox_db.unsent_of(session, account_id),
        )


def is_last_administrator(account_id: int) -> bool:
    """Whether nobody but this account can act as administrator now."""
    with reading() as session:
        return user_db.administrator_ids(session) == [account_id]


def invite(username: str, email: str, *, is_admin: bool = False, by: int | None = None) -> Person:
    """Make an account without a password, and mail a link there to choose one.

    Raises InvalidInput with the fields username and email.
    """
    names = fields.check_names(username, email)
    with transaction() as session:
        _lock_administrators(session, by)
        account = accounts.insert(session, names, "", is_admin=is_admin)
        audit.record(session, Action.ACCOUNT_INVITED, subject_of(account), ["administrator"] if is_admin else [])
        reset_links.mail_invitation(session, account, _inviter(session, by), clock.now())
        return accounts.person_of(account)


def invite_again(account_id: int, *, by: int | None = None) -> Person:
    """Mail another link to somebody who has not chosen a password yet; the one before is void."""
    with _acting_on(account_id, by) as (session, account, _):
        if account.password_hash or account.last_sign_in_at:
            raise Conflict(_IS_IN.format(account.username))
        if account.disabled_at:
            raise Conflict(_IS_DISABLED.format(account.username))
        audit.record(session, Action.ACCOUNT_INVITED, subject_of(account), ["again"])
        reset_links.mail_invitation(session, account, _inviter(session, by), clock.now())
        return accounts.person_of(account)


def disable(account_id: int, *, by: int | None = None) -> Person:
    """Let nobody in with this account: its sessions, links and API tokens end, and its queued mail is held.

    What belongs to it is kept, but for the password of its own server.
    """
    with _acting_on(account_id, by) as (session, account, administrators):
        if not account.disabled_at:
            _refuse_last(administrators, account)
            account.disabled_at = clock.now()
            _end_access(session, account)
            leaving.disabled(session, account.id)
            audit.record(session, Action.ACCOUNT_DISABLED, subject_of(account))
        return accounts.person_of(account)


def enable(account_id: int, *, by: int | None = None) -> Person:
    """Let a disabled account in again, with the password that it had; what ended does not come back.

    Mail that was held meanwhile goes on.
    """
    with _acting_on(account_id, by) as (session, account, _):
        if account.disabled_at:
            account.disabled_at = None
            leaving.enabled(session, account.id)
            audit.record(session, Action.ACCOUNT_ENABLED, subject_of(account))
        return accounts.person_of(account)


def end_sessions(account_id: int, *, by: int | None = None) -> Person:
    """Sign an account out everywhere. Its password, its links and its API tokens stay as they are."""
    with _acting_on(account_id, by) as (session, account, _):
        sessions.end_every(session, account)
        audit.record(session, Action.SESSIONS_ENDED, subject_of(account), ["all"])
        return accounts.person_of(account)


def promote(account_id: int, *, by: int | None = None) -> Person:
    """Make an account an administrator."""
    with _acting_on(account_id, by) as (session, account, _):
        if not account.is_admin:
            give_office(session, account)
        return accounts.person_of(account)


def demote(account_id: int, *, by: int | None = None) -> Person:
    """Make an administrator an account like others. It keeps what is its own, but for the API tokens of its office."""
    with _acting_on(account_id, by) as (session, account, administrators):
        if account.is_admin:
            _refuse_last(administrators, account)
            take_office(session, account)
        return accounts.person_of(account)


def give_office(session: Session, account: Account, why: str = "") -> None:
    """Make an account an administrator, within the caller's transaction, who holds the administrators."""
    account.is_admin = True
    audit.record(session, Action.ACCOUNT_PROMOTED, subject_of(account), [why] if why else [])


def take_office(session: Session, account: Account, why: str = "") -> None:
    """Make an administrator an account like others, likewise."""
    account.is_admin = False
    for scope in api_tokens.OF_ADMINISTRATORS:
        api_tokens.revoke_all(session, account, scope)
    audit.record(session, Action.ACCOUNT_DEMOTED, subject_of(account), [why] if why else [])


def delete(account_id: int, *, expected: str | None = None, by: int | None = None) -> Person:
    """Forget an account and all that belongs to it; mail that waits to go out for it is held until its time is over.

    ``expected`` is the user name that was read before; raises Conflict if the account is another one by now.
    """
    with _acting_on(account_id, by) as (session, account, administrators):
        if expected is not None and account.username != expected:
            raise Conflict("This account has been replaced by another. Reload the list.")
        _refuse_last(administrators, account)
        _end_access(session, account)
        leaving.deleted(session, account.id)
        suppression_db.forget_account(session, account.id)
        tries.forget(session, tries.of_account(account.id))
        audit.record(session, Action.ACCOUNT_DELETED, subject_of(account))
        session.flush()
        person = accounts.person_of(account)
        user_db.delete_account(session, account.id)
        return person


@contextmanager
def _acting_on(account_id: int, by: int | None) -> Iterator[tuple[Session, Account, list[Account]]]:
    """A transaction that holds the account, and who can act as administrator."""
    with transaction() as session:
        administrators = _lock_administrators(session, by)
        yield session, sessions.held(session, account_id), administrators


def _lock_administrators(session: Session, by: int | None) -> list[Account]:
    """Who can act as administrator, held; locked first by everybody here, so that nobody waits in a circle."""
    held = user_db.lock_administrators(session)
    if by is not None and by not in {account.id for account in held}:
        raise Forbidden(_NO_LONGER)
    return held


def _refuse_last(administrators: list[Account], account: Account) -> None:
    if [held.id for held in administrators] == [account.id]:
        raise Conflict(_LAST.format(account.username))


def _end_access(session: Session, account: Account) -> None:
    sessions.end_every(session, account)
    reset_links.void(session, account.id)
    api_tokens.revoke_all(session, account)


def _inviter(session: Session, by: int | None) -> str:
    account = user_db.find(session, by) if by is not None else None
    return account.username if account else "An administrator"
