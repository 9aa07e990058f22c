"""Which factors an account has, and so what it can prove itself by."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from database import factor_db, passkey_db, user_db
from database.engine import reading
from utils.env_utils import get_settings


@dataclass(frozen=True)
class Ways:
    """What there is for an account. ``app_since`` and ``app_used_at`` are of its authenticator app.

    A password that nobody signs in with here, since the provider is the only way, is none.
    """

    has_password: bool = False
    app_since: datetime | None = None
    app_used_at: datetime | None = None
    codes_left: int = 0
    passkeys: int = 0

    @property
    def has_second(self) -> bool:
        """Whether there is a factor beside the password; recovery codes alone are none."""
        return self.app_since is not None or bool(self.passkeys)


def of_account(account_id: int) -> Ways:
    with reading() as session:
        return within(session, account_id)


def within(session: Session, account_id: int) -> Ways:
    """As ``of_account``, within the caller's session."""
    account = user_db.find(session, account_id)
    if account is None:
        return Ways()
    app, ours = factor_db.totp_of(session, account_id), get_settings().oidc
    is_on = app is not None and app.confirmed_at is not None
    return Ways(
        has_password=bool(account.password_hash) and not (ours and ours.is_only),
        app_since=app.confirmed_at if app and is_on else None,
        app_used_at=app.last_used_at if app and is_on else None,
        codes_left=factor_db.unused_codes(session, account_id),
        passkeys=passkey_db.count(session, account_id),
    )
