"""Looking again at a server that is down while no mail waits for it, so that nobody has to find out that it is back."""

from datetime import timedelta
from typing import Final

from services.delivery import attempt, record
from services.outbox import reasons
from services.outbox.reasons import Reason
from services.settings import health, route
from services.settings.health import Meeting, What
from services.settings.route import RouteStep
from services.smtp.patience import Span
from utils import clock

AGAIN: Final = timedelta(minutes=5)
AGAIN_SIGNING_IN: Final = timedelta(minutes=30)  # wrong passwords lock accounts
SECONDS: Final = 10.0


def look_again() -> None:
    """Connect and sign in to each server of the route that is down, and was not tried lately; no email is sent."""
    for step in route.usable():
        if not step.is_local_inbox and _is_worth_it(step):
            failure = attempt.failure_to_reach(step, Span(SECONDS))
            if failure:
                record.note([failure])
            else:
                record.note_met(step, Meeting(what=What.ANSWERED))


def _is_worth_it(step: RouteStep) -> bool:
    """Not where it lets us in and refuses the mails: only a mail, or a test by a person, can tell of that."""
    found = health.of_step(step)
    if not found.is_down or not found.is_unreachable or found.last_failure is None:
        return False
    again = AGAIN_SIGNING_IN if found.needs_sign_in or found.reason == reasons.words(Reason.SIGN_IN) else AGAIN
    return clock.now() - found.last_failure >= again
