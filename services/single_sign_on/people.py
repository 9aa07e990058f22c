"""Whose account somebody is whom the provider has signed in: by issuer and subject, never by an address."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import identity_db, reset_token_db, user_db
from database.engine import reading, transaction
from database.identity_db import AccountIdentity
from database.user_db import Account
from services import audit
from services.accounts import accounts, administration, fields, reset_links, sessions
from services.accounts.accounts import Person
from services.accounts.sessions import subject_of
from services.audit import Action
from services.single_sign_on import provider
from services.single_sign_on.claims import ProvenIdentity
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from utils import clock
from utils.encryption_utils import digest
from utils.errors import Conflict, InvalidInput, NotFound
from utils.log_utils import printable
from utils.same_names import shared

BY_CLAIM: Final = "by the provider’s claim"
_MADE_MEANWHILE: Final = (SignOnFault.ADDRESS_TAKEN, SignOnFault.OTHER_ACCOUNT)


@dataclass(frozen=True, kw_only=True)
class LinkedIdentity:
    """What an account is linked with, as pages show it."""

    id: int
    issuer: str
    label: str
    linked_at: datetime
    last_used_at: datetime | None


def sign_in(who: ProvenIdentity) -> Person:
    """The account of who signed in, with the rights that the provider's claim gives it now. Raises SignOnFailure.

    Who is in charge no more loses the rights at once, and every session that was begun with them.
    """
    try:
        return _came_in(who)
    except SignOnFailure as failure:
        if failure.fault not in _MADE_MEANWHILE or not _is_known(who):
            raise
    return _came_in(who)  # somebody who comes for the first time, in two tabs at once


def _came_in(who: ProvenIdentity) -> Person:
    with transaction() as session:
        user_db.lock_administrators(session)
        found = identity_db.find(session, who.issuer, who.subject)
        account = sessions.held(session, found[1].id) if found else _created(session, who)
        if account.disabled_at:
            raise SignOnFailure(SignOnFault.DISABLED)
        row = found[0] if found else _linked(session, account, who)
        row.last_used_at, row.label = clock.now(), _label(who)
        _settle_rights(session, account, who)
        return accounts.person_of(account)


def link(account_id: int, who: ProvenIdentity) -> None:
    """Let somebody who is signed in come in by the provider from now on. Raises SignOnFailure."""
    with transaction() as session:
        account = sessions.held(session, account_id)
        found = identity_db.find(session, who.issuer, who.subject)
        if found and found[1].id != account_id:
            raise SignOnFailure(SignOnFault.OTHER_ACCOUNT)
        if not found:
            _linked(session, account, who)


def accept_invitation(token: str, who: ProvenIdentity) -> Person:
    """Use an invitation up and link its account, both or neither; it needs no password then. Raises SignOnFailure."""
    now = clock.now()
    with reading() as session:
        found = reset_token_db.find_good(session, digest(token), now)
    if found is None or found[1].password_hash:
        raise SignOnFailure(SignOnFault.INVITATION)
    with transaction() as session:
        account = sessions.held(session, found[1].id)
        if account.disabled_at or not reset_token_db.use(session, digest(token), account.id, now):
            raise SignOnFailure(SignOnFault.INVITATION)
        if identity_db.find(session, who.issuer, who.subject):
            raise SignOnFailure(SignOnFault.OTHER_ACCOUNT)
        reset_links.void(session, account.id)
        audit.record(session, Action.INVITATION_ACCEPTED, subject_of(account), by=account.username)
        _linked(session, account, who)
    return sign_in(who)


def unlink(account_id: int, identity_id: int) -> LinkedIdentity:
    """Let nobody come in by this any more. Raises NotFound, or Conflict where it is the only way in."""
    with transaction() as session:
        account = sessions.held(session, account_id)
        rows = identity_db.of_account(session, account_id)
        row = next((each for each in rows if each.id == identity_id), None)
        if row is None:
            raise NotFound("This sign-in is not linked any more.")
        is_only = len(rows) == 1 and (not account.password_hash or provider.is_only_way())
        if is_only:
            raise Conflict("This is the only way to sign in to your account. Link another or choose a password first.")
        unlinked = _shown(row)
        session.delete(row)
        audit.record(session, Action.IDENTITY_UNLINKED, subject_of(account), [row.issuer])
        return unlinked


def of_account(account_id: int) -> list[LinkedIdentity]:
    """What an account is linked with."""
    with reading() as session:
        return [_shown(row) for row in identity_db.of_account(session, account_id)]


def confirm(account_id: int, who: ProvenIdentity) -> None:
    """The provider has said again who somebody is at a session; its claim decides of the rights here, too.

    Raises SignOnFailure where that is another account's, or nobody's.
    """
    with transaction() as session:
        user_db.lock_administrators(session)
        account = sessions.held(session, account_id)
        found = identity_db.find(session, who.issuer, who.subject)
        if found is None or found[1].id != account_id or account.disabled_at:
            raise SignOnFailure(SignOnFault.NOT_AGAIN)
        found[0].last_used_at, found[0].label = clock.now(), _label(who)
        _settle_rights(session, account, who)


def note_failure(failure: SignOnFailure) -> None:
    """Leave in the audit trail that somebody was not let in, and why."""
    details = ["single sign-on", str(failure.fault), failure.detail]
    audit.note(Action.SIGN_IN_FAILED, accounts.UNKNOWN, filter(None, details))


def _is_known(who: ProvenIdentity) -> bool:
    with reading() as session:
        return identity_db.find(session, who.issuer, who.subject) is not None


def _created(session: Session, who: ProvenIdentity) -> Account:
    """A new account for somebody whom nobody knows, if that is wanted."""
    if not provider.configured().creates_accounts:
        raise SignOnFailure(SignOnFault.UNKNOWN)
    username = (who.username or who.email).partition("@")[0]
    try:
        names = fields.check_names(username, who.email)
    except InvalidInput:
        raise SignOnFailure(SignOnFault.NO_NAME) from None
    try:
        account = accounts.insert(session, names, "", is_admin=False)
    except InvalidInput:
        raise SignOnFailure(SignOnFault.ADDRESS_TAKEN) from None
    audit.record(session, Action.ACCOUNT_CREATED, subject_of(account), ["single sign-on"], by=account.username)
    return account


def _linked(session: Session, account: Account, who: ProvenIdentity) -> AccountIdentity:
    row = AccountIdentity(
        account_id=account.id, issuer=who.issuer, subject=who.subject, label=_label(who), linked_at=clock.now()
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError:  # PostgreSQL: somebody else was faster
        raise SignOnFailure(SignOnFault.OTHER_ACCOUNT) from None
    audit.record(session, Action.IDENTITY_LINKED, subject_of(account), [who.issuer], by=account.username)
    return row


def _settle_rights(session: Session, account: Account, who: ProvenIdentity) -> None:
    if who.is_in_charge is None or who.is_in_charge == account.is_admin:
        return
    if who.is_in_charge:
        administration.give_office(session, account, BY_CLAIM)
        user_db.delete_setup_codes(session)
    else:
        administration.take_office(session, account, BY_CLAIM)
        sessions.end_every(session, account)


def _label(who: ProvenIdentity) -> str:
    return printable(who.label, identity_db.LONGEST_LABEL)


def _shown(row: AccountIdentity) -> LinkedIdentity:
    return LinkedIdentity(**shared(LinkedIdentity, row))
