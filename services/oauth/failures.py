"""Why there is no token: by closed lists of codes, so that no word of a provider gets further."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary, TokenTrouble
from utils.secret import Secret


class TokenFault(StrEnum):
    """What kind of failure it was."""

    REFUSED = "refused"  # the provider said no, with an error of RFC 6749 5.2
    UNREACHABLE = "unreachable"  # no answer; ``link`` says where it ended
    UNAVAILABLE = "unavailable"  # the provider is not well, or asked too often
    BAD_ANSWER = "bad_answer"  # an answer, and no token in it that could be used
    REDIRECTED = "redirected"  # never followed: a secret would go elsewhere
    STATE = "state"  # the browser came back with another sign-in's answer, or too late
    CLOCK = "clock"  # this machine's clock and the provider's differ by more than five minutes
    KEY = "key"  # what is stored to sign with cannot be used
    OURS = "ours"  # an exception that nobody foresaw; the log tells which


class About(StrEnum):
    """Whose a failure is, which decides what follows from it."""

    PROVIDER = "provider"  # try again later; the token that still lives serves
    SIGN_IN = "sign_in"  # someone has to sign in again
    CLIENT = "client"  # the registration or what was entered of it is at fault


# Of RFC 6749, 7009, 8628 and OpenID Connect Core 3.1.2.6; and Google's and Microsoft's own.
_OF_PROVIDER: Final = frozenset(
    "server_error temporarily_unavailable internal_failure rate_limit_exceeded quota_exceeded slow_down "
    "authorization_pending".split()
)
_OF_SIGN_IN: Final = frozenset(
    "invalid_grant access_denied expired_token interaction_required login_required consent_required "
    "account_selection_required".split()
)
_OF_CLIENT: Final = frozenset(
    "invalid_request invalid_client unauthorized_client unsupported_grant_type invalid_scope invalid_target "
    "unsupported_response_type invalid_resource redirect_uri_mismatch org_internal admin_policy_enforced "
    "deleted_client disabled_client disallowed_useragent unsupported_token_type invalid_token".split()
)
OTHER: Final = "other"  # an error that is in none of the lists

_AADSTS: Final = re.compile(r"\bAADSTS(\d{4,9})\b")
_LOWEST_AADSTS, _HIGHEST_AADSTS = 1000, 999_999_999
_SERVER_ERRORS: Final = 500
_TOO_MANY: Final = 429
_LONGEST_READ: Final = 4096  # characters of a description that are looked through
_MOST_WAIT: Final = 86_400  # seconds

# Google has one error for many things; only its words tell them apart. The first that is found counts.
_KINDS: Final = (
    ("expired or revoked", "expired_or_revoked"),
    ("account has been deleted", "account_deleted"),
    ("account has been disabled", "account_disabled"),
    ("account not found", "account_not_found"),
    ("invalid email or user id", "account_not_found"),
    ("not a valid email or user id", "account_not_found"),
    ("must be a short-lived token", "clock"),
    ("invalid jwt signature", "wrong_key"),
    ("client is unauthorized to retrieve access tokens", "delegation_missing"),
    ("client not authorized for any of the scopes", "delegation_missing"),
    ("client secret is invalid", "wrong_secret"),
    ("client secret has expired", "secret_expired"),
    ("client was deleted", "client_not_found"),
    ("client was not found", "client_not_found"),
    ("reauth related error", "reauthentication"),
    ("malformed auth code", "code_malformed"),
    ("code verifier", "code_verifier"),
    ("code was already redeemed", "code_used"),
    ("rate limit exceeded", "rate_limit"),
)
_SUBTYPES: Final = {"invalid_rapt": "reauthentication", "rapt_required": "reauthentication"}
_ABOUT_KINDS: Final = {"delegation_missing": About.CLIENT, "clock": About.CLIENT, "wrong_key": About.CLIENT}
_ABOUT_FAULTS: Final = {
    TokenFault.UNREACHABLE: About.PROVIDER,
    TokenFault.UNAVAILABLE: About.PROVIDER,
    TokenFault.BAD_ANSWER: About.PROVIDER,
    TokenFault.REDIRECTED: About.CLIENT,
    TokenFault.STATE: About.SIGN_IN,
    TokenFault.CLOCK: About.CLIENT,
    TokenFault.KEY: About.CLIENT,
    TokenFault.OURS: About.PROVIDER,
}
# invalid_grant as Microsoft says it where signing in again would change nothing: the application is not in the tenant,
# its secret or certificate is at fault, the tenant is not there. A consent (65001) is given by signing in.
_OF_THE_REGISTRATION: Final = frozenset({"700016", "7000215", "7000222", "700027", "90002", "50011", "500011"})

# Said with whatever error; Microsoft itself is not well, or is asked too often.
_OF_MICROSOFT: Final = frozenset({"50196", "70012", "90006", "90012", "90033"})


class TokenFailure(Exception):
    """There is no token. What it holds is from closed lists, or a number, and is fit for a log and a page.

    ``error`` is the provider's (RFC 6749 5.2), ``code`` Microsoft's like AADSTS700082, ``kind`` what Google's words
    mean. ``link`` is where a connection ended. ``retry_after`` is in seconds. ``refresh_token`` is one that came in an
    answer which is of no other use: the one before it may be dead.
    """

    def __init__(
        self,
        fault: TokenFault,
        *,
        error: str = "",
        code: str = "",
        kind: str = "",
        status: int = 0,
        link: Fault | None = None,
        retry_after: int | None = None,
        refresh_token: Secret | None = None,
    ) -> None:
        parts = [str(part) for part in (error, code, kind, link or "", status or "") if part]
        super().__init__(f"{fault}: {' '.join(parts)}" if parts else str(fault))
        self.fault = fault
        self.error = error
        self.code = code
        self.kind = kind
        self.status = status
        self.link = link
        self.retry_after = retry_after
        self.refresh_token = refresh_token

    @property
    def about(self) -> About:
        """Whose it is."""
        if self.fault is not TokenFault.REFUSED:
            return _ABOUT_FAULTS[self.fault]
        number = self.code.removeprefix("AADSTS")
        if number in _OF_THE_REGISTRATION | _OF_MICROSOFT:
            return About.PROVIDER if number in _OF_MICROSOFT else About.CLIENT
        if self.kind in _ABOUT_KINDS:
            return _ABOUT_KINDS[self.kind]
        if self.error in _OF_PROVIDER:
            return About.PROVIDER
        return About.SIGN_IN if self.error in _OF_SIGN_IN else About.CLIENT

    @property
    def trouble(self) -> TokenTrouble:
        """The same as a delivery carries it, and a row keeps it: text alone."""
        return TokenTrouble(self.fault.value, self.error, self.code, self.kind, self.link.value if self.link else "")


def as_delivery_error(failure: TokenFailure) -> DeliveryError:
    """What it means for a mail that there is no token: it waits for the provider, or for whoever signs in again."""
    error: DeliveryError
    if failure.about is About.PROVIDER:
        error = Temporary(Phase.SIGN_IN, Fault.TOKEN_UNAVAILABLE, str(failure.trouble))
    else:
        error = Misconfigured(Phase.SIGN_IN, Fault.TOKEN_DEAD, str(failure.trouble))
    error.token_trouble = failure.trouble
    return error


def refused(status: int, answer: Mapping[str, Any], retry_after: int | None = None) -> TokenFailure:
    """What an answer with an ``error`` in it means; nothing of its words is kept."""
    said = answer.get("error")
    is_known = isinstance(said, str) and said in _OF_PROVIDER | _OF_SIGN_IN | _OF_CLIENT
    error = str(said) if is_known else OTHER if "error" in answer else ""
    words = answer.get("error_description")
    words = words[:_LONGEST_READ] if isinstance(words, str) else ""
    waits = {"slow_down", "authorization_pending"}  # which only whoever asks for a device code hears
    fault = TokenFault.REFUSED
    if is_unwell(status) or error in _OF_PROVIDER - waits:
        fault = TokenFault.UNAVAILABLE
    return TokenFailure(
        fault,
        error=error,
        code=_aadsts(answer, words),
        kind=_kind(answer, words),
        status=status,
        retry_after=retry_after,
    )


def is_unwell(status: int) -> bool:
    """Whether a status says nothing of what was asked: the provider is not well, or was asked too often."""
    return status >= _SERVER_ERRORS or status == _TOO_MANY


def seconds_to_wait(text: str) -> int | None:
    """What a Retry-After header asks for, where it is a number (RFC 9110 10.2.3)."""
    return min(int(text), _MOST_WAIT) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else None


def _aadsts(answer: Mapping[str, Any], words: str) -> str:
    """Microsoft's number, of its list or out of its words."""
    numbers = answer.get("error_codes")
    first = numbers[0] if isinstance(numbers, list) and numbers else None
    if type(first) is int and _LOWEST_AADSTS <= first <= _HIGHEST_AADSTS:
        return f"AADSTS{first}"
    found = _AADSTS.search(words)
    return f"AADSTS{found[1]}" if found else ""


def _kind(answer: Mapping[str, Any], words: str) -> str:
    subtype = answer.get("error_subtype")
    if isinstance(subtype, str) and subtype in _SUBTYPES:
        return _SUBTYPES[subtype]
    lowered = words.lower()
    return next((kind for said, kind in _KINDS if said in lowered), "")
