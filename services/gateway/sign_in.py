"""Signing in at the gateway: an account's name or address, and as password a token of it with the scope ``send``."""

from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Final

import structlog

from services.accounts import accounts, api_tokens, tries
from services.accounts.api_tokens import Scope, TokenInfo
from services.accounts.tries import Count
from services.gateway.replies import GatewayReply, Rejection, enough_of
from services.gateway.uses import Who
from utils.encryption_utils import digest
from utils.errors import TooMany

security_log = structlog.get_logger("security")

MOST_WRONG: Final = 20  # of one network in 15 minutes, as of bearer tokens over HTTP


@dataclass(frozen=True, kw_only=True)
class ClientSignedIn:
    """Who has signed in, by which token; without ``token_id`` nobody has, but a network is trusted."""

    who: Who
    account_id: int | None = None
    token_id: int | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class SignInRefused:
    """Why nobody has. ``who`` is whose try it was, as far as that is known; ``ends``: the connection is closed."""

    reply: GatewayReply
    who: Who | None = None
    ends: bool = False


def sign_in(login: str, token: str, address: str) -> ClientSignedIn | SignInRefused:
    """Who signs in from this address. A good token is never refused for what others have tried from there."""
    found = api_tokens.find_good(token)
    if found is None:
        ended = api_tokens.find_ended(token)
        if ended:
            return _refused(Rejection.ENDED_TOKEN, address, token, Who(token_id=ended.id))
        person = accounts.find_by_login(login) if login else None
        who = Who(account_id=person.id) if person else None
        return _refused(Rejection.WRONG_SIGN_IN, address, token, who)
    if not _is_of(found, login):
        return _refused(Rejection.WRONG_ACCOUNT, address, token, Who(token_id=found.id))
    if not found.allows(Scope.SEND):
        return _refused(Rejection.NO_SCOPE, address, token, Who(token_id=found.id))
    name = f"{found.owner} (token {found.name})"
    return ClientSignedIn(who=Who(token_id=found.id), account_id=found.owner_id, token_id=found.id, name=name)


def network_of(address: str) -> str:
    """Whom limits count: an address, or for IPv6 its /64."""
    try:
        return str(IPv6Network((address, 64), strict=False))
    except ValueError:
        return address


def _is_of(token: TokenInfo, login: str) -> bool:
    person = accounts.find_by_login(login) if login else None
    return person is not None and person.id == token.owner_id


def _refused(refusal: Rejection, address: str, token: str, who: Who | None) -> SignInRefused:
    """Count a refused sign-in; over the limit the connection ends."""
    security_log.warning("gateway_sign_in_refused", reason=refusal.name.lower(), fingerprint=digest(token)[:8])
    network = network_of(address)
    try:
        with tries.counted([Count(f"gateway {network}", most=MOST_WRONG, of="this network")], "gateway"):
            return SignInRefused(reply=refusal.reply, who=who)
    except TooMany as error:
        reply = Rejection.TOO_MANY_SIGN_INS.reply.because(enough_of(error.retry_after))
        return SignInRefused(reply=reply, who=who, ends=True)
