"""What happens to the stored server of an account when the account changes."""

from dataclasses import replace
from typing import Final

from sqlalchemy.orm import Session

from database import smtp_db
from services.settings import sealing, sign_ins
from services.settings.row import ACCOUNT_DISABLED
from services.smtp.settings import NO_PASSWORD
from utils import clock

ADDRESS_CHANGED: Final = "address_changed"
NOT_CONNECTED: Final = "not_connected"  # as if there were none: nobody has agreed yet, or somebody ended it
# Why it is not used, by the codes of ``smtp_config.inactive_reason``.
INACTIVE: Final = {
    "": "It is not allowed.",
    ADDRESS_CHANGED: "The account's address has changed. Check the server's settings and save them again.",
    ACCOUNT_DISABLED: "The account was disabled and the password deleted. Enter it again and save.",
    NOT_CONNECTED: "It is not connected. Connect it, or enter a password and save.",
}


def retire(session: Session, account_id: int, reason: str) -> bool:
    """Use an account's own server no more until it is saved again; False if there is none that was used."""
    row = smtp_db.find_own(session, account_id)
    if row is None or row.inactive_reason == ACCOUNT_DISABLED:
        return False
    row.is_active, row.inactive_reason = False, reason
    row.version += 1  # whoever has its form open is told
    row.updated_at = clock.now()
    return True


def erase_secrets(session: Session, account_id: int) -> None:
    """Keep no password, key or token of an account's own server, which is used no more until it has them again.

    One that needs none stays as it is.
    """
    row = smtp_db.find_own(session, account_id)
    if row is None:
        return
    known = sign_ins.forget(session, row)
    if not (row.smtp_password or row.client_key or known):
        return
    stored = sealing.unsealed(row)
    is_by_token = known is not None and stored.settings.is_by_token
    retire(session, account_id, NOT_CONNECTED if is_by_token else ACCOUNT_DISABLED)
    row.verified_at = row.verified_fingerprint = None
    if stored.is_readable:
        sealing.seal(row, replace(stored.settings, password=NO_PASSWORD, client_key=NO_PASSWORD), kept=())
    else:
        row.smtp_password = row.client_key = ""


def disconnect(session: Session, account_id: int) -> bool:
    """Forget the sign-in by token of an account's own server, if it has one; whether it had."""
    row = smtp_db.find_own(session, account_id)
    return row is not None and sign_ins.forget(session, row) is not None
