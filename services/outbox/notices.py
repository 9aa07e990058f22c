"""Mails that tell people what happened to their account or their server: queued with the change that they tell of."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from database import smtp_db, user_db
from database.engine import transaction
from database.outbox_db import Priority
from services.delivery import retry_policy
from services.delivery.outcome import ACCEPTED, Outcome
from services.outbox import template_mail
from utils import clock
from utils.addresses import mask_address
from utils.env_utils import get_base_url

log = structlog.get_logger(__name__)

FAILOVER: Final = "failover"
TELL_AGAIN: Final = timedelta(hours=1)


def password_changed(session: Session, email: str, moment: datetime) -> None:
    """Tell the owner, once the caller's transaction is committed, that the password is another since ``moment``."""
    _queue(session, email, "password_changed", None, changed_at=_readable(moment), forgot_url=_forgot_url())


def address_change_asked(session: Session, old_email: str, new_email: str, moment: datetime) -> None:
    """Warn the address of an account that another one, which is shown masked, was asked for and may take its place."""
    values = {"asked_at": _readable(moment), "new_address": mask_address(new_email), "forgot_url": _forgot_url()}
    _queue(session, old_email, "address_change_asked", None, **values)


def token_expiring(session: Session, email: str, name: str, prefix: str, expires_at: datetime) -> None:
    """Tell the owner of an API token that it will soon be refused. Later than that it is no news."""
    values = {"token_name": name, "prefix": prefix, "ends_at": _readable(expires_at)}
    _queue(session, email, "token_expiring", expires_at, **values, tokens_url=f"{get_base_url()}/settings/tokens")


def address_changed(session: Session, old_email: str, new_email: str, moment: datetime) -> None:
    """Tell the old address that the account has another one, which is shown masked."""
    new_address = mask_address(new_email)
    _queue(session, old_email, "address_changed", None, changed_at=_readable(moment), new_address=new_address)


def tell(outcome: Outcome, kind: str = "", *, is_about_it: bool = False) -> None:
    """Tell the administrators of a server that was down for this mail, unless the mail is such a notice itself.

    ``is_about_it``: it was the mail that the server would not have.
    """
    if kind != FAILOVER:
        failed_over(outcome)
        withheld(outcome)
        if not is_about_it:
            paused(outcome)


def paused(outcome: Outcome) -> None:
    """Tell every administrator that mail waits, since a server refuses what only a person can mend.

    At most once an hour for each configuration. It goes where the server takes it, or another does by then.
    """
    down, error = outcome.server, outcome.error
    if error is None or outcome.withheld or not down or not down.settings or down.config_id is None:
        return
    if retry_policy.of_error(error).reason in retry_policy.PAUSE_REASONS:
        _tell_administrators(
            down.config_id,
            expires_at=clock.now() + TELL_AGAIN,
            down_name=down.name,
            down_host=down.settings.host,
            problem=outcome.message,
            used_name="",
            used_host="",
            settings_url=f"{get_base_url()}/settings/smtp",
        )


def withheld(outcome: Outcome) -> None:
    """Tell every administrator that mail waits, since the next server would protect it less.

    At most once an hour for each configuration; a notice that could not go by then is of no use any more.
    """
    down = next((each.server for each in (*outcome.skipped, outcome) if each.server), None)
    held = outcome.withheld
    if not held or not held.server.settings or not down or not down.settings or down.config_id is None:
        return
    _tell_administrators(
        down.config_id,
        expires_at=clock.now() + TELL_AGAIN,
        down_name=down.name,
        down_host=down.settings.host,
        problem=outcome.message,
        used_name=held.server.name,
        used_host=held.server.settings.host,
        reason=held.reason,
        settings_url=f"{get_base_url()}/settings/smtp",
    )


def failed_over(outcome: Outcome) -> None:
    """Tell every administrator that a mail got through only by another server.

    At most once an hour for each configuration that was down.
    """
    used = outcome.server
    if outcome.kind != ACCEPTED or used is None or used.settings is None:
        return
    for down in outcome.skipped:
        if down.server and down.server.settings and down.server.config_id is not None:
            _tell_administrators(
                down.server.config_id,
                expires_at=None,
                down_name=down.server.name,
                down_host=down.server.settings.host,
                problem=down.message,
                used_name=used.name,
                used_host=used.settings.host,
                settings_url=f"{get_base_url()}/settings/smtp",
            )


def _tell_administrators(config_id: int, *, expires_at: datetime | None, **values: object) -> None:
    """Unless somebody has told them of this configuration within the last hour."""
    now = clock.now()
    try:
        with transaction() as session:
            if smtp_db.claim_failover_notice(session, config_id, now, now - TELL_AGAIN):
                for address in user_db.administrator_emails(session):
                    _queue(session, address, FAILOVER, expires_at, **values)
    except Exception as failure:
        # The mail that led here may have been sent: whoever sent it must not be told otherwise, whatever this is.
        log.error("failover_not_told", kind=type(failure).__name__)


def _queue(session: Session, to_email: str, template: str, expires_at: datetime | None, **values: object) -> None:
    template_mail.queue(
        to_email, template, session=session, priority=Priority.SECURITY, expires_at=expires_at, **values
    )


def _readable(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _forgot_url() -> str:
    return f"{get_base_url()}/forgot-password"
