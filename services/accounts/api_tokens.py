"""API tokens of accounts: made once, shown once, checked by digest, revoked for good."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import api_token_db, user_db
from database.api_token_db import ApiToken
from database.engine import reading, transaction
from database.user_db import Account
from services import audit
from services.accounts import noting
from services.audit import Action
from services.outbox import notices
from utils import clock
from utils.encryption_utils import digest
from utils.errors import Conflict, InvalidInput, NotFound
from utils.same_names import shared

PREFIX: Final = "sealpost_"  # fixed, so that secret scanners can know one
SHOWN: Final = 15  # characters of a token that lists show
BYTES: Final = 32
LONGEST_LIFE: Final = 3650  # days
TOLD_BEFORE: Final = (3, 14)  # days before its end, the last notice first
USE_NOTED: Final = timedelta(minutes=1)
SENT_TWICE: Final = timedelta(minutes=1)  # within which a form that comes again is the same click


class Scope(StrEnum):
    """What a token is good for. ``ADMIN``, for all that its owner may do, and ``METRICS`` are administrators' only."""

    SEND = "send"
    SETTINGS = "settings"
    READ = "read"
    METRICS = "metrics"
    ADMIN = "admin"


MEANINGS: Final = {
    Scope.SEND: "send email in your name",
    Scope.SETTINGS: "change your own mail server and senders",
    Scope.READ: "see your emails and what happened to them",
    Scope.METRICS: "read the figures at /metrics",
    Scope.ADMIN: "everything that an administrator can do",
}
OF_ADMINISTRATORS: Final = (Scope.ADMIN, Scope.METRICS)
MOST_TOKENS: Final = 100  # of one account that are good


@dataclass(frozen=True)
class TokenInfo:
    """A token as lists show it; the token itself is nowhere any more."""

    id: int
    name: str
    owner: str
    owner_id: int
    owner_is_admin: bool
    scopes: tuple[Scope, ...]
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_good(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > clock.now())

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


def may_have(*, is_admin: bool) -> dict[Scope, str]:
    """The scopes that may be chosen, each with what it means."""
    return {scope: meaning for scope, meaning in MEANINGS.items() if is_admin or scope not in OF_ADMINISTRATORS}


def create(
    account_id: int,
    name: str,
    days: int | None = None,
    scopes: Sequence[str] = (Scope.ADMIN,),
    *,
    text: str | None = None,
) -> tuple[str, TokenInfo]:
    """Make a token for an account, good for ``days`` or until it is revoked; the text is returned once.

    ``text`` is the token, for a form that may be sent twice: within a minute it gives the one that was made.
    Raises InvalidInput with the fields name, days and scopes; Conflict for a text that was made before.
    """
    errors = {}
    if not 1 <= len(name.strip()) <= 64 or not name.isprintable():  # noqa: PLR2004
        errors["name"] = ["Enter a name of at most 64 characters, like “deploy script”."]
    if days is not None and not 1 <= days <= LONGEST_LIFE:
        errors["days"] = [f"Enter 1 to {LONGEST_LIFE} days, or leave it empty."]
    if not scopes or not set(scopes) <= set(Scope):
        errors["scopes"] = [f"Choose one or more of: {', '.join(Scope)}."]
    if errors:
        raise InvalidInput(errors)
    text, now = text or PREFIX + secrets.token_urlsafe(BYTES), clock.now()
    with transaction() as session:
        # Held, so that a change of password at the same moment finds this token or comes before it.
        owner = user_db.lock(session, account_id)
        if owner is None or owner.disabled_at:
            raise NotFound("No such account.")
        if not owner.is_admin and (theirs := [scope for scope in OF_ADMINISTRATORS if scope in scopes]):
            raise InvalidInput({"scopes": [f"Only administrators can have tokens with the scope {theirs[0]}."]})
        if made := api_token_db.find_by_hash(session, digest(text)):
            return text, _made_before(*made, now)
        if sum(_info(each, owner).is_good for each in api_token_db.unrevoked(session, account_id)) >= MOST_TOKENS:
            raise InvalidInput({"name": [f"There are already {MOST_TOKENS} tokens. Revoke one that is not used."]})
        token = ApiToken(
            account_id=account_id,
            name=name.strip(),
            prefix=text[:SHOWN],
            token_hash=digest(text),  # it is random enough to need no salt
            scopes=" ".join(scope for scope in Scope if scope in scopes),
            created_at=now,
            expires_at=now + timedelta(days=days) if days else None,
        )
        session.add(token)
        session.flush()
        audit.record(session, Action.TOKEN_CREATED, _subject(token, owner))
    return text, _info(token, owner)


def every(account_id: int | None = None, *, before: int | None = None, limit: int | None = None) -> list[TokenInfo]:
    """All tokens, or those of one account, the newest first; or so many of them that are older than ``before``."""
    with reading() as session:
        return infos(api_token_db.every(session, account_id, before=before, limit=limit))


