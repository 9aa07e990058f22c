"""Mails that tell people what happened to their account: one attempt each, whose failure changes nothing."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from database import smtp_db, user_db
from database.engine import transaction
from services import template_mail
from services.delivery import ACCEPTED, Outcome
from utils import clock
from utils.addresses import mask_address
from utils.env_utils import get_base_url

log = structlog.get_logger(__name__)

FAILOVER: Final = "failover"
TELL_AGAIN: Final = timedelta(hours=1)


def password_changed(email: str, moment: datetime) -> None:
    """Tell the owner that the password is another one since ``moment``."""
    _send(email, "password_changed", changed_at=_readable(moment), forgot_url=_forgot_url())


def address_changed(old_email: str, new_email: str, moment: datetime) -> None:
    """Tell the old address that the account has another one, which is shown masked."""
    _send(old_email, "address_changed", changed_at=_readable(moment), new_address=mask_address(new_email))


def failed_over(outcome: Outcome) -> None:
    """Tell every administrator that a mail got through only by another server.

    At most once an hour for each configuration that was down, and through the server that works.
    """
    used = outcome.server
    if outcome.kind != ACCEPTED or used is None or used.settings is None:
        return
    for down in outcome.skipped:
        if down.server and down.server.settings:
            for address in _whom_to_tell(down.server.config_id):
                template_mail.send_through(
                    used,
                    address,
                    FAILOVER,
                    down_name=down.server.name,
                    down_host=down.server.settings.host,
                    problem=down.message,
                    used_name=used.name,
                    used_host=used.settings.host,
                    settings_url=f"{get_base_url()}/settings/smtp",
                )


def _send(to_email: str, template: str, **values: object) -> None:
    outcome = template_mail.send(to_email, template, **values)
    if outcome:
        failed_over(outcome)


def _whom_to_tell(config_id: int | None) -> list[str]:
    """The administrators, if nobody told them of this configuration within the last hour; otherwise nobody."""
    if config_id is None:
        return []
    now = clock.now()
    try:
        with transaction() as session:
            is_ours_to_tell = smtp_db.claim_failover_notice(session, config_id, now, now - TELL_AGAIN)
            return user_db.administrator_emails(session) if is_ours_to_tell else []
    except SQLAlchemyError as failure:
        # The mail that led here has been sent: whoever sent it must not be told otherwise.
        log.error("failover_not_told", kind=type(failure).__name__)
        return []


def _readable(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _forgot_url() -> str:
    return f"{get_base_url()}/forgot-password"
