"""The way through someone's browser and back: to the provider's page, and from the code to who it was.

What waits for the way back is sealed in the state that comes back, for ten minutes, and bound to a cookie of that
browser: strangers who begin sign-ins leave nothing behind, nobody else's browser can end one, and each of several tabs
can end its own. No database session is open while the provider is asked.
"""

import base64
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.fernet import Fernet

from services.oauth import grants, redirect
from services.oauth.client import OAuthClient
from services.oauth.failures import About, TokenFailure, TokenFault
from services.oauth.providers import Grant, OAuthProvider, TokenProvider
from services.oauth.redirect import PendingSignIn
from services.single_sign_on import claims, provider
from services.single_sign_on.claims import ProvenIdentity
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from services.single_sign_on.provider import ProviderFacts
from utils import clock, late
from utils.encryption_utils import CannotDecrypt, digest, known_keys, opened, subkey
from utils.env_utils import get_base_url
from utils.oidc_env import OidcSettings
from utils.secret import Secret

CALLBACK_PATH: Final = "/login/oidc/callback"
SIGNED_OUT_PATH: Final = "/signed-out"
LIFE: Final = redirect.SIGN_IN_LIFE
_PURPOSE: Final = "oidc-pending-v2"
_COOKIE_OCTETS: Final = 32
_COOKIE: Final = re.compile(r"[\w-]{43}", re.ASCII)
_LONGEST_STATE: Final = 4096
_RECENT: Final = MappingProxyType({"prompt": "login", "max_age": "0"})

ProviderAnswer = Mapping[str, Sequence[str]]


class Aim(StrEnum):
    """What a sign-in at the provider is for."""

    SIGN_IN = "sign_in"
    LINK = "link"  # to the account that is signed in
    CONFIRM = "confirm"  # that it is still the same person
    INVITATION = "invitation"  # by whoever has its link


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What somebody was sent away for. ``place`` is the session that may end it, ``next`` where it goes on."""

    aim: Aim = Aim.SIGN_IN
    place: str = ""
    next: str = ""
    token: str = ""  # of an invitation


@dataclass(frozen=True, kw_only=True)
class SentAway:
    """Where the browser goes, and the cookie that it has to come back with, for all of its tabs."""

    url: str
    cookie: str


def redirect_uri() -> str:
    """What is registered at the provider."""
    return get_base_url() + CALLBACK_PATH


def signed_out_uri() -> str:
    """Where it sends people back to once they have signed out there."""
    return get_base_url() + SIGNED_OUT_PATH


def begin(errand: Errand, cookie: str = "") -> SentAway:
    """Send somebody to the provider; ``cookie`` is what the browser has already. Raises SignOnFailure."""
    ours = provider.configured()
    facts = provider.discovered(ours)
    cookie = cookie if _COOKIE.fullmatch(cookie) else secrets.token_urlsafe(_COOKIE_OCTETS)
    pending = _sealed(redirect.begin(redirect_uri(), clock.now()), errand, facts.issuer, cookie)
    again = dict(_RECENT) if errand.aim is Aim.CONFIRM else {}
    try:
        url = grants.authorization_url(_token_provider(ours, facts, again), _client(ours, facts), pending)
    except TokenFailure as failure:
        raise _failure(failure) from None
    return SentAway(url=url, cookie=cookie)


def finish(answer: ProviderAnswer, cookie: str) -> tuple[ProvenIdentity, Errand]:
    """Who came back, and what for. Raises SignOnFailure."""
    ours, now = provider.configured(), clock.now()
    pending, errand, issuer = _unsealed(answer.get("state", ()), cookie)
    facts = provider.discovered(ours)
    if facts.issuer != issuer or (facts.names_itself and answer.get("iss") != [issuer]):
        raise SignOnFailure(SignOnFault.NOT_OURS, "issuer")
    try:
        code = redirect.code_of(answer, pending, issuer, now)
        given = grants.answer_to_code(
            _token_provider(ours, facts), _client(ours, facts), pending, code, provider.policy()
        )
    except TokenFailure as failure:
        raise _failure(failure) from None
    said = _verified(given.get("id_token"), facts)
    claims.check(said, ours, facts.issuer, pending.nonce, clock.now())
    who = claims.identity({**_more(said, given, ours, facts), **said}, ours)
    if errand.aim is Aim.CONFIRM and (who.signed_in_at is None or who.signed_in_at < pending.began_at - claims.SKEW):
        raise SignOnFailure(SignOnFault.NOT_AGAIN)
    return who, errand


def end_session_url() -> str:
    """Where somebody ends the session at the provider (OpenID Connect RP-Initiated Logout 2); "" where it has no such
    page, or does not say so now.
    """
    ours = provider.configured()
    try:
        page = provider.discovered(ours).end_session_url
    except SignOnFailure:
        return ""
    values = {"client_id": ours.client_id, "post_logout_redirect_uri": signed_out_uri()}
    return f"{page}{'&' if '?' in page else '?'}{urlencode(values)}" if page else ""


def _verified(text: object, facts: ProviderFacts) -> dict[str, Any]:
    """The claims of an id token that one of the provider's keys has signed. Raises SignOnFailure."""
    reader = late.load("services.single_sign_on.id_token")
    try:
        found = reader.claims_of(text, provider.keys(facts), facts.algorithms)
    except reader.NoKeyFits:
        newer = provider.newer_keys(facts)
        if newer is None:
            raise SignOnFailure(SignOnFault.TOKEN, "signature") from None
        try:
            found = reader.claims_of(text, newer, facts.algorithms)
        except reader.NoKeyFits:
            raise SignOnFailure(SignOnFault.TOKEN, "signature") from None
    return dict(found)


