"""What an account has used of its limits, what is left, and how its mail of the last days went."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import smtp_db, usage_db
from database.engine import reading
from services.delivery import account_limits, limits
from services.delivery.limits import Limits, Used
from services.delivery.outcome import NOT_CONFIGURED, SUPPRESSED, THROTTLED
from services.settings.personal_route import OWN_NAME
from utils import clock

DAYS: Final = 30
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)
_TAKES_NO_PLACE: Final = (THROTTLED, SUPPRESSED, NOT_CONFIGURED)


@dataclass(frozen=True, kw_only=True)
class LimitUse:
    """A limit, 0 for none, and how many mails of it are used."""

    limit: int
    used: int

    @property
    def left(self) -> int | None:
        """How many more may go now; None without a limit."""
        return max(self.limit - self.used, 0) if self.limit else None


@dataclass(frozen=True, kw_only=True)
class DayUse:
    """A day, in UTC: mails that a server took, that were given up, that another than the account's own server took."""

    day: date
    sent: int = 0
    failed: int = 0
    fell_back: int = 0


@dataclass(frozen=True, kw_only=True)
class Usage:
    """``days`` are the last ones, today at the end."""

    per_minute: LimitUse
    per_day: LimitUse
    global_per_minute: LimitUse
    global_per_day: LimitUse
    days: list[DayUse]

    @property
    def most(self) -> int:
        """The mails of the busiest day."""
        return max(day.sent + day.failed for day in self.days)

    @property
    def sent(self) -> int:
        return sum(day.sent for day in self.days)

    @property
    def failed(self) -> int:
        return sum(day.failed for day in self.days)

    @property
    def fell_back(self) -> int:
        return sum(day.fell_back for day in self.days)


def of_account(account_id: int) -> Usage:
    """How it stands now."""
    now = clock.now()
    with reading() as session:
        theirs = account_limits.limits_of(account_id, session)
        all_mail = _used(theirs.owner, theirs.all_mail, _tried(session, account_id, now))
        by_global = _used(theirs.global_owner, theirs.by_global, _tried(session, account_id, now, not_by=OWN_NAME))
        days = _days(session, account_id, now)
    return Usage(
        per_minute=all_mail[0],
        per_day=all_mail[1],
        global_per_minute=by_global[0],
        global_per_day=by_global[1],
        days=days,
    )


def _tried(session: Session, account_id: int, now: datetime, not_by: str = "") -> Used:
    """What the log shows of the last minute and day; with ``not_by``, what other servers than that one were tried."""
    minute, day = (usage_db.tried(session, account_id, now - each, _TAKES_NO_PLACE, not_by) for each in (MINUTE, DAY))
    return Used(minute=minute, day=day)


def _used(owner: str, most: Limits, logged: Used) -> tuple[LimitUse, LimitUse]:
    """Of a minute and of a day: as this process has counted, or as the log shows, since others count for themselves."""
    counted = limits.used(owner, most)
    return (
        LimitUse(limit=most.per_minute, used=max(counted.minute, logged.minute)),
        LimitUse(limit=most.per_day, used=max(counted.day, logged.day)),
    )


def _days(session: Session, account_id: int, now: datetime) -> list[DayUse]:
    """The last days, also those on which there was no mail."""
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    own = smtp_db.find_own(session, account_id)
    sent = {
        each.day: each for each in usage_db.sent(session, account_id, begin, OWN_NAME, own.created_at if own else None)
    }
    failed = usage_db.failed(session, account_id, begin)
    found = []
    for number in range(DAYS):
        day = (begin + timedelta(days=number)).date()
        of_it, key = sent.get(day.isoformat()), day.isoformat()
        found.append(
            DayUse(
                day=day,
                sent=of_it.mails if of_it else 0,
                failed=failed.get(key, 0),
                fell_back=of_it.by_others if of_it else 0,
            )
        )
    return found
