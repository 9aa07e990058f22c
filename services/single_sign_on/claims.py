"""Who signed in, by the claims of an id token whose signature was verified (OpenID Connect Core 3.1.3.7)."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from services.single_sign_on.failures import SignOnFailure, SignOnFault
from utils.oidc_env import OidcSettings

SKEW: Final = timedelta(minutes=2)  # by which a clock may be off
OLDEST: Final = timedelta(minutes=10)  # since it was issued: it comes straight from the provider
_SUBJECT: Final = re.compile(r"[\x20-\x7e]{1,255}")  # OpenID Connect Core 2
_LONGEST: Final = 320
_MOST_DEEP: Final = 6


@dataclass(frozen=True, kw_only=True)
class ProvenIdentity:
    """Somebody whom the provider has signed in; ``issuer`` and ``subject`` say who, and nothing else does.

    ``is_in_charge``: whether the claim for administrators has its value; None where no claim is set. ``signed_in_at``
    is when something was last shown to the provider, None where it does not say.
    """

    issuer: str
    subject: str
    username: str = ""
    email: str = ""  # one that the provider has verified
    is_in_charge: bool | None = None
    signed_in_at: datetime | None = None

    @property
    def label(self) -> str:
        """What it is called on a page."""
        return self.username or self.email or self.subject


def check(claims: Mapping[str, Any], ours: OidcSettings, issuer: str, nonce: str, now: datetime) -> None:
    """Refuse an id token that is of another provider, for another client, of another sign-in or of another time.

    Raises SignOnFailure.
    """
    if claims.get("iss") != issuer:
        raise SignOnFailure(SignOnFault.TOKEN, "issuer")
    _check_audience(claims, ours.client_id)
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(errors="replace"), nonce.encode()):
        raise SignOnFailure(SignOnFault.TOKEN, "nonce")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise SignOnFailure(SignOnFault.TOKEN, "subject")
    _check_times(claims, now)


def identity(claims: Mapping[str, Any], ours: OidcSettings) -> ProvenIdentity:
    """Who that is, by claims that were checked."""
    verified = (claims.get("email_verified"), claims.get("xms_edov"))
    is_verified = any(value in (True, "true", "1") for value in verified)
    return ProvenIdentity(
        issuer=str(claims["iss"]),
        subject=str(claims["sub"]),
        username=_text(claims, "preferred_username"),
        email=_text(claims, "email") if is_verified else "",
        is_in_charge=has_value(claims, ours.admin_claim, ours.admin_value) if ours.admin_claim else None,
        signed_in_at=_moment(claims.get("auth_time")),
    )


def is_there(claims: Mapping[str, Any], name: str) -> bool:
    """Whether a claim is said at all; ``name`` as in ``has_value``."""
    return _found(claims, name) is not None


def has_value(claims: Mapping[str, Any], name: str, value: str) -> bool:
    """Whether a claim is this text, or a list that has it. A name with dots is a path where there is no such name."""
    found = _found(claims, name)
    return value in found if isinstance(found, list) else isinstance(found, str) and found == value


def _found(claims: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - whatever the provider says
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split(".")[:_MOST_DEEP]:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    """For this client; where it is for others, too, issued to this one."""
    said = claims.get("aud")
    audience = said if isinstance(said, list) else [said]
    issued_to = claims.get("azp", client_id if len(audience) == 1 else None)
    if client_id not in audience or issued_to != client_id:
        raise SignOnFailure(SignOnFault.TOKEN, "audience")


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    issued, ends = _moment(claims.get("iat")), _moment(claims.get("exp"))
    if issued is None or ends is None:
        raise SignOnFailure(SignOnFault.TOKEN, "times")
    if issued > now + SKEW or ends <= now - SKEW or issued < now - OLDEST - SKEW:
        raise SignOnFailure(SignOnFault.CLOCK)


def _moment(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:  # noqa: PLR2004
        return None
    return datetime.fromtimestamp(value, UTC)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= _LONGEST and value.isprintable() else ""
