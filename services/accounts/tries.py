"""Limits on trying passwords. A place is taken before the password is looked at, and given back if it was right.

So however many try at once, no more than the limit are at work. The counts are in the database, which all processes
share.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import try_db
from database.engine import reading, transaction
from database.try_db import TryCount
from services import audit
from services.audit import Action
from utils import clock
from utils.encryption_utils import digest
from utils.errors import AppError, TooMany

WINDOW: Final = timedelta(minutes=15)
SLOW_AFTER: Final = 10  # failures in a row, whose count slows
LONGEST_PAUSE: Final = 60  # seconds between two tries then
LOCKED_AFTER: Final = 100  # failures in a row (NIST SP 800-63B 5.2.2)
MOST_OF_OWN: Final = 10  # in a window
KEPT: Final = timedelta(days=30)

_TOO_MANY: Final = "Too many wrong {}. Wait a little, then try again."
_LOCKED: Final = (
    "Too many wrong passwords in a row for this account. Sign in from a browser that you have used here before, "
    "choose a new password with “Forgot your password?”, or ask an administrator to unlock the account."
)
_LOCKED_CODES: Final = (
    "Too many wrong codes in a row for this account. Sign in from a browser that you have used here before, "
    "or ask an administrator to unlock the account."
)


class Locked(AppError):
    """Failed so often in a row that waiting does not help."""

    status = 429


@dataclass(frozen=True)
class Count:
    """One count. ``subject`` is whom it can be forgotten with; ``most`` the limit of a window, 0 for none.

    ``slows``: after failures in a row tries must be apart, and in the end none is taken any more. ``of`` says in
    the audit trail who is locked out, ``guesses`` what is tried.
    """

    name: str
    subject: str = ""
    most: int = 0
    slows: bool = False
    of: str = ""
    guesses: str = "passwords"

    @property
    def key(self) -> str:
        return digest(self.name)


@dataclass
class PasswordTry:
    """One try that is under way."""

    succeeded: bool = False


@contextmanager
def counted(counts: Sequence[Count], concerning: str) -> Iterator[PasswordTry]:
    """Count a try: set ``succeeded`` on what is given if the password was right.

    ``concerning`` is how the audit trail names a lock-out. Raises TooMany or Locked instead, if there is no place.
    """
    taken = _take(counts, concerning)
    attempt = PasswordTry()
    try:
        yield attempt
    except BaseException:
        _give_back(taken, ends_row=False)
        raise
    if attempt.succeeded:
        _give_back(taken, ends_row=True)


def happens_first(name: str) -> bool:
    """Whether this happens for the first time in a window."""
    count, now = Count(name, most=1), clock.now()
    with reading() as session:
        row = try_db.find(session, count.key)
    if row is not None and row.taken and now < row.began_at + WINDOW:
        return False
    with transaction(durable=False) as session:
        row = _held(session, count, now)
        is_first = not row.taken
        _use(row, now)
    return is_first


def of_account(account_id: int) -> str:
    """The subject of whatever is counted about an account."""
    return f"account {account_id}"


def own_password(account_id: int) -> Count:
    """Of whoever is signed in: a browser that was left alone must not be one in which passwords can be tried."""
    return Count(f"own password {account_id}", of_account(account_id), MOST_OF_OWN, of="an account that is signed in")


def in_a_row(count: Count) -> int:
    """How many tries have failed in a row."""
    with reading() as session:
        row = try_db.find(session, count.key)
    return row.in_a_row if row else 0


def forget(session: Session, subject: str) -> None:
    """Forget what was counted about a subject, within the caller's transaction."""
    try_db.forget(session, digest(subject))


def tidy() -> None:
    """Delete counts that have not been used for long. What is locked stays so."""
    with transaction() as session:
        try_db.delete_unused(session, clock.now() - KEPT, most_in_a_row=LOCKED_AFTER)


def _take(counts: Sequence[Count], concerning: str) -> list[tuple[str, datetime]]:
    """Take a place in every count, or in none; the counts, with when their windows began."""
    now = clock.now()
    refusal: AppError | None = None
    # In one order for all, so that no two wait for each other.
    counts = sorted(counts, key=lambda count: count.key)
    with transaction(durable=False) as session:
        rows = [_held(session, count, now) for count in counts]
        for count, row in zip(counts, rows, strict=True):
            refusal = _refusal(row, count, now)
            if refusal:
                _tell(session, row, count, concerning)
                break
        else:
            for row in rows:
                _use(row, now)
    if refusal:
        raise refusal
    return [(row.name_hash, row.began_at) for row in rows]


def _tell(session: Session, row: TryCount, count: Count, concerning: str) -> None:
    """Once in a window, however many are refused in it."""
    if not row.is_told:
        row.is_told = True
        audit.record(session, Action.LOCKED_OUT, concerning, [count.of])


def _held(session: Session, count: Count, now: datetime) -> TryCount:
    row = try_db.hold(session, count.key, digest(count.subject), now)
    # Another may have begun the window while we waited, after our ``now``; a clock that was put back is another matter.
    if abs(now - row.began_at) >= WINDOW:
        row.began_at, row.taken, row.is_told = now, 0, False
    return row


def _refusal(row: TryCount, count: Count, now: datetime) -> AppError | None:
    if count.slows and row.in_a_row >= LOCKED_AFTER:
        return Locked(_LOCKED_CODES if count.guesses == "codes" else _LOCKED)
    wait = timedelta(0)
    if count.most and row.taken >= count.most:
        wait = row.began_at + WINDOW - now
    elif count.slows and row.in_a_row >= SLOW_AFTER:
        wait = min(row.last_at - now, timedelta(0)) + _pause(row.in_a_row)  # whatever becomes of the clock
    return TooMany(_TOO_MANY.format(count.guesses), math.ceil(wait.total_seconds())) if wait > timedelta(0) else None


def _pause(failures: int) -> timedelta:
    """2, 4, 8 … seconds."""
    return timedelta(seconds=min(2 ** (failures - SLOW_AFTER + 1), LONGEST_PAUSE))


def _use(row: TryCount, now: datetime) -> None:
    row.taken += 1
    row.in_a_row += 1
    row.last_at = now


def _give_back(taken: Sequence[tuple[str, datetime]], *, ends_row: bool) -> None:
    with transaction(durable=False) as session:
        for key, began_at in taken:
            try_db.give_back(session, key, began_at, ends_row=ends_row)