def infos(found: Iterable[tuple[ApiToken, Account]]) -> list[TokenInfo]:
    """Rows as lists show them, for who has looked them up another way."""
    return [_info(token, owner) for token, owner in found]


def revoke(token_id: int) -> TokenInfo:
    """End a token. Raises NotFound for an unknown one, or one that was revoked before."""
    with transaction() as session:
        found = api_token_db.find(session, token_id)
        if found is None or not _revoke(session, *found):
            raise NotFound("No such token, or it is already revoked.")
        session.refresh(found[0])
    return _info(*found)


def revoke_all(session: Session, owner: Account, scope: Scope | None = None) -> None:
    """End every token of an account, or those of a scope, within the caller's transaction."""
    for token in api_token_db.unrevoked(session, owner.id):
        if scope is None or scope in _info(token, owner).scopes:
            _revoke(session, token, owner)


def tell_expiring() -> None:
    """Mail the owners of tokens that end in 14 days, and again in 3; once each, whoever else looks at the same time.

    A token that was made for less time than that is not told of: its owner has just chosen it.
    """
    now = clock.now()
    with reading() as session:
        ending = api_token_db.expiring(session, now, now + timedelta(days=max(TOLD_BEFORE)))
    for token, owner in ending:
        days = _days_to_tell(token, now)
        if days is not None and _is_good(token, owner):
            _tell(token, owner, days)


def find_good(text: str) -> TokenInfo | None:
    """The good token that this is, of an account that is not disabled, or None. Its use is noted by the minute."""
    if not text.startswith(PREFIX):
        return None
    now = clock.now()
    with reading() as session:
        found = api_token_db.find_by_hash(session, digest(text))
    if not found:
        return None
    token, owner = found
    info = _info(token, owner)
    if not _is_good(token, owner):
        return None
    if token.last_used_at is None or now - token.last_used_at > USE_NOTED:
        noting.note(
            "token_use_not_noted", lambda session: api_token_db.note_used(session, info.id, now), token_id=info.id
        )
    return info


def find_ended(text: str) -> TokenInfo | None:
    """The token that this is and that is no good any more, for whoever still shows it; else None."""
    with reading() as session:
        found = api_token_db.find_by_hash(session, digest(text)) if text.startswith(PREFIX) else None
    return _info(*found) if found and not _is_good(*found) else None


def is_still_good(session: Session, token_id: int | None) -> bool:
    """Whether a token that was good a moment ago still is; asked where something is done by it. None is no token."""
    found = api_token_db.find(session, token_id) if token_id is not None else None
    return token_id is None or (found is not None and _is_good(*found))


def _is_good(token: ApiToken, owner: Account) -> bool:
    """Whether it has not ended, and its owner may use what it is good for."""
    info = _info(token, owner)
    is_office = any(scope in info.scopes for scope in OF_ADMINISTRATORS)
    return info.is_good and not owner.disabled_at and (owner.is_admin or not is_office)


def _revoke(session: Session, token: ApiToken, owner: Account) -> bool:
    """True if it was not revoked before."""
    revoked = api_token_db.revoke(session, token.id, clock.now())
    if revoked:
        audit.record(session, Action.TOKEN_REVOKED, _subject(token, owner))
    return revoked


def _made_before(token: ApiToken, owner: Account, now: datetime) -> TokenInfo:
    """A token that the same form has made, if that was just now. Raises Conflict."""
    if token.revoked_at or abs(now - token.created_at) > SENT_TWICE:
        raise Conflict("This form was already sent, and its token was shown then. Start again for another token.")
    return _info(token, owner)


def _days_to_tell(token: ApiToken, now: datetime) -> int | None:
    """The latest of the notices whose moment has come within the token's life."""
    for days in TOLD_BEFORE:
        moment = token.expires_at - timedelta(days=days) if token.expires_at else now
        if token.created_at < moment <= now:
            return days if token.told_days is None or token.told_days > days else None
    return None


def _tell(token: ApiToken, owner: Account, days: int) -> None:
    with transaction() as session:
        if token.expires_at and api_token_db.claim_notice(session, token.id, days):
            notices.token_expiring(session, owner.email, token.name, token.prefix, token.expires_at)


def _subject(token: ApiToken, owner: Account) -> str:
    return f"token {token.name} ({token.prefix}…) of {owner.username}"


def _info(token: ApiToken, owner: Account) -> TokenInfo:
    whose = {"owner": owner.username, "owner_id": owner.id, "owner_is_admin": owner.is_admin}
    scopes = tuple(Scope(scope) for scope in token.scopes.split())
    return TokenInfo(**shared(TokenInfo, token) | whose | {"scopes": scopes})
