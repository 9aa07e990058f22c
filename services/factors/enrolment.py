"""Taking a second factor into use, and giving it up.

An app counts only after its first code was right. With an account's first factor come recovery codes, and every other
session ends, since it was proven by less (ASVS 7.4.3).
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import factor_db, passkey_db, user_db
from database.engine import reading, transaction
from database.factor_db import TotpFactor
from database.user_db import Account
from services import audit
from services.accounts import sessions, tries
from services.accounts.sessions import subject_of
from services.accounts.tries import Count
from services.audit import Action
from services.factors import codes, recovery, totp, ways
from services.factors.recovery import NewCodes
from services.factors.ways import Ways
from services.outbox import notices
from utils import clock
from utils.encryption_utils import CannotDecrypt, current_key_id
from utils.env_utils import get_settings
from utils.errors import Conflict, InvalidInput, NotFound

PENDING: Final = timedelta(minutes=30)
_BEGIN_ANEW: Final = "This took more than 30 minutes, or was begun elsewhere. Begin again."
_NOTHING: Final = "There is no second factor, so recovery codes have nothing to recover. Set one up first."


@dataclass(frozen=True)
class PendingApp:
    """What an authenticator app is to be given: as a picture of so many squares a side, and as text."""

    secret: str = field(repr=False)
    picture: str = field(repr=False)
    side: int


def begin_app(account_id: int) -> None:
    """Make a secret for an authenticator app, which does not count yet. Raises Conflict if there is one that does."""
    secret, now = totp.new_secret(), clock.now()
    with transaction() as session:
        sessions.held(session, account_id)
        factor = factor_db.totp_of(session, account_id)
        if factor is not None and factor.confirmed_at:
            raise Conflict("There is an authenticator app already. Remove it first.")
        if factor is None:
            factor = TotpFactor(account_id=account_id, last_step=0)
            session.add(factor)
        factor.sealed, factor.key_id, factor.created_at = totp.seal(secret), current_key_id(), now


def pending_app(account_id: int) -> PendingApp:
    """What was begun. Raises NotFound if nothing was within half an hour."""
    with reading() as session:
        account, secret = _pending(session, account_id)
    address = totp.address_of(secret, account.username, get_settings().app_name)
    return PendingApp(totp.in_groups(secret), *totp.picture_of(address))


def confirm_app(account_id: int, code: str, *, but: str) -> list[str]:
    """Let the app count, since this is a code of it: recovery codes, if it is the account's first factor.

    ``but`` is the key of the session that goes on. Raises InvalidInput with the field code, NotFound or TooMany.
    """
    with reading() as session:
        account, secret = _pending(session, account_id)
    counts = [Count(f"codes enrolment {account_id}", tries.of_account(account_id), codes.MOST, guesses="codes")]
    with tries.counted(counts, subject_of(account)) as attempt:
        step = totp.step_of(secret, "".join(code[:100].split()))
        attempt.succeeded = step is not None
    if step is None:
        audit.note(Action.SECOND_FACTOR_FAILED, subject_of(account), ["while it was set up"])
        raise InvalidInput({"code": [codes.WRONG if code.strip() else "Enter the code that the app shows."]})
    new = recovery.new_codes()
    with transaction() as session:
        account = sessions.held(session, account_id)
        factor = factor_db.totp_of(session, account_id)
        if factor is None or factor.confirmed_at or not _is(factor, secret):
            raise NotFound(_BEGIN_ANEW)
        factor.confirmed_at = factor.last_used_at = clock.now()
        factor.last_step = step
        session.flush()
        return enrolled(session, account, "authenticator app", new, but)


def remove_app(account_id: int, *, but: str) -> None:
    """Give the authenticator app up. Raises NotFound."""
    with transaction() as session:
        account = sessions.held(session, account_id)
        if ways.within(session, account_id).app_since is None:  # what was only begun is none yet
            raise NotFound("There is no authenticator app.")
        factor_db.delete_totp(session, account_id)
        removed(session, account, "authenticator app", but)


def renew_codes(account_id: int) -> list[str]:
    """Ten other recovery codes; those before are void. Raises Conflict without a second factor."""
    new = recovery.new_codes()
    with transaction() as session:
        account = sessions.held(session, account_id)
        if not ways.within(session, account_id).has_second:
            raise Conflict(_NOTHING)
        recovery.put(session, account_id, new.hashed)
        audit.record(session, Action.RECOVERY_CODES_MADE, subject_of(account))
        notices.second_factor(session, account.email, "New recovery codes were made", clock.now())
    return new.shown


def reset(account_id: int, *, by: str = "") -> Ways:
    """Take every second factor from an account, end its sessions, and tell its owner; what there was."""
    with transaction() as session:
        account = sessions.held(session, account_id)
        before = ways.within(session, account_id)
        factor_db.delete_totp(session, account_id)
        factor_db.delete_codes(session, account_id)
        passkey_db.delete_of_account(session, account_id)
        account.second_factor_since = account.second_factor_asked_at = None
        sessions.end_every(session, account)
        tries.forget(session, tries.of_account(account_id))
        audit.record(session, Action.SECOND_FACTOR_RESET, subject_of(account), by=by)
        notices.second_factor(session, account.email, "Your second factor was reset", clock.now())
        return before


def removed(session: Session, account: Account, what: str, but: str) -> None:
    """What follows when a factor was given up, within the caller's transaction."""
    if not ways.within(session, account.id).has_second:
        account.second_factor_since = None
        factor_db.delete_codes(session, account.id)
    sessions.end_every(session, account, but=but)
    audit.record(session, Action.FACTOR_REMOVED, subject_of(account), [what])
    notices.second_factor(session, account.email, f"A second factor was removed: {what}", clock.now())


def enrolled(session: Session, account: Account, what: str, codes_for_first: NewCodes, but: str) -> list[str]:
    """What follows when a factor counts; the recovery codes to show, if these came with it."""
    now, is_first = clock.now(), account.second_factor_since is None
    audit.record(session, Action.FACTOR_ENROLLED, subject_of(account), [what])
    notices.second_factor(session, account.email, f"A second factor was added: {what}", now)
    if not is_first:
        return []
    account.second_factor_since = now
    recovery.put(session, account.id, codes_for_first.hashed)
    sessions.end_every(session, account, but=but)
    return codes_for_first.shown


def _pending(session: Session, account_id: int) -> tuple[Account, str]:
    account = user_db.find(session, account_id)
    factor = factor_db.totp_of(session, account_id)
    if account is None or factor is None or factor.confirmed_at or clock.now() >= factor.created_at + PENDING:
        raise NotFound(_BEGIN_ANEW)
    try:
        return account, totp.secret_in(factor)
    except CannotDecrypt:
        raise NotFound(_BEGIN_ANEW) from None


def _is(factor: TotpFactor, secret: str) -> bool:
    try:
        return totp.secret_in(factor) == secret
    except CannotDecrypt:
        return False
