"""What an account is told of its own server: once when it breaks, and once when it works again.

Such a mail is the system's own, and so never goes by the server that it tells of, nor by any other account's.
"""

from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from database import smtp_db, user_db
from database.engine import transaction
from services.delivery.outcome import Outcome
from services.delivery.standing import place_of
from services.outbox import sign_in_notices, template_mail
from services.settings.route import RouteStep
from utils import clock
from utils.env_utils import get_base_url
from utils.log_utils import logged

log = structlog.get_logger(__name__)

BROKEN: Final = "own_server_broken"
WORKS: Final = "own_server_works"
RETIRED: Final = "own_server_retired"
QUIET: Final = timedelta(minutes=10)  # for what breaks and works in turns


def tell(outcome: Outcome, *, is_about_it: bool = False) -> None:
    """Tell the owner of a server that this mail has shown to be broken, or to work again. Never raises.

    ``is_about_it``: it was the mail that the server would not have.
    """
    for each in (*outcome.skipped, outcome):
        if each.server and each.server.account_id is not None:  # whose own it is
            _tell_of_attempt(each, outcome.server if outcome.receipt else None, is_about_it=is_about_it)
    passed_over = outcome.blocked_by or (outcome.server.stands_in_for if outcome.server else None)
    if passed_over:
        tell_passed_over(passed_over, outcome.server if outcome.receipt else None)


def tell_passed_over(own: RouteStep, used: RouteStep | None) -> None:
    """Tell the owner of a server that cannot be used as it is stored, and which other has sent instead, if any."""
    if own.is_broken and own.config_id is not None:
        _tell_broken(own, own.reason, used)


def tell_needs_sign_in(own: RouteStep) -> None:
    """Tell the owner of a server that nobody can sign in to by its token any more, as was found while no mail went."""
    _tell_broken(own, sign_in_notices.OWN_PROBLEM, None)


def server_retired(session: Session, email: str) -> None:
    """Tell an account, at its new address, that its own server is not used until somebody has looked at it."""
    template_mail.queue(session, email, RETIRED, None, smtp_url=f"{get_base_url()}/account/smtp")


def _tell_of_attempt(tried: Outcome, used: RouteStep | None, *, is_about_it: bool) -> None:
    server, met = tried.server, tried.meeting
    if server is None:
        return
    if tried.receipt and server.is_told_broken:
        _tell_works(server)
    if met and met.is_broken and tried.is_server_down and not is_about_it:
        is_for_owner = sign_in_notices.is_needed(server)
        _tell_broken(server, sign_in_notices.OWN_PROBLEM if is_for_owner else f"{tried.message}.", used)


def _tell_broken(own: RouteStep, problem: str, used: RouteStep | None) -> None:
    config_id, now = own.config_id, clock.now()
    if own.is_told_broken or config_id is None:
        return
    sender = used.settings.from_email if used and used.settings else ""
    # As in notices: what became of the mail is told whatever goes wrong.
    with logged(log.error, "owner_not_told", Exception), transaction() as session:
        is_news, is_due = smtp_db.claim_broken_notice(session, config_id, now, now - QUIET)
        if is_news:
            log.warning("own_server_broken", config_id=config_id, account_id=own.account_id, reason=problem)
        if is_due:
            _queue(session, own, BROKEN, problem=problem, used_from=sender)


def _tell_works(own: RouteStep) -> None:
    if own.config_id is not None:
        with logged(log.error, "owner_not_told", Exception), transaction() as session:
            if smtp_db.claim_works_notice(session, own.config_id):
                _queue(session, own, WORKS)


def _queue(session: Session, own: RouteStep, template: str, **values: object) -> None:
    account = user_db.find(session, own.account_id) if own.account_id is not None else None
    if account is None or account.disabled_at is not None:
        return
    values |= {"host": place_of(own)[0] or _host_of(session, own), "smtp_url": f"{get_base_url()}/account/smtp"}
    template_mail.queue(session, account.email, template, None, **values)


def _host_of(session: Session, own: RouteStep) -> str:
    """As it stands in a row that cannot be opened."""
    row = smtp_db.find(session, own.config_id) if own.config_id is not None else None
    return row.smtp_server if row else ""
