"""How much of an account's mail may wait: all that it queues over HTTP is kept until it is sent, or 72 hours old."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.orm import Session

from database import usage_db
from database.usage_db import WaitingBulk
from services.personal.mail_fields import WHOLE
from utils.env_utils import get_settings
from utils.errors import InvalidInput, TooMany

RETRY_SECONDS: Final = 60  # limits are counted by the minute, so some have gone by then
MB: Final = 2**20  # octets

_REMEDY: Final = "Wait until some are sent, cancel some, or ask an administrator to raise"
_NEVER: Final = "Even an empty queue has no room for this call"


def check(session: Session, account_id: int, new: Sequence[int]) -> None:
    """Refuse mails of so many octets each that would be too much beside what waits.

    The caller holds the account, so that no other adds to it. Raises TooMany, or InvalidInput if there can never be
    room for them.
    """
    settings = get_settings()
    most_mails, most_octets = settings.account_waiting_emails, settings.account_waiting_mb * MB
    wanted = WaitingBulk(len(new), sum(new))
    if not new or not (most_mails or most_octets):
        return
    if most_mails and wanted.mails > most_mails:
        raise _never(f"at most {_emails(most_mails)} may wait.")
    if most_octets and wanted.octets > most_octets:
        raise _never(f"emails that wait may have {settings.account_waiting_mb:,} MB together.")
    found = usage_db.waiting(session, account_id, most_mails or None)
    if most_mails and found.mails + wanted.mails > most_mails:
        told = f"{_emails(found.mails)} of yours are waiting, and at most {most_mails:,} may."
        raise TooMany(f"{told} {_REMEDY} ACCOUNT_WAITING_EMAILS.", RETRY_SECONDS)
    if most_octets and found.octets + wanted.octets > most_octets:
        told = f"Your waiting emails have {found.octets / MB:,.1f} MB, and may have {settings.account_waiting_mb:,}."
        raise TooMany(f"{told} {_REMEDY} ACCOUNT_WAITING_MB.", RETRY_SECONDS)


def _never(why: str) -> InvalidInput:
    return InvalidInput({WHOLE: [f"{_NEVER}: {why}"]}, "Nothing was taken.")


def _emails(amount: int) -> str:
    return f"{amount:,} {'email' if amount == 1 else 'emails'}"
