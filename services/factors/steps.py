"""The second step of a sign-in: begun where a password was right, done by a second factor, and no session before."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from database import sign_in_step_db
from database.engine import reading, transaction
from database.sign_in_step_db import SignInStep
from services.accounts import accounts, proofs
from services.accounts.accounts import Person
from services.accounts.proofs import Proof
from services.factors import codes, ways
from utils import clock
from utils.encryption_utils import digest
from utils.errors import Conflict

LIFE: Final = timedelta(minutes=10)
_HANDLE_BYTES: Final = 32
OVER: Final = "This sign-in took too long. Sign in again."


@dataclass(frozen=True)
class HalfSignIn:
    """A sign-in that lacks its second factor. ``person`` is as the password was seen."""

    person: Person
    proven_by: tuple[Proof, ...]
    is_remembered: bool


def is_needed(account_id: int, proven_by: Collection[Proof]) -> bool:
    """Whether what was proven does not let this account in yet."""
    return proofs.WHOLE.isdisjoint(proven_by) and ways.of_account(account_id).has_second


def begin(person: Person, proven_by: Collection[Proof], *, remember: bool) -> str:
    """Keep a sign-in until its second step; the handle for its browser, which is stored nowhere."""
    handle, now = secrets.token_urlsafe(_HANDLE_BYTES), clock.now()
    row = SignInStep(
        handle_hash=digest(handle),
        account_id=person.id,
        session_epoch=person.session_epoch,
        proven_by=proofs.stored(proven_by),
        is_remembered=remember,
        began_at=now,
    )
    with transaction() as session:
        sign_in_step_db.delete_before(session, now - LIFE)
        session.add(row)
    return handle


def find(handle: str) -> HalfSignIn | None:
    """What waits in the browser with this handle; None if nothing does, or all of the sessions were ended since."""
    with reading() as session:
        found = sign_in_step_db.find(session, digest(handle), clock.now() - LIFE) if handle else None
    if found is None or found[1].disabled_at or found[1].session_epoch != found[0].session_epoch:
        return None
    row, account = found
    return HalfSignIn(accounts.person_of(account), proofs.read(row.proven_by), row.is_remembered)


def finish(handle: str, code: str, *, client: str, device: str) -> HalfSignIn:
    """End it with this code: who signs in, with all that was proven.

    Raises InvalidInput with the field code, TooMany, Locked; Conflict if it is over.
    """
    half = find(handle)
    if half is None:
        raise Conflict(OVER)
    proof = codes.prove(half.person.id, code, client=client, device=device, field="code")
    withdraw(handle)
    return HalfSignIn(half.person, (*half.proven_by, proof), half.is_remembered)


def withdraw(handle: str) -> None:
    """Forget it. Raises Conflict if another has ended it meanwhile."""
    with transaction() as session:
        if not sign_in_step_db.end(session, digest(handle)):
            raise Conflict(OVER)
