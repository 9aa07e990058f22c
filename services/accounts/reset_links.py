"""The links of mails that let somebody in: to choose a password, or to confirm an address.

A mail whose link is void does not go out any more.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import address_change_db, outbox_db, reset_token_db, sender_db
from database.address_change_db import AddressChange
from database.reset_token_db import ResetToken
from database.user_db import Account
from services.outbox import template_mail
from services.outbox.reasons import Reason
from utils import clock
from utils.encryption_utils import digest

TOKEN_BYTES: Final = 32
TOKEN_LIFE: Final = timedelta(hours=1)
INVITATION_LIFE: Final = timedelta(days=3)  # a weekend is no reason to ask again
ADDRESS_LIFE: Final = timedelta(hours=24)


def mail_new(session: Session, account: Account, now: datetime) -> None:
    """Issue a token and queue its mail, which dies with it. Those that were mailed before stay good for their time."""
    _mail(session, account, "password_reset", now, now + TOKEN_LIFE)


def mail_invitation(session: Session, account: Account, invited_by: str, now: datetime) -> None:
    """As ``mail_new``, for whoever has no password yet. The invitation before this one is void."""
    void(session, account.id)
    _mail(session, account, "invitation", now, now + INVITATION_LIFE, invited_by=invited_by, username=account.username)


def mail_confirmation(session: Session, account: Account, email: str, now: datetime) -> None:
    """Ask at a new address whether it is the account's; what was asked elsewhere before is void."""
    token, expires_at = secrets.token_urlsafe(TOKEN_BYTES), now + ADDRESS_LIFE
    void_address_change(session, account.id)
    values = {"username": account.username, "confirm_url": template_mail.link("/confirm-address", token)}
    mail_id = template_mail.queue(session, email, "address_confirmation", expires_at, **values)
    change = AddressChange(
        account_id=account.id,
        email=email,
        token_hash=digest(token),
        created_at=now,
        expires_at=expires_at,
        mail_id=mail_id,
    )
    session.add(change)


def void(session: Session, account_id: int) -> None:
    """Make every link of this account worthless, those for a new address or a sender included; withdraw their mails."""
    _withdraw(session, reset_token_db.void_unused(session, account_id))
    _withdraw(session, sender_db.void_links(session, account_id))
    void_address_change(session, account_id)


def void_address_change(session: Session, account_id: int) -> None:
    _withdraw(session, address_change_db.delete_of(session, account_id))


def _mail(
    session: Session, account: Account, template: str, now: datetime, expires_at: datetime, **values: object
) -> None:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    values["reset_url"] = template_mail.reset_url(token)
    mail_id = template_mail.queue(session, account.email, template, expires_at, **values)
    link = {"account_id": account.id, "token_hash": digest(token), "mail_id": mail_id}
    session.add(ResetToken(created_at=now, expires_at=expires_at, **link))


def _withdraw(session: Session, mail_ids: list[str]) -> None:
    for mail_id in mail_ids:
        outbox_db.withdraw(session, mail_id, Reason.LINK_VOID, clock.now())
