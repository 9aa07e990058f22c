"""What a provider's answer means, read strictly: it is a stranger's text until each part of it has been checked."""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.oauth.failures import TokenFailure, TokenFault
from utils.secret import Secret

SKEW: Final = timedelta(minutes=5)  # by which a clock may be off
# Of a token whose life is not told, or told as none: long enough to be used, short enough to matter little.
ASSUMED_LIFE: Final = timedelta(minutes=10)
_LONGEST_LIFE: Final = timedelta(days=1)
_LONGEST_TOKEN: Final = 16_384
_LONGEST_CLAIM: Final = 320
_LONGEST_SCOPE: Final = 4096
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")  # no space and no control: SMTP puts ^A behind it
_LIFE: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_USER_CODE: Final = re.compile(r"[A-Za-z0-9-]{4,32}")
_PARTS_OF_JWT: Final = 3
_DEVICE_INTERVAL, _MOST_INTERVAL = 5, 60  # seconds; the first is RFC 8628 3.2's
_DEVICE_LIFE: Final = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class IdentityClaims:
    """Who signed in, as the provider's id token says (OpenID Connect Core 2); "" where it says nothing.

    An id token that comes from the token endpoint itself, over TLS, needs no signature (3.1.3.7, point 6).
    """

    issuer: str
    subject: str
    email: str = ""
    email_is_verified: bool = False
    preferred_username: str = ""
    tenant: str = ""
    object_id: str = ""

    def mailbox(self) -> str:
        """The mailbox of who signed in. Where there is a sign-in name it counts: the address of a Microsoft account
        can be set to anybody's by an administrator of any tenant (nOAuth), so it does only if it is said to be
        verified.
        """
        if self.tenant or not self.email:
            return self.preferred_username
        return self.email if self.email_is_verified else ""


@dataclass(frozen=True, kw_only=True)
class TokenSet:
    """What was given. Without ``refresh_token`` the one that was there before stays good.

    ``expires_at`` counts from before the request was sent, so it depends on no clock but this machine's own;
    ``life_is_told`` is False where it is only assumed.
    """

    access_token: Secret
    expires_at: datetime
    life_is_told: bool
    refresh_token: Secret | None
    scopes: tuple[str, ...]
    identity: IdentityClaims | None = None


@dataclass(frozen=True, kw_only=True)
class DeviceCode:
    """What someone types in a browser anywhere, and what we ask with until they have (RFC 8628 3.2)."""

    device_code: Secret
    user_code: str
    verification_url: str
    expires_at: datetime
    interval: int


@dataclass(frozen=True)
class StillWaiting:
    """Nobody has typed the code yet; ask again in so many seconds."""

    interval: int


def json_object(body: bytes, status: int) -> dict[str, Any]:
    """A body as a JSON object. Raises TokenFailure."""
    try:
        found = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise TokenFailure(TokenFault.BAD_ANSWER, status=status) from None
    if not isinstance(found, dict):
        raise TokenFailure(TokenFault.BAD_ANSWER, status=status)
    return found


def token_set(answer: Mapping[str, Any], asked_at: datetime, requested: tuple[str, ...]) -> TokenSet:
    """The tokens of an answer to what was asked at that moment. Raises TokenFailure."""
    refresh = _token(answer.get("refresh_token"))
    access = _token(answer.get("access_token"))
    kind = answer.get("token_type", "Bearer")
    if access is None or not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenFailure(TokenFault.BAD_ANSWER, refresh_token=refresh)
    life = _life(answer.get("expires_in"))
    return TokenSet(
        access_token=access,
        expires_at=asked_at + (life or ASSUMED_LIFE),
        life_is_told=life is not None,
        refresh_token=refresh,
        scopes=_scopes(answer.get("scope"), requested),
    )


def device_code(answer: Mapping[str, Any], asked_at: datetime) -> DeviceCode:
    """The code of an answer. Raises TokenFailure."""
    code = _token(answer.get("device_code"))
    user_code = answer.get("user_code")
    url = answer.get("verification_uri", answer.get("verification_url"))  # Google's name for it
    is_code = isinstance(user_code, str) and _USER_CODE.fullmatch(user_code)
    is_url = isinstance(url, str) and _TOKEN.fullmatch(url) and url.startswith(("https://", "http://"))
    if code is None or not is_code or not is_url:
        raise TokenFailure(TokenFault.BAD_ANSWER)
    return DeviceCode(
        device_code=code,
        user_code=str(user_code),
        verification_url=str(url),
        expires_at=asked_at + (_life(answer.get("expires_in")) or _DEVICE_LIFE),
        interval=_interval(answer.get("interval")),
    )


