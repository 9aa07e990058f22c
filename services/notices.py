"""Mails that tell people what happened to their account: one attempt each, whose failure changes nothing."""

from datetime import datetime, timedelta
from typing import Final

from database import smtp_db, user_db
from database.engine import reading, transaction
from services import template_mail
from services.delivery import ACCEPTED, Outcome
from utils import clock
from utils.addresses import mask_address
from utils.env_utils import get_base_url

FAILOVER: Final = "failover"
TELL_AGAIN: Final = timedelta(hours=1)


def password_changed(email: str, moment: datetime) -> None:
    """Tell the owner that the password is another one since ``moment``."""
    template_mail.send(email, "password_changed", changed_at=_readable(moment), forgot_url=_forgot_url())


def address_changed(old_email: str, new_email: str, moment: datetime) -> None:
    """Tell the old address that the account has another one, which is shown masked."""
    template_mail.send(
        old_email,
        "address_changed",
        changed_at=_readable(moment),
        new_address=mask_address(new_email),
    )


def failed_over(outcome: Outcome) -> None:
    """Tell every administrator that a mail got through only by another server.

    At most once an hour for each configuration that was down, and through the server that works.
    """
    used = outcome.server
    if outcome.kind != ACCEPTED or used is None or used.settings is None:
        return
    for down in outcome.skipped:
        if down.server and down.server.settings and _may_tell(down.server.config_id):
            for address in _administrators():
                template_mail.send(
                    address,
                    FAILOVER,
                    down_name=down.server.name,
                    down_host=down.server.settings.host,
                    problem=down.message,
                    used_name=used.name,
                    used_host=used.settings.host,
                    settings_url=f"{get_base_url()}/settings/smtp",
                )


def _may_tell(config_id: int | None) -> bool:
    if config_id is None:
        return False
    now = clock.now()
    with transaction() as session:
        return smtp_db.claim_failover_notice(session, config_id, now, now - TELL_AGAIN)


def _administrators() -> list[str]:
    with reading() as session:
        return user_db.administrator_emails(session)


def _readable(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _forgot_url() -> str:
    return f"{get_base_url()}/forgot-password"
