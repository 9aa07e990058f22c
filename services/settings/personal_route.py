"""The first step of the route of an account's mail: its own server, why it is passed over, who may stand in for it."""

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import driver as driver_path
from database import schema_db, smtp_db
from database.engine import driver_reading
from database.smtp_db import MailOwner
from services.settings import personal_policy, sealing
from services.settings.own_rows import INACTIVE, NOT_CONNECTED
from services.settings.personal_policy import Allowed, Fallback
from services.settings.sealing import StoredConfig
from utils.addresses import LONGEST_NAME
from utils.env_utils import get_settings
from utils.log_utils import printable

PERSONAL: Final = "personal"  # the source of its step
OWN_NAME: Final = "Own server"
# What an administrator decided for an account: ``account.personal_smtp``.
USED: Final = "own"
SWITCHED_OFF: Final = "disabled"
GLOBAL: Final = "global"
ABSENT: Final = "This account does not have its own server."
GLOBAL_SERVES: Final = "An administrator chose the global server for this account."
ALL_OFF: Final = "Accounts cannot use their own servers."
IS_OFF: Final = "An administrator has disabled this server."
NOT_ALLOWED: Final = "The policy no longer allows this server. Ask an administrator."
OAUTH_ONLY: Final = "Accounts must connect their server by OAuth; a password is no longer used. Connect it."
# When another server sends instead of one that is used.
INSTEAD: Final = {
    Fallback.ALWAYS: "Used for this account while its own server fails.",
    Fallback.CONNECTION: "Used for this account while Sealpost cannot connect or sign in to its own server.",
    Fallback.NEVER: "Never used for this account instead of its own server.",
}
SENDS: Final = "The account's own server."
NOBODY_ELSE: Final = "The account's own server cannot be used, and no other may send for it now."


class UnusableAccount(ValueError):
    """Nothing is sent for this account; ``is_gone``: there is none. The text names the caller's argument."""

    def __init__(self, *, is_gone: bool) -> None:
        self.is_gone = is_gone
        self.reason = "No such account." if is_gone else "This account is disabled."
        super().__init__(f"account_id: {self.reason}")


@dataclass(frozen=True, kw_only=True)
class Behalf:
    """For whom a server sends that is not the account's own: the name in From, and where replies go."""

    name: str
    reply_to: str


@dataclass(frozen=True, kw_only=True)
class OwnServer:
    """An account's own server on the way of its mail. ``reason`` tells why it is used, or passed over.

    ``is_meant``: it is to send, so that any other only stands in for it. ``falls_back`` is when the next server is
    asked, ``blocks`` whether none is, though this one is passed over.
    """

    reason: str
    behalf: Behalf | None = None
    stored: StoredConfig | None = None
    is_used: bool = False
    is_meant: bool = False
    is_broken: bool = False
    falls_back: Fallback = Fallback.NEVER
    blocks: bool = False


def find(account_id: int, session: Session | None = None) -> OwnServer:
    """The account's own server as it stands now; asked in the caller's session if there is one.

    Raises UnusableAccount.
    """
    try:
        owner = require(account_id, session)
        stored = sealing.unsealed(owner.server, by_administrator=owner.is_admin) if owner.server else None
        stored = replace(stored, quiet=owner.quiet) if stored else None
        behalf = _behalf(owner, stored)
        if stored is None:
            return OwnServer(reason=ABSENT, behalf=behalf)
        if owner.personal_smtp == GLOBAL:
            return OwnServer(reason=GLOBAL_SERVES, behalf=behalf, stored=stored)
        policy = personal_policy.current(session)
    except SQLAlchemyError as error:  # nobody knows then what its own server is, nor whether another may send
        reason = schema_db.UPGRADE if schema_db.lacks_something(error) else "The database is not responding."
        return OwnServer(reason=reason, is_broken=True, blocks=True)
    if policy.allowed is Allowed.OFF:  # as if there were none
        return OwnServer(reason=ALL_OFF, behalf=behalf, stored=stored)
    if stored.row.inactive_reason == NOT_CONNECTED:
        return OwnServer(reason=INACTIVE[NOT_CONNECTED], behalf=behalf, stored=stored)
    return _judged(owner, stored, policy, behalf)


def require(account_id: int, session: Session | None = None) -> MailOwner:
    """The account, with its own server if it has one. Raises UnusableAccount where nothing is sent for it."""
    owner = _read(account_id, session)
    if owner is None or owner.disabled_at is not None:
        raise UnusableAccount(is_gone=owner is None)
    return owner


def _read(account_id: int, session: Session | None) -> MailOwner | None:
    if type(account_id) is not int or not 0 < account_id < 2**31:  # no database could look it up; True is no id
        return None
    with driver_path.borrowed(session.connection()) if session is not None else driver_reading() as driver:
        return smtp_db.read_owner(driver, account_id)


def _judged(owner: MailOwner, stored: StoredConfig, policy: personal_policy.PersonalRules, behalf: Behalf) -> OwnServer:
    """Used, or passed over: because of what somebody decided, or because it cannot be opened."""
    row, falls_back, decided = stored.row, policy.fallback, ""
    if owner.personal_smtp == SWITCHED_OFF:
        decided = IS_OFF
    elif row.inactive_reason or not row.is_active:
        decided = INACTIVE.get(row.inactive_reason, INACTIVE[""])
    elif not policy.allows(row.smtp_server):
        decided = NOT_ALLOWED
    elif not policy.allows_sign_in(by_token=stored.settings.is_by_token):
        decided = OAUTH_ONLY
    is_broken = not decided and not stored.is_usable
    others_from = Fallback.ALWAYS if decided else Fallback.CONNECTION
    return OwnServer(
        reason=decided or stored.problem or SENDS,
        behalf=behalf,
        stored=stored,
        is_used=not decided and not is_broken,
        is_meant=True,
        is_broken=is_broken,
        falls_back=falls_back,
        blocks=(bool(decided) or is_broken) and falls_back not in (Fallback.ALWAYS, others_from),
    )


def _behalf(owner: MailOwner, stored: StoredConfig | None) -> Behalf:
    """What a row says that nobody can vouch for, or that was another address's, tells nothing of who it is."""
    row = stored.row if stored and stored.is_usable and not stored.row.inactive_reason else None
    via = f" via {get_settings().app_name}"
    name = printable((row.from_name if row else "") or owner.username, LONGEST_NAME - len(via))
    reply_to = (row.reply_to or row.from_email) if row else owner.email
    return Behalf(name=f"{name}{via}", reply_to=reply_to)
