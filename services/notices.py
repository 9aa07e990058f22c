"""Mails that tell people what happened to their account: one attempt each, whose failure changes nothing."""

from datetime import datetime

from services import email_service
from utils.addresses import mask_address
from utils.env_utils import get_base_url


def password_changed(email: str, moment: datetime) -> None:
    """Tell the owner that the password is another one since ``moment``."""
    email_service.send_template(email, "password_changed", changed_at=_readable(moment), forgot_url=_forgot_url())


def address_changed(old_email: str, new_email: str, moment: datetime) -> None:
    """Tell the old address that the account has another one, which is shown masked."""
    email_service.send_template(
        old_email,
        "address_changed",
        changed_at=_readable(moment),
        new_address=mask_address(new_email),
    )


def _readable(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _forgot_url() -> str:
    return f"{get_base_url()}/forgot-password"
