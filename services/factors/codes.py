"""A code that somebody typed, of an app or for recovery: tried under limits like those on passwords."""

import re
from typing import Final

from database import user_db
from database.engine import reading
from services import audit
from services.accounts import devices, tries
from services.accounts.proofs import Proof
from services.accounts.sessions import subject_of
from services.accounts.tries import LOCKED_AFTER, Count
from services.audit import Action
from services.factors import recovery, totp
from utils.errors import InvalidInput, NotFound

MOST: Final = 10  # in a window of 15 minutes
WRONG: Final = (
    "This code is wrong, or was used before. Enter the next one that the app shows. "
    "If it is refused too, check that the phone sets its clock by itself."
)
MISSING: Final = "Enter a code of your authenticator app, or a recovery code."
_OF_APP: Final = re.compile(r"[0-9]{6}")
_GUESSES: Final = "codes"


def prove(account_id: int, code: str, *, client: str, device: str, field: str) -> Proof:
    """What this code proves; it is used up by that.

    ``client`` is the network that asks, ``device`` the cookie of a browser that signed in before, or "". Raises
    InvalidInput with ``field``, NotFound, TooMany or Locked.
    """
    with reading() as session:
        account = user_db.find(session, account_id)
    if account is None or account.disabled_at:
        raise NotFound("No such account.")
    typed = "".join(code[:100].split()).replace("-", "")
    if not typed:
        raise InvalidInput({field: [MISSING]})
    with tries.counted(_counts(account_id, client, device), subject_of(account)) as attempt:
        proof = _proof_of(account_id, typed)
        attempt.succeeded = proof is not None
    if proof is None:
        audit.note(Action.SECOND_FACTOR_FAILED, subject_of(account))
        raise InvalidInput({field: [WRONG]})
    return proof


def _proof_of(account_id: int, typed: str) -> Proof | None:
    if _OF_APP.fullmatch(typed):
        return Proof.TOTP if totp.use(account_id, typed) else None
    return Proof.RECOVERY_CODE if recovery.use(account_id, typed) else None


def _counts(account_id: int, client: str, device: str) -> list[Count]:
    """In a browser that signed in before, its own; else by network and over all of them, so nobody shuts that one."""
    who = tries.of_account(account_id)
    known = devices.knows(device, account_id)
    if known is not None:
        own = Count(f"codes browser {known}", who, MOST, of="this browser", guesses=_GUESSES)
        if tries.in_a_row(own) < LOCKED_AFTER:
            return [own]
    return [
        Count(f"codes network {client} {who}", who, MOST, of="this network", guesses=_GUESSES),
        Count(f"codes {who}", who, slows=True, of="browsers that have not signed in before", guesses=_GUESSES),
    ]
