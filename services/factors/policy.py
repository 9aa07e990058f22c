"""Who must have a second factor: it is offered to all, and asked of administrators after some days, if that is wanted.

What the environment names is fixed; the rest is what an administrator saved on the page.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from database import factor_db, user_db
from database.engine import reading, transaction
from database.factor_db import FactorPolicy
from services import audit
from services.accounts.sessions import SessionInfo
from services.audit import Action
from utils import clock
from utils.env_utils import MOST_FACTOR_DAYS, get_settings
from utils.errors import Conflict, InvalidInput
from utils.numbers import counted, whole_number

VARIABLE: Final = "SECOND_FACTOR_DAYS"
FIXED: Final = f"{VARIABLE} in the environment sets this. Change it there and restart."
_ROW: Final = 1


@dataclass(frozen=True)
class FactorRule:
    """``days`` that an administrator has for a second factor from when it is asked for; None: nobody must have one."""

    days: int | None
    is_fixed: bool

    def __str__(self) -> str:
        return "not required" if self.days is None else f"required after {counted(self.days, 'day')}"

    @property
    def in_words(self) -> str:
        """As the page has it."""
        if self.days is None:
            return "Administrators need no second factor."
        since = f"{counted(self.days, 'day')} after they are first asked" if self.days else "from their next sign-in on"
        return f"Administrators must have a second factor {since}."


@dataclass(frozen=True)
class Demand:
    """That somebody must take a second factor into use; nothing else is open to them once it is due."""

    due_at: datetime

    @property
    def is_due(self) -> bool:
        return clock.now() >= self.due_at


def current() -> FactorRule:
    fixed = get_settings().second_factor_days
    if fixed is not None:
        return FactorRule(fixed, is_fixed=True)
    with reading() as session:
        saved = factor_db.policy(session)
        return FactorRule(saved.required_after_days if saved else None, is_fixed=False)


def without() -> list[str]:
    """The names of administrators who have no second factor."""
    with reading() as session:
        return user_db.administrators_without_factor(session)


def save(*, is_required: bool, days: str) -> FactorRule:
    """Change it. Raises InvalidInput with the field days, Conflict for what the environment fixes."""
    if get_settings().second_factor_days is not None:
        raise Conflict(FIXED)
    number = whole_number(days.strip(), 0, MOST_FACTOR_DAYS) if is_required else None
    if is_required and number is None:
        raise InvalidInput({"days": [f"Enter a whole number of days, {MOST_FACTOR_DAYS} at most."]})
    with transaction() as session:
        row = factor_db.policy(session, lock=True)
        if row is None:
            row = FactorPolicy(id=_ROW)
            session.add(row)
        row.required_after_days, row.updated_at = number, clock.now()
        session.flush()
        audit.record(session, Action.FACTOR_POLICY_CHANGED, "policy", [str(FactorRule(number, is_fixed=False))])
    return current()


def demand_on(session_info: SessionInfo) -> Demand | None:
    """What is asked of whoever is at this session; None if nothing is.

    Whoever came by single sign-on has proven to its provider what that asks for.
    """
    if not session_info.is_admin or session_info.second_factor_since or session_info.is_whole:
        return None
    days = current().days
    if days is None:
        return None
    asked_at = session_info.second_factor_asked_at
    if asked_at is None:
        asked_at = clock.now()
        with transaction() as session:
            factor_db.note_asked(session, session_info.account_id, asked_at)
    return Demand(asked_at + timedelta(days=days))
