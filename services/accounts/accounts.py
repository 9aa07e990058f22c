"""Accounts: creating them, signing in, changing one's own password."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import user_db
from database.engine import reading, transaction
from database.user_db import Account, comparable
from services import audit
from services.accounts import api_tokens, fields, passwords, reset_links, sessions, tries
from services.accounts.fields import CheckedFields, CheckedNames
from services.accounts.sessions import subject_of
from services.audit import Action
from services.outbox import notices
from utils import clock
from utils.encryption_utils import digest
from utils.errors import Conflict, InvalidInput, NotFound
from utils.log_utils import printable
from utils.same_names import shared

CODE_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without I, O, 0 and 1
CODE_GROUPS, CODE_GROUP_LENGTH = 4, 5

_TAKEN: Final = "That {} is already in use. Choose another."
_WRONG: Final = "This is not your current password."
_CHANGED_MEANWHILE: Final = "Your password was changed elsewhere. Sign in again."
_GONE: Final = "No such account."
UNKNOWN: Final = "unknown account"


@dataclass(frozen=True)
class Person:
    """An account as the rest of the application may see it: without its password hash."""

    id: int
    username: str
    email: str
    is_admin: bool
    session_epoch: int
    created_at: datetime
    last_sign_in_at: datetime | None
    disabled_at: datetime | None
    has_password: bool

    @property
    def is_invited(self) -> bool:
        """Whether somebody is still to come in for the first time, by a link."""
        return not self.has_password and self.last_sign_in_at is None


def create(username: str, email: str, password: str, *, is_admin: bool = False) -> Person:
    """Make an account. An administrator ends the set-up: every set-up code is void.

    Raises InvalidInput with the fields username, email and password.
    """
    checked = fields.check(username, email, password)
    with transaction() as session:
        return _created(session, checked, is_admin=is_admin)


def issue_setup_code(*, unless_since: datetime | None = None) -> str | None:
    """A new one-time code for `/setup`, for whoever started the server; None once it is not needed.

    Nor is one, if another process has issued one since a moment.
    """
    if has_administrator():
        return None
    characters = CODE_GROUPS * CODE_GROUP_LENGTH
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(characters))
    with transaction() as session:
        if unless_since and user_db.has_setup_code_since(session, unless_since):
            return None
        user_db.add_setup_code(session, _code_hash(code), clock.now())
    return "-".join(code[at : at + CODE_GROUP_LENGTH] for at in range(0, characters, CODE_GROUP_LENGTH))


def create_first_administrator(code: str, username: str, email: str, password: str) -> Person:
    """Make the first administrator for somebody who has a set-up code, and void all codes.

    Raises InvalidInput with the fields code, username, email and password; NotFound if there is one already.
    """
    if has_administrator():
        raise NotFound("Set-up is already complete.")
    errors = {} if _is_setup_code(code) else {"code": ["This set-up code is wrong. Copy it from the terminal."]}
    checked = fields.check(username, email, password, errors)
    with transaction() as session:
        # Of two set-ups at once the second waits here and then finds an administrator.
        held = user_db.lock_setup_codes(session)
        if user_db.has_administrator(session) or not held:
            raise NotFound("Set-up is already complete.")
        return _created(session, checked, is_admin=True)


def has_administrator() -> bool:
    with reading() as session:
        return user_db.has_administrator(session)


def has_accounts() -> bool:
    with reading() as session:
        return user_db.has_accounts(session)


def find(account_id: int) -> Person | None:
    with reading() as session:
        account = user_db.find(session, account_id)
        return person_of(account) if account else None


def find_by_login(login: str) -> Person | None:
    """The account with this user name or address."""
    with reading() as session:
        account = user_db.find_by_login(session, fields.login_key(login))
        return person_of(account) if account else None


def get(account_id: int) -> Person:
    """The account. Raises NotFound."""
    person = find(account_id)
    if person is None:
        raise NotFound(_GONE)
    return person


def everybody(*, after: str = "", limit: int | None = None) -> list[Person]:
    """Every account by user name, or so many of them from behind this name."""
    with reading() as session:
        found = user_db.every_account(session, comparable(printable(after, 200)), limit)
        return [person_of(account) for account in found]


def authenticate(login: str, password: str) -> Person | None:
    """Who signs in with this user name or address and this password; None for a wrong one and an unknown one.

    Both take the same time, and stand in the audit trail. That somebody has signed in is for ``sessions.begin`` to say.
    """
    with reading() as session:
        account = user_db.find_by_login(session, fields.login_key(login))
    person = None
    if passwords.verify(account.password_hash if account else None, password):
        assert account is not None  # noqa: S101 - verify() is False without a hash
        person = _kept_fresh(account.id, account.password_hash, password)
    if person is None:
        # Never the name as it was typed: people type passwords into that field.
        audit.note(Action.SIGN_IN_FAILED, subject_of(account) if account else UNKNOWN)
    return person


def change_password(account_id: int, current_password: str, new_password: str) -> Person:
    """Change one's own password: all sessions end, reset links and API tokens are void, a notice is mailed.

    Returns the account as it is now. Raises InvalidInput with the fields current_password and password.
    """
    account = verified(account_id, current_password, field="current_password")
    return _replace_password(account, new_password, Action.PASSWORD_CHANGED)


def reset_password(login: str, new_password: str) -> Person:
    """Give an account another password without knowing its old one; otherwise like change_password.

    Raises NotFound; InvalidInput with the field password.
    """
    with reading() as session:
        account = user_db.find_by_login(session, fields.login_key(login))
    if account is None:
        raise NotFound(_GONE)
    return _replace_password(account, new_password, Action.PASSWORD_RESET)


def put_password(session: Session, account: Account, password_hash: str, moment: datetime, action: Action) -> None:
    """Write a new password within the caller's transaction: sessions end, links and API tokens are void.

    ``action`` is what the audit trail calls it. A notice is queued, unless it is the account's first password.
    """
    is_first = not account.password_hash
    account.password_hash = password_hash
    account.password_changed_at = moment
    sessions.end_every(session, account)
    tries.forget(session, tries.of_account(account.id))
    reset_links.void(session, account.id)
    audit.record(session, action, subject_of(account), by=account.username if is_first else "")
    api_tokens.revoke_all(session, account)
    if not is_first:
        notices.password_changed(session, account.email, moment)
    elif account.is_admin:
        user_db.delete_setup_codes(session)


def _created(session: Session, checked: CheckedFields, *, is_admin: bool) -> Person:
    account = insert(session, checked, checked.password_hash, is_admin=is_admin)
    audit.record(session, Action.ACCOUNT_CREATED, subject_of(account), ["administrator"] if is_admin else [])
    if is_admin:
        user_db.delete_setup_codes(session)
    return person_of(account)


def insert(session: Session, checked: CheckedNames, password_hash: str, *, is_admin: bool) -> Account:
    """Add an account within the caller's transaction. Raises InvalidInput for a name or an address that is taken."""
    now = clock.now()
    account = Account(
        username=checked.username,
        username_key=comparable(checked.username),
        email=checked.email,
        email_key=comparable(checked.email),
        password_hash=password_hash,
        is_admin=is_admin,
        created_at=now,
        password_changed_at=now,
    )
    errors = {}
    if user_db.find_by_login(session, account.username_key):
        errors["username"] = [_TAKEN.format("user name")]
    if user_db.find_by_login(session, account.email_key):
        errors["email"] = [_TAKEN.format("address")]
    if errors:
        raise InvalidInput(errors)
    session.add(account)
    flush_names(session, "username", "user name or address")
    return account


