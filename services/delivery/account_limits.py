"""How many mails an account may send: over all of its mail, and beside that through the global server.

Mail of the system, which belongs to no account, is not counted here.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import user_db
from database.engine import reading
from services.delivery import limits
from services.delivery.limits import Allowance, Limits, NoPlace
from services.outbox.reasons import Reason, coded
from services.settings import personal_policy
from services.settings.personal_policy import PersonalRules
from services.settings.route import RouteStep

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class AccountLimits:
    """What one account may send; 0 is no limit."""

    account_id: int
    all_mail: Limits
    by_global: Limits

    @property
    def owner(self) -> str:
        """By what the counts know all mail of the account."""
        return f"account:{self.account_id}"

    @property
    def global_owner(self) -> str:
        """By what they know what goes through the global server."""
        return f"account:{self.account_id}:global"


class Places:
    """The places that one mail takes in its account's allowances: one in each, however many servers are tried."""

    def __init__(self, limits_of_account: AccountLimits) -> None:
        self._limits: Final = limits_of_account
        self._taken: Final[set[str]] = set()

    def missing_for(self, server: RouteStep) -> Iterator[Allowance]:
        """The allowances that the mail needs a place in before it goes through this server."""
        theirs = self._limits
        wanted = {theirs.owner: theirs.all_mail}
        if not server.is_personal:
            wanted[theirs.global_owner] = theirs.by_global
        for owner, most in wanted.items():
            if owner not in self._taken:
                yield Allowance(owner, most, is_shared=False)

    def note_taken(self, allowances: Collection[Allowance]) -> None:
        self._taken.update(allowance.owner for allowance in allowances)

    def reason(self, refusal: NoPlace) -> str:
        """Why the mail waits, with the limit that is reached; "" if it is no limit of the account's."""
        theirs = self._limits
        if refusal.owner == theirs.owner:
            return coded(Reason.ACCOUNT_LIMIT, _named(theirs.all_mail, is_daily=refusal.is_daily))
        if refusal.owner == theirs.global_owner:
            return coded(Reason.GLOBAL_LIMIT, _named(theirs.by_global, is_daily=refusal.is_daily))
        return ""


def of_account(account_id: int | None) -> AccountLimits | None:
    """What this account may send; None for mail of the system. Never raises: without the database, as is usual."""
    if account_id is None:
        return None
    try:
        with reading() as session:
            return limits_of(account_id, session)
    except SQLAlchemyError as failure:
        log.warning("account_limits_not_read", kind=type(failure).__name__)
        return _limits(account_id, PersonalRules(), None, None)


def of_server(server: RouteStep) -> Limits:
    """What may go through a server; by domain that is limited for what leaves by ours, and not by an account's own."""
    found = limits.limits_of(server.emails_per_minute, server.emails_per_day)
    return found if server.account_id is None else replace(found, per_minute_per_domain=0)


def places_of(found: AccountLimits | None) -> Places | None:
    """Where one mail of the account takes its places; None for mail of the system."""
    return Places(found) if found else None


def take(server: RouteStep, own: Limits, domains: Collection[str], places: Places | None) -> NoPlace | None:
    """Take the places that a mail needs before this server gets it, or none of them and say which is missing."""
    theirs = list(places.missing_for(server)) if places else []
    refusal = limits.take([Allowance(server.owner, own, tuple(domains)), *theirs], is_security=False)
    if places and not refusal:
        places.note_taken(theirs)
    return refusal


def charge(server: RouteStep, places: Places | None) -> None:
    """Count a mail of an account that goes whatever its limits say."""
    if places:
        theirs = list(places.missing_for(server))
        for allowance in theirs:
            limits.charge(allowance.owner, allowance.limits)
        places.note_taken(theirs)


def limits_of(account_id: int, session: Session) -> AccountLimits:
    """What this account may send, as the policy and its own row have it."""
    account = user_db.find(session, account_id)
    policy = personal_policy.current(session)
    return _limits(
        account_id,
        policy,
        account.emails_per_minute if account else None,
        account.emails_per_day if account else None,
    )


def _limits(account_id: int, policy: PersonalRules, per_minute: int | None, per_day: int | None) -> AccountLimits:
    return AccountLimits(
        account_id=account_id,
        all_mail=Limits(
            per_minute=policy.emails_per_minute if per_minute is None else per_minute,
            per_day=policy.emails_per_day if per_day is None else per_day,
        ),
        by_global=Limits(per_minute=policy.fallback_per_minute, per_day=policy.fallback_per_day),
    )


def _named(most: Limits, *, is_daily: bool) -> str:
    amount = most.per_day if is_daily else most.per_minute
    return f"{amount:,} {'email' if amount == 1 else 'emails'} a {'day' if is_daily else 'minute'}."