def identity(
    answer: Mapping[str, Any], client_id: str, issuer: str, nonce: str, now: datetime
) -> IdentityClaims | None:
    """Who signed in, if the answer says so, and is for this client and this sign-in. Raises TokenFailure."""
    text = answer.get("id_token")
    if text is None:
        return None
    claims = _claims(text)
    audience = claims.get("aud")
    is_ours = client_id in (audience if isinstance(audience, list) else [audience])
    is_theirs = not issuer or _is_issuer(claims.get("iss"), issuer)
    if not is_ours or not is_theirs or (nonce and claims.get("nonce") != nonce):
        raise TokenFailure(TokenFault.BAD_ANSWER)
    _check_times(claims, now)
    verified = (claims.get("email_verified"), claims.get("xms_edov"))
    return IdentityClaims(
        issuer=_claim(claims, "iss"),
        subject=_claim(claims, "sub"),
        email=_claim(claims, "email"),
        email_is_verified=any(value in (True, "true", "1") for value in verified),
        preferred_username=_claim(claims, "preferred_username") or _claim(claims, "upn"),
        tenant=_claim(claims, "tid"),
        object_id=_claim(claims, "oid"),
    )


def with_identity(given: TokenSet, who: IdentityClaims | None) -> TokenSet:
    """The same tokens, and whose they are."""
    return replace(given, identity=who)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names are unique: which of two values counts is read differently everywhere."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _no_number(_text: str) -> float:
    raise ValueError("no JSON")  # NaN, Infinity


def _token(value: object) -> Secret | None:
    """A token that can be sent, or None."""
    if not isinstance(value, str) or len(value) > _LONGEST_TOKEN or not _TOKEN.fullmatch(value):
        return None
    return Secret(value)


def _life(value: object) -> timedelta | None:
    """Seconds as a number, or as text, which some write; None for what is no time to live."""
    if isinstance(value, str) and _LIFE.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    return timedelta(seconds=min(value, _LONGEST_LIFE.total_seconds()))


def _interval(value: object) -> int:
    life = _life(value)
    return min(math.ceil(life.total_seconds()), _MOST_INTERVAL) if life else _DEVICE_INTERVAL


def _scopes(value: object, requested: tuple[str, ...]) -> tuple[str, ...]:
    """What was granted: what was asked for, if the answer names nothing (RFC 6749 5.1). What is no scope is left out:
    it is stored and shown, and no database takes all of Unicode.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_SCOPE:
        return requested
    return tuple(dict.fromkeys(filter(_TOKEN.fullmatch, value.split())))


def _claims(text: object) -> dict[str, Any]:
    """The claims of a JWT, whose signature is not looked at. Raises TokenFailure."""
    parts = text.split(".") if isinstance(text, str) and len(text) <= _LONGEST_TOKEN else []
    if len(parts) != _PARTS_OF_JWT:
        raise TokenFailure(TokenFault.BAD_ANSWER)
    try:
        body = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenFailure(TokenFault.BAD_ANSWER) from None
    return json_object(body, 0)


def _is_issuer(said: object, issuer: str) -> bool:
    """Google leaves the https:// out at times, as its documentation says."""
    return isinstance(said, str) and said.removeprefix("https://") == issuer.removeprefix("https://")


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    """It is told by itself if the clocks differ, since then all else that is signed fails, too. Raises TokenFailure."""
    moment = now.timestamp()
    starts, ends = claims.get("iat"), claims.get("exp")
    for value in (starts, ends):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TokenFailure(TokenFault.BAD_ANSWER)
    skew = SKEW.total_seconds()
    if claims["iat"] > moment + skew or claims["exp"] < moment - skew:
        raise TokenFailure(TokenFault.CLOCK)


def _claim(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= _LONGEST_CLAIM and value.isprintable() else ""