def _more(
    said: Mapping[str, Any], given: Mapping[str, Any], ours: OidcSettings, facts: ProviderFacts
) -> dict[str, Any]:
    """What the provider says of the same person elsewhere, where the id token leaves out what is needed.

    Raises SignOnFailure: who may administrate is not guessed.
    """
    wanted = [ours.admin_claim] if ours.admin_claim else []
    wanted += ["email", "preferred_username"] if ours.creates_accounts else []
    token = given.get("access_token")
    if all(claims.is_there(said, name) for name in wanted) or not facts.user_info_url or not isinstance(token, str):
        return {}
    if not token.isascii() or not token.isprintable():
        raise SignOnFailure(SignOnFault.UNUSABLE, "access token")
    found = provider.fetched(facts.user_info_url, {"Authorization": f"Bearer {token}"})
    if found.get("sub") != said["sub"]:  # OpenID Connect Core 5.3.2: it may be anybody's
        raise SignOnFailure(SignOnFault.TOKEN, "subject")
    return found


def _token_provider(
    ours: OidcSettings, facts: ProviderFacts, extra: Mapping[str, str] = MappingProxyType({})
) -> TokenProvider:
    return TokenProvider(
        kind=OAuthProvider.CUSTOM,
        authorize_url=facts.authorize_url,
        token_url=facts.token_url,
        issuer=facts.issuer,
        scopes={Grant.CODE: ours.scopes},
        smtp_hosts=frozenset(),
        extra=extra,
    )


def _client(ours: OidcSettings, facts: ProviderFacts) -> OAuthClient:
    return OAuthClient(client_id=ours.client_id, secret=ours.client_secret, by_header=facts.takes_basic_alone)


def _failure(failure: TokenFailure) -> SignOnFailure:
    if failure.fault is TokenFault.STATE:
        return SignOnFailure(SignOnFault.NOT_OURS)
    if failure.fault is TokenFault.BAD_ANSWER:
        return SignOnFailure(SignOnFault.UNUSABLE, "token answer")
    faults = {
        About.PROVIDER: SignOnFault.UNREACHABLE,
        About.SIGN_IN: SignOnFault.REFUSED,
        About.CLIENT: SignOnFault.REGISTRATION,
    }
    return SignOnFailure(faults[failure.about], failure.error or str(failure.link or failure.fault))


def _sealed(pending: PendingSignIn, errand: Errand, issuer: str, cookie: str) -> PendingSignIn:
    """The same with a state that holds all of it, for the browser with this cookie alone."""
    held = {
        "browser": digest(cookie),
        "verifier": pending.verifier.reveal(),
        "nonce": pending.nonce,
        "at": pending.began_at.timestamp(),
        "issuer": issuer,
        "errand": {name: value for name, value in asdict(errand).items() if value},
    }
    state = Fernet(_key()).encrypt(json.dumps(held).encode()).decode().rstrip("=")
    return replace(pending, state=Secret(state))


def _unsealed(states: Sequence[str], cookie: str) -> tuple[PendingSignIn, Errand, str]:
    """What a state says that came back once, to the browser that was sent away with it. Raises SignOnFailure."""
    state = states[0] if len(states) == 1 and len(states[0]) <= _LONGEST_STATE else ""
    try:
        held = json.loads(opened(state + "=" * (-len(state) % 4), [_key(each) for each in known_keys().values()]))
    except (CannotDecrypt, ValueError):
        raise SignOnFailure(SignOnFault.NOT_OURS) from None
    if not hmac.compare_digest(held["browser"], digest(cookie)):
        raise SignOnFailure(SignOnFault.NOT_OURS, "browser")
    pending = PendingSignIn(
        state=Secret(state),
        verifier=Secret(held["verifier"]),
        nonce=held["nonce"],
        redirect_uri=redirect_uri(),
        began_at=datetime.fromtimestamp(held["at"], UTC),
    )
    return pending, Errand(**held["errand"] | {"aim": Aim(held["errand"]["aim"])}), held["issuer"]


def _key(fernet_key: bytes | None = None) -> bytes:
    return base64.urlsafe_b64encode(subkey(_PURPOSE, fernet_key))
