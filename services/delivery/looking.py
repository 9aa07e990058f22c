"""A look at a server without a mail: connect, encrypt, sign in, ask for nothing, and go."""

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from services.delivery import attempt, retry_policy
from services.delivery.outcome import Outcome
from services.delivery.retry_policy import Whose
from services.settings import server_habits
from services.settings.route import RouteStep
from services.smtp import offers, our_faults
from services.smtp.client import Step
from services.smtp.dialogue import Dialogue
from services.smtp.habits import Habit, habits_of
from services.smtp.offers import Offers
from services.smtp.patience import Span
from services.smtp.pool import pool
from services.smtp.settings import SmtpSettings
from utils import incidents
from utils.errors import DeliveryError, Fault, Misconfigured, Phase

SECONDS: Final = 10.0  # for all of a look
_HEARD: Final = (Phase.GREETING, Phase.EHLO, Phase.ENCRYPTION)
_UNHEARD: Final = (Phase.DNS, Phase.CONNECT)


class LookResult(StrEnum):
    """What came of a look. IN_USE: mail has a connection to the server, or others have all that it gives."""

    GOOD = "good"
    SLOW = "slow"  # it was there, and took longer than a look may
    IN_USE = "in_use"
    REFUSED_TOKEN = "refused_token"  # noqa: S105 - an email would bring a new one
    FAILED = "failed"
    ENDED = "ended"  # by us


@dataclass(frozen=True, kw_only=True)
class ServerLook:
    """What came of it; ``failure`` if that tells of the server what a mail would. ``offered`` and ``looked_at`` are
    what it offered, and which of that was seen.
    """

    result: LookResult
    offered: Offers
    looked_at: frozenset[str] | None
    has_signed_in: bool = False
    failure: Outcome | None = None


def look_at(server: RouteStep, settings: SmtpSettings, span: Span) -> ServerLook:
    """Look at a server within the span. ``settings`` are its own, or with less to sign in with. Never raises, whatever
    the server does.

    Where mail has a connection open nothing is asked over that: it was let in a moment ago, which shows as much, and a
    command between two mails might end it. Nor is a second one opened, which the server may not give.
    """
    started, own = time.monotonic(), server.settings or settings
    server_habits.recall(settings.host, settings.port)
    policy = attempt.patient_policy(settings, span)
    steps: list[Step] = []
    talk = Dialogue(settings, steps.append)
    error: DeliveryError | None = None
    is_free = True
    try:
        is_free = pool.look(settings, policy, talk, owner=server.owner, of=own)
    except DeliveryError as failed:
        error = failed
    except incidents.STOPS:
        raise
    except BaseException as failed:
        error = our_faults.told("server_not_looked_at", failed, server=server.name)
    last_day = habits_of(settings.host, settings.port).name(Habit.CERTIFICATE)
    offered, looked_at = offers.of(talk.seen, settings.security, last_day)
    result = LookResult.IN_USE if not is_free else _result(error, steps, settings)
    if result is LookResult.GOOD and talk.seen.encrypted and last_day:
        server_habits.refresh(settings.host, settings.port, Habit.CERTIFICATE)
    server_habits.keep(settings.host, settings.port)
    return ServerLook(
        result=result,
        offered=offered,
        looked_at=looked_at if is_free else frozenset(),
        has_signed_in=talk.seen.signed_in or (error is None and is_free and not own.has_login),
        failure=_failure(server, error, started) if error and result is LookResult.FAILED else None,
    )


def _result(error: DeliveryError | None, steps: list[Step], settings: SmtpSettings) -> LookResult:
    if error is None:
        return LookResult.GOOD
    if error.ended_by_us:
        return LookResult.ENDED
    if retry_policy.is_crowded(error):
        return LookResult.IN_USE
    if error.by_token:
        return LookResult.REFUSED_TOKEN
    # Mail waits for longer than a look does.
    was_heard = any(step.name in _HEARD and step.status != "failed" for step in steps)
    is_known_as_slow = settings.timeout_seconds > SECONDS
    is_there = error.phase not in _UNHEARD and (was_heard or is_known_as_slow)
    return LookResult.SLOW if error.fault is Fault.TIMEOUT and is_there else LookResult.FAILED


def _failure(server: RouteStep, error: DeliveryError, started: float) -> Outcome:
    is_settings = retry_policy.of_error(error).whose is Whose.SETTINGS
    return Outcome(
        kind=Misconfigured.outcome if is_settings else error.outcome,
        message=retry_policy.message_of(error),
        ms=round((time.monotonic() - started) * 1000),
        server=replace(server, quiet=None),
        error=error,
    )
