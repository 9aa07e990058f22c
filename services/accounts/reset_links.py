"""The links of reset mails: one is good for each account, and a mail whose link is void does not go out any more."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import outbox_db, reset_token_db
from database.reset_token_db import ResetToken
from database.user_db import Account
from services.outbox import template_mail
from services.outbox.reasons import Reason
from utils import clock

TOKEN_BYTES: Final = 32
TOKEN_LIFE: Final = timedelta(hours=1)


def mail_new(session: Session, account: Account, now: datetime) -> None:
    """Issue a token, the only one that is good from now on, and queue its mail, which dies with it."""
    token, expires_at = secrets.token_urlsafe(TOKEN_BYTES), now + TOKEN_LIFE
    void(session, account.id)
    reset_url = template_mail.reset_url(token)
    mail_id = template_mail.queue(session, account.email, "password_reset", expires_at, reset_url=reset_url)
    link = {"account_id": account.id, "token_hash": hash_of(token), "mail_id": mail_id}
    session.add(ResetToken(created_at=now, expires_at=expires_at, **link))


def void(session: Session, account_id: int) -> None:
    """Make every link that was mailed to this account worthless, and withdraw mails that still wait."""
    for mail_id in reset_token_db.void_unused(session, account_id):
        outbox_db.withdraw(session, mail_id, Reason.LINK_VOID, clock.now())


def hash_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
