"""Mails that tell people what happened to their account or their server: queued with the change that they tell of."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from database import smtp_db, user_db
from database.engine import transaction
from services.delivery import retry_policy
from services.delivery.outcome import ACCEPTED, Outcome
from services.delivery.standing import place_of
from services.outbox import owner_notices, sign_in_notices, template_mail
from services.settings.route import RouteStep
from utils import clock
from utils.addresses import mask_address
from utils.env_utils import get_base_url
from utils.log_utils import logged

log = structlog.get_logger(__name__)

FAILOVER: Final = "failover"
_OF_SERVERS: Final = (FAILOVER, sign_in_notices.TEMPLATE)
TELL_AGAIN: Final = timedelta(hours=1)


def password_changed(session: Session, email: str, moment: datetime) -> None:
    """Tell the owner, once the caller's transaction is committed, that the password is another since ``moment``."""
    values = {"changed_at": clock.readable(moment), "forgot_url": _forgot_url()}
    template_mail.queue(session, email, "password_changed", None, **values)


def second_factor(session: Session, email: str, what: str, moment: datetime) -> None:
    """Tell the owner of an account what became of its second factors; ``what`` is the beginning of a sentence."""
    values = {"what": what, "changed_at": clock.readable(moment), "forgot_url": _forgot_url()}
    template_mail.queue(session, email, "second_factor", None, **values)


def new_sign_in(session: Session, email: str, browser: str, address: str, moment: datetime) -> None:
    """Tell the owner of an account of a sign-in in a browser that nobody has used for it before."""
    values = {"browser": browser, "address": address, "signed_in_at": clock.readable(moment)}
    template_mail.queue(session, email, "new_sign_in", None, **values, forgot_url=_forgot_url())


def address_change_asked(session: Session, old_email: str, new_email: str, moment: datetime) -> None:
    """Warn the address of an account that another one, which is shown masked, was asked for and may take its place."""
    values = {"asked_at": clock.readable(moment), "new_address": mask_address(new_email), "forgot_url": _forgot_url()}
    template_mail.queue(session, old_email, "address_change_asked", None, **values)


def token_expiring(session: Session, email: str, name: str, prefix: str, expires_at: datetime) -> None:
    """Tell the owner of an API token that it will soon be refused. Later than that it is no news."""
    values = {"token_name": name, "prefix": prefix, "ends_at": clock.readable(expires_at)}
    values["tokens_url"] = f"{get_base_url()}/account/tokens"
    template_mail.queue(session, email, "token_expiring", expires_at, **values)


def address_changed(session: Session, old_email: str, new_email: str, moment: datetime) -> None:
    """Tell the old address that the account has another one, which is shown masked."""
    values = {"changed_at": clock.readable(moment), "new_address": mask_address(new_email)}
    template_mail.queue(session, old_email, "address_changed", None, **values)


def tell(outcome: Outcome, kind: str = "", *, is_about_it: bool = False) -> None:
    """Tell the administrators of a server that was down for this mail, unless the mail is such a notice itself.

    ``is_about_it``: it was the mail that the server would not have.
    """
    if kind in _OF_SERVERS:
        return
    owner_notices.tell(outcome, is_about_it=is_about_it)
    first = next((each for each in (*outcome.skipped, outcome) if each.server), outcome)
    if outcome.kind == ACCEPTED:  # if only by another server
        for down in (each for each in outcome.skipped if not each.is_throttled):
            _tell_administrators(down, outcome.server)
    elif outcome.withheld:
        held = outcome.withheld
        _tell_administrators(replace(outcome, server=first.server), held.server, is_waiting=True, reason=held.reason)
    elif not is_about_it and _must_be_told(outcome):
        _tell_administrators(outcome, None, is_waiting=True)


def _must_be_told(outcome: Outcome) -> bool:
    """Whether a person has to mend what keeps mail from going through the only server."""
    is_refused = outcome.verdict is not None and outcome.verdict.reason in retry_policy.PAUSE_REASONS
    return is_refused or (outcome.server is not None and sign_in_notices.is_needed(outcome.server))


def _tell_administrators(down: Outcome, used: RouteStep | None, *, is_waiting: bool = False, **values: object) -> None:
    """Tell every administrator what became of mail at a server, and which other it goes through, or may not.

    At most once an hour for each configuration; where mail waits, a notice that could not go by then is of no use
    any more. It goes where the server takes it, or another does by then.
    """
    server, now = down.server, clock.now()
    if not server or not server.settings or server.config_id is None:
        return
    if server.is_personal:  # which is a matter of its owner alone
        return
    if sign_in_notices.is_needed(server):
        sign_in_notices.tell(server, None if is_waiting else used)
        return
    values |= {"down_name": server.name, "down_host": server.settings.host, "problem": down.message}
    values |= {"used_name": used.name, "used_host": place_of(used)[0]} if used else {"used_name": "", "used_host": ""}
    values |= {"settings_url": f"{get_base_url()}/settings/smtp"}
    expires_at = now + TELL_AGAIN if is_waiting else None
    # The mail that led here may have been sent: whoever sent it must not be told otherwise, whatever goes wrong.
    # Claimed along with the mails: if these cannot be queued, another may tell.
    with logged(log.error, "failover_not_told", Exception), transaction() as session:
        if smtp_db.claim_failover_notice(session, server.config_id, now, now - TELL_AGAIN):
            for address in user_db.administrator_emails(session):
                template_mail.queue(session, address, FAILOVER, expires_at, **values)


def _forgot_url() -> str:
    return f"{get_base_url()}/forgot-password"
