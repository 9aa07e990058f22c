"""The tokens by which applications send through the gateway."""

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from database.api_token_db import ApiToken
from database.gateway_db import GatewayUse
from database.user_db import Account, with_owner


def page(
    session: Session, scope: str, *, before: int | None = None, limit: int | None = None
) -> list[tuple[ApiToken, Account]]:
    """Tokens that nobody has revoked and that are for this scope, or were used at the gateway; the newest first.

    Those with a smaller id than ``before``, so many of them.
    """
    query = with_owner(ApiToken).where(_sends(scope)).order_by(ApiToken.id.desc()).limit(limit)
    return list(session.execute(query if before is None else query.where(ApiToken.id < before)))


def _sends(scope: str) -> ColumnElement[bool]:
    """The names of scopes are words, none of which is within another."""
    was_there = ApiToken.id.in_(select(GatewayUse.token_id).where(GatewayUse.token_id.is_not(None)))
    return ApiToken.revoked_at.is_(None) & or_(ApiToken.scopes.contains(scope), was_there)
