"""The way through someone's browser: what it is sent away with, and whether it is the same sign-in that comes back."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, urlsplit

from services.oauth.answers import SKEW
from services.oauth.failures import TokenFailure, TokenFault, refused
from utils.secret import Secret

SIGN_IN_LIFE: Final = timedelta(minutes=10)  # from the redirect to the way back
_STATE_OCTETS, _VERIFIER_OCTETS = 32, 48  # the second gives 64 characters (RFC 7636 4.1: 43 to 128)
_LONGEST_ANSWER: Final = 8192
_LONGEST_CODE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class PendingSignIn:
    """A sign-in that is under way in a browser. Whoever keeps it binds it to the session and the server, and takes it
    out when it is used, so that an answer counts once.
    """

    state: Secret  # RFC 6749 10.12
    verifier: Secret  # RFC 7636
    nonce: str  # OpenID Connect Core 3.1.2.1; "" where no id token is asked for
    redirect_uri: str
    began_at: datetime


def begin(redirect_uri: str, now: datetime) -> PendingSignIn:
    """A new one, unlike any other."""
    return PendingSignIn(
        state=Secret(secrets.token_urlsafe(_STATE_OCTETS)),
        verifier=Secret(secrets.token_urlsafe(_VERIFIER_OCTETS)),
        nonce=secrets.token_urlsafe(_STATE_OCTETS),
        redirect_uri=redirect_uri,
        began_at=now,
    )


def code_of(answer: Mapping[str, Sequence[str]], pending: PendingSignIn, issuer: str, now: datetime) -> Secret:
    """The code that a browser came back with. Raises TokenFailure.

    ``answer`` has all values of each parameter. It is refused whole where it is of another sign-in, too late, of
    another provider (RFC 9207: mix-up), or says something twice; then what it says of an error counts for nothing.
    """
    is_in_time = pending.began_at - SKEW <= now < pending.began_at + SIGN_IN_LIFE
    said = {name: values[0] for name, values in answer.items() if len(values) == 1}
    is_plain = all(len(values) == 1 for name, values in answer.items() if name in ("state", "code", "error", "iss"))
    is_ours = hmac.compare_digest(said.get("state", "").encode(), pending.state.reveal().encode())
    is_theirs = not issuer or said.get("iss", issuer) == issuer
    if not (is_plain and is_ours and is_in_time and is_theirs):
        raise TokenFailure(TokenFault.STATE)
    if "error" in said:
        raise refused(0, said)
    code = said.get("code", "")
    if not 0 < len(code) <= _LONGEST_CODE or not code.isascii() or not code.isprintable():
        raise TokenFailure(TokenFault.STATE)
    return Secret(code)


def pasted(address: str) -> dict[str, list[str]]:
    """What stands in the address at which a browser came to its end, where no server of ours was: it is pasted back."""
    try:
        query = urlsplit(address.strip()[:_LONGEST_ANSWER]).query
        return parse_qs(query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return {}