def refuse_taken_email(session: Session, key: str, account_id: int) -> None:
    """Raise InvalidInput with the field email if another account has this address."""
    other = user_db.find_by_email(session, key)
    if other is not None and other.id != account_id:
        raise InvalidInput({"email": [_TAKEN.format("address")]})


def flush_names(session: Session, field: str, what: str) -> None:
    """Write now, since somebody else may have been faster between our look and our insert (PostgreSQL)."""
    try:
        session.flush()
    except IntegrityError:
        raise InvalidInput({field: [_TAKEN.format(what)]}) from None


def verified(account_id: int, password: str, field: str) -> Account:
    """The account, if this is its password. Raises InvalidInput with ``field``, NotFound or TooMany."""
    with reading() as session:
        account = user_db.find(session, account_id)
    if account is None or account.disabled_at:
        raise NotFound(_GONE)
    with tries.counted([tries.own_password(account_id)], subject_of(account)) as attempt:
        attempt.succeeded = passwords.verify(account.password_hash, password)
    if not attempt.succeeded:
        raise InvalidInput({field: [_WRONG]})
    return account


def unchanged(session: Session, seen: Account) -> Account:
    """The account, locked, if its password is still the one that was seen. Raises Conflict."""
    account = user_db.lock(session, seen.id)
    if account is None or account.password_hash != seen.password_hash:
        raise Conflict(_CHANGED_MEANWHILE)
    return account


def _replace_password(seen: Account, new_password: str, action: Action) -> Person:
    password_hash, now = fields.new_password_hash(seen, new_password), clock.now()
    with transaction() as session:
        account = unchanged(session, seen)
        put_password(session, account, password_hash, now, action)
        return person_of(account)


def _kept_fresh(account_id: int, verified_hash: str, password: str) -> Person | None:
    """The account, its hash renewed if its parameters are old ones."""
    outdated = passwords.is_outdated(verified_hash)
    new_hash = passwords.hash_password(password) if outdated else verified_hash
    with transaction() as session:
        account = user_db.lock(session, account_id)
        if account is None or account.disabled_at or account.password_hash != verified_hash:
            return None  # disabled; or the password was changed while we verified the old one
        account.password_hash = new_hash
        return person_of(account)


def _is_setup_code(code: str) -> bool:
    offered = _code_hash(code)
    with reading() as session:
        hashes = user_db.setup_code_hashes(session)
    return any(compare_digest(offered, held) for held in hashes)


def _code_hash(code: str) -> str:
    """Of the code as it is meant: dashes, spaces and case do not count."""
    plain = "".join(character for character in code if character.isalnum()).upper()
    return digest(plain)


def person_of(account: Account) -> Person:
    """The account without its secrets."""
    return Person(**shared(Person, account), has_password=bool(account.password_hash))
