"""What is known of the provider: its discovery document and its keys, each asked for when it is first needed.

Both are kept for an hour in this process. A provider that does not answer is left alone for some seconds, so that
people who try again and again hold up no one else.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from services import web_request
from services.oauth import answers
from services.oauth.client import TokenPolicy
from services.oauth.failures import TokenFailure
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from services.smtp.wire import Deadline
from services.web_request import WebFailure, WebReach, host_of
from utils import clock
from utils.allowed_places import EVERYWHERE
from utils.env_utils import get_settings
from utils.errors import Fault
from utils.oidc_env import OidcSettings

WELL_KNOWN: Final = "/.well-known/openid-configuration"
# By a private key that the provider alone has. A shared secret (HS256) is no proof of who signed, and `none` is none;
# what EdDSA is depends on the key, so that RFC 9864 has put names like Ed25519 in its place.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
ASK_SECONDS: Final = 8.0
LONGEST: Final = 256 * 1024  # octets of a document; Microsoft's keys have 15,000
KEPT: Final = timedelta(hours=1)
LEFT_ALONE: Final = timedelta(seconds=10)  # after it did not answer
KEYS_AGAIN: Final = timedelta(minutes=1)  # at the soonest, whatever keys are named
_OK: Final = 200
_DEFAULT: Final = "RS256"  # OpenID Connect Core 15.1

SigningKey = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ProviderFacts:
    """What its discovery document says (OpenID Connect Discovery 3), checked."""

    issuer: str
    authorize_url: str
    token_url: str
    keys_url: str
    user_info_url: str = ""
    end_session_url: str = ""
    algorithms: frozenset[str]
    names_itself: bool = False  # RFC 9207: each of its answers says whose it is
    takes_basic_alone: bool = False  # the client shows its secret in a header, not in the form


@dataclass
class _Kept:
    """What was heard last of one address, or that nothing was."""

    at: datetime
    document: dict[str, Any] | None = None
    failure: SignOnFailure | None = None

    def is_good(self, now: datetime) -> bool:
        return timedelta(0) <= now - self.at < (LEFT_ALONE if self.failure else KEPT)


_lock: Final = threading.Lock()
_kept: Final[dict[str, _Kept]] = {}


def configured() -> OidcSettings:
    """The provider that is set. Raises LookupError where there is none."""
    ours = get_settings().oidc
    if ours is None:
        raise LookupError("OIDC_ISSUER is not set")
    return ours


def is_only_way() -> bool:
    """Whether nobody signs in with a password here."""
    ours = get_settings().oidc
    return ours is not None and ours.is_only


def policy() -> TokenPolicy:
    """What bounds a request to it. Who runs the machine names it, so it may be where no mail server may."""
    ours = get_settings()
    reach = WebReach(ca_file=ours.smtp_ca_file, dns_resolver=ours.dns_resolver, allowed=EVERYWHERE)
    return TokenPolicy(reach=reach, seconds=ASK_SECONDS, may_be_plain=not ours.is_production)


def discovered(ours: OidcSettings) -> ProviderFacts:
    """The provider's facts. Raises SignOnFailure."""
    return _facts(_document(ours.issuer.rstrip("/") + WELL_KNOWN), ours)


def keys(facts: ProviderFacts) -> list[SigningKey]:
    """The keys that it signs with now, as far as this process knows. Raises SignOnFailure."""
    return _keys_in(_document(facts.keys_url))


def newer_keys(facts: ProviderFacts) -> list[SigningKey] | None:
    """The keys, asked for anew because none of them fits; None where that was done within a minute. Raises
    SignOnFailure.
    """
    with _lock:
        known = _kept.get(facts.keys_url)
        if known and timedelta(0) <= clock.now() - known.at < KEYS_AGAIN:
            return None
        _kept.pop(facts.keys_url, None)
    return keys(facts)


def forget_all() -> None:
    """Know nothing of any provider any more."""
    with _lock:
        _kept.clear()


def fetched(url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A document of the provider's, a JSON object. Raises SignOnFailure."""
    bounds = policy()
    try:
        parts = urlsplit(url)
        answer = web_request.ask(
            host_of(url, may_be_plain=bounds.may_be_plain),
            "GET",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            {"Accept": "application/json", **(headers or {})},
            b"",
            reach=bounds.reach,
            deadline=Deadline(bounds.seconds),
            longest=LONGEST,
        )
    except WebFailure as failure:
        is_answer = failure.fault in (Fault.TOO_LARGE, Fault.BROKEN_REPLY)
        fault = SignOnFault.UNUSABLE if is_answer else SignOnFault.UNREACHABLE
        raise SignOnFailure(fault, str(failure.fault)) from None
    except ValueError:
        raise SignOnFailure(SignOnFault.UNUSABLE, "address") from None
    if answer.status != _OK:
        is_down = answer.status >= 500  # noqa: PLR2004
        raise SignOnFailure(SignOnFault.UNREACHABLE if is_down else SignOnFault.UNUSABLE, f"status {answer.status}")
    try:
        return answers.json_object(answer.body, answer.status)
    except TokenFailure:
        raise SignOnFailure(SignOnFault.UNUSABLE, "no JSON") from None


def _document(url: str) -> dict[str, Any]:
    """One that is kept, or is asked for by one thread while the others wait for it."""
    with _lock:
        known = _kept.get(url)
        if known is None or not known.is_good(clock.now()):
            try:
                known = _Kept(clock.now(), document=fetched(url))
            except SignOnFailure as failure:
                known = _Kept(clock.now(), failure=failure)
            _kept[url] = known
    if known.failure:
        raise SignOnFailure(known.failure.fault, known.failure.detail)
    assert known.document is not None  # noqa: S101 - else there is a failure
    return known.document


def _facts(document: Mapping[str, Any], ours: OidcSettings) -> ProviderFacts:
    issuer = document.get("issuer")
    # With a slash or without one, the document is at the same place; what it says itself is then held to exactly.
    if not isinstance(issuer, str) or issuer.rstrip("/") != ours.issuer.rstrip("/"):
        raise SignOnFailure(SignOnFault.ISSUER)
    said = document.get("id_token_signing_alg_values_supported")
    algorithms = frozenset(ALGORITHMS) & set(said if isinstance(said, list) and _are_texts(said) else [_DEFAULT])
    if not algorithms:
        raise SignOnFailure(SignOnFault.UNUSABLE, "signing algorithms")
    ways = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return ProviderFacts(
        issuer=issuer,
        authorize_url=_url(document, "authorization_endpoint"),
        token_url=_url(document, "token_endpoint"),
        keys_url=_url(document, "jwks_uri"),
        user_info_url=_url(document, "userinfo_endpoint", is_needed=False),
        end_session_url=_url(document, "end_session_endpoint", is_needed=False),
        algorithms=algorithms,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        takes_basic_alone=isinstance(ways, list) and "client_secret_post" not in ways,
    )


def _url(document: Mapping[str, Any], name: str, *, is_needed: bool = True) -> str:
    text = document.get(name)
    if text is None and not is_needed:
        return ""
    try:
        if not isinstance(text, str):
            raise ValueError("no text")
        host_of(text, may_be_plain=policy().may_be_plain)
    except ValueError:
        raise SignOnFailure(SignOnFault.UNUSABLE, name) from None
    return text


def _keys_in(document: Mapping[str, Any]) -> list[SigningKey]:
    found = document.get("keys")
    if not isinstance(found, list) or not all(isinstance(key, dict) for key in found):
        raise SignOnFailure(SignOnFault.UNUSABLE, "keys")
    return found


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
