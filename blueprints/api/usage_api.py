"""``/api/smtp/usage``: what an account has used of its limits, and how its mail of the last days went."""

from flask import Blueprint, Response, jsonify
from pydantic import Field

from blueprints.access import account_api, calling_account
from blueprints.api.api_models import NoParameters
from blueprints.api.openapi import Operation
from blueprints.api.personal_models import OWN_SERVER_TAG, PERSONAL_ERRORS, PersonalAnswer, PersonalError
from blueprints.api.query import parsed_query
from services.accounts.api_tokens import Scope
from services.personal import usage
from services.personal.usage import DayUse, LimitUse

bp = Blueprint("usage_api", __name__, url_prefix="/api/smtp/usage")


class LimitData(PersonalAnswer):
    """Mails; without a limit, ``limit`` and ``left`` are null."""

    limit: int | None
    used: int
    left: int | None


class WindowsData(PersonalAnswer):
    """What counts within a minute, and within 24 hours."""

    minute: LimitData
    day: LimitData


class LimitsData(PersonalAnswer):
    """``all`` is every mail of the account; ``global`` what goes through the global server, a limit beside that."""

    all: WindowsData
    through_global: WindowsData = Field(alias="global")


class DayData(PersonalAnswer):
    """A day in UTC: mails that were sent, that were given up, and of those sent, how many not by the own server."""

    date: str
    sent: int
    failed: int
    fell_back: int


class UsageAnswer(PersonalAnswer):
    limits: LimitsData
    days: list[DayData]


@bp.get("")
@Operation(
    summary="See what you have used of your limits",
    description="How much of each limit is used and left, and for each of the last 30 days how many emails were "
    "sent, failed, and went through the global server although you had your own. Oldest day first.",
    tag=OWN_SERVER_TAG,
    answers={200: UsageAnswer, 422: PersonalError, **PERSONAL_ERRORS},
)
@account_api(Scope.READ)
def get_usage() -> Response:
    """The account's limits and its last days."""
    parsed_query(NoParameters)
    found = usage.of_account(calling_account())
    answer = UsageAnswer(
        limits=LimitsData(
            all=WindowsData(minute=_limit(found.per_minute), day=_limit(found.per_day)),
            through_global=WindowsData(minute=_limit(found.global_per_minute), day=_limit(found.global_per_day)),
        ),
        days=[_day(each) for each in found.days],
    )
    return jsonify(answer.model_dump(by_alias=True))


def _limit(used: LimitUse) -> LimitData:
    return LimitData(limit=used.limit or None, used=used.used, left=used.left)


def _day(use: DayUse) -> DayData:
    return DayData(date=use.day.isoformat(), sent=use.sent, failed=use.failed, fell_back=use.fell_back)
