"""Administrators' API tokens: made once, shown once, checked by digest, revoked for good."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from database import api_token_db
from database.api_token_db import ApiToken
from database.engine import reading, transaction
from database.user_db import Account
from services import audit
from services.audit import Action
from utils import clock
from utils.errors import InvalidInput, NotFound

PREFIX: Final = "sealpost_"  # fixed, so that secret scanners can know one
SHOWN: Final = 15  # characters of a token that lists show
BYTES: Final = 32
LONGEST_LIFE: Final = 3650  # days
USE_NOTED: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class TokenInfo:
    """A token as lists show it; the token itself is nowhere any more."""

    id: int
    name: str
    owner: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_good(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > clock.now())


def create(account_id: int, name: str, days: int | None = None) -> tuple[str, TokenInfo]:
    """Make a token for an administrator, good for ``days`` or until it is revoked; the text is returned once.

    Raises InvalidInput with the fields name and days.
    """
    errors = {}
    if not 1 <= len(name.strip()) <= 64 or not name.isprintable():  # noqa: PLR2004
        errors["name"] = ["Give the token a name of at most 64 characters, like “deploy script”."]
    if days is not None and not 1 <= days <= LONGEST_LIFE:
        errors["days"] = [f"Give 1 to {LONGEST_LIFE} days, or none."]
    if errors:
        raise InvalidInput(errors)
    text, now = PREFIX + secrets.token_urlsafe(BYTES), clock.now()
    with transaction() as session:
        owner = session.get(Account, account_id)
        if owner is None or not owner.is_admin:
            raise NotFound("There is no such administrator.")
        token = ApiToken(
            account_id=account_id,
            name=name.strip(),
            prefix=text[:SHOWN],
            token_hash=digest(text),
            created_at=now,
            expires_at=now + timedelta(days=days) if days else None,
        )
        api_token_db.add(session, token)
        audit.record(session, Action.TOKEN_CREATED, f"token {token.name} ({token.prefix}…)")
    return text, _info(token, owner)


def every(account_id: int | None = None) -> list[TokenInfo]:
    """All tokens, or those of one account, the newest first."""
    with reading() as session:
        return [_info(token, owner) for token, owner in api_token_db.every(session, account_id)]


def revoke(token_id: int) -> TokenInfo:
    """End a token. Raises NotFound for an unknown one, or one that was revoked before."""
    with transaction() as session:
        token = api_token_db.find(session, token_id)
        if token is None or not api_token_db.revoke(session, token_id, clock.now()):
            raise NotFound("There is no such token, or it is revoked already.")
        session.refresh(token)
        owner = session.get(Account, token.account_id)
        audit.record(session, Action.TOKEN_REVOKED, f"token {token.name} ({token.prefix}…)")
    if owner is None:
        raise NotFound("There is no such token.")
    return _info(token, owner)


def find_administrator(text: str) -> str | None:
    """The user name of the administrator whose good token this is, or None. Its use is noted by the minute."""
    if not text.startswith(PREFIX):
        return None
    now = clock.now()
    with reading() as session:
        found = api_token_db.find_with_owner(session, digest(text))
    if not found:
        return None
    token, owner = found
    if not owner.is_admin or not _info(token, owner).is_good:
        return None
    if token.last_used_at is None or now - token.last_used_at > USE_NOTED:
        with transaction(durable=False) as session:
            api_token_db.note_used(session, token.id, now)
    return owner.username


def digest(text: str) -> str:
    """What is stored and compared in place of a token; it is random enough to need no salt."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _info(token: ApiToken, owner: Account) -> TokenInfo:
    return TokenInfo(
        id=token.id,
        name=token.name,
        owner=owner.username,
        prefix=token.prefix,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
    )
