"""How many mails an account may have sent to addresses that are not known to be its own.

Counted in the database, which all processes share, and never given back: to remove an address and add it again
bombs nobody either.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import try_db
from database.try_db import TryCount
from utils import clock
from utils.encryption_utils import digest
from utils.errors import TooMany

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

_SUBJECT: Final = "emails to strangers"


@dataclass(frozen=True)
class Budget:
    """At most so many mails in a window, of whatever is named."""

    name: str
    window: timedelta
    most: int


def of_account(account_id: int) -> tuple[Budget, ...]:
    return Budget(f"account {account_id}", HOUR, 10), Budget(f"account {account_id}", DAY, 30)


def of_address(key: str) -> tuple[Budget, ...]:
    """Of one recipient, whichever accounts write to it."""
    return Budget(f"address {key}", HOUR, 3), Budget(f"address {key}", DAY, 10)


def spend(session: Session, *budgets: Budget) -> None:
    """Count one mail in each of them, in the caller's transaction. Raises TooMany, and then that is to be undone."""
    for budget in sorted(budgets, key=_hash_of):  # in one order for all, so that no two wait for each other
        row = _held(session, budget)
        if row.taken >= budget.most:
            left = row.began_at + budget.window - clock.now()
            wait = max(1, math.ceil(left.total_seconds()))
            raise TooMany("Too many links were sent. Wait for one of them, or try again later.", wait)
        row.taken += 1
        row.last_at = clock.now()


def _held(session: Session, budget: Budget) -> TryCount:
    now = clock.now()
    row = try_db.hold(session, _hash_of(budget), digest(_SUBJECT), now)
    # Another may have begun the window while we waited, after our ``now``; a clock that was put back is another matter.
    if abs(now - row.began_at) >= budget.window:
        row.began_at, row.taken = now, 0
    return row


def _hash_of(budget: Budget) -> str:
    return digest(f"{_SUBJECT}: {budget.name} in {budget.window.total_seconds():.0f} s")
