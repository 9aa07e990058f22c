"""The ways to a token. Each is one request to the provider, in bounded time, whose failure is a TokenFailure.

Nothing is stored here and nothing is tried twice: whoever keeps a token decides when to ask again. No database session
may be open while one of these is under way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from services.oauth import answers
from services.oauth.answers import DeviceCode, StillWaiting, TokenSet
from services.oauth.client import OAuthClient, ServiceAccount, TokenPolicy
from services.oauth.failures import TokenFailure, TokenFault
from services.oauth.providers import Grant, TokenProvider
from services.oauth.redirect import PendingSignIn
from utils import clock, incidents, late
from utils.secret import Secret

_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_ASSERTION_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SLOWER: Final = 5  # seconds more, RFC 8628 3.5
_MOST_INTERVAL: Final = 60


def authorization_url(
    provider: TokenProvider, client: OAuthClient, pending: PendingSignIn, login_hint: str = ""
) -> str:
    """Where the browser is sent to sign in. ``login_hint`` is the mailbox that is meant."""
    scopes = provider.scopes[Grant.CODE]
    beside = dict(provider.extra)
    if "openid" in scopes:
        beside["nonce"] = pending.nonce
    if login_hint:
        beside["login_hint"] = login_hint
    with _session(provider, client, None) as session:
        url, _ = session.create_authorization_url(
            provider.authorize_url,
            state=pending.state.reveal(),
            code_verifier=pending.verifier.reveal(),
            redirect_uri=pending.redirect_uri,
            scope=" ".join(scopes),
            **beside,
        )
    return str(url)


def exchange_code(
    provider: TokenProvider, client: OAuthClient, pending: PendingSignIn, code: Secret, policy: TokenPolicy
) -> TokenSet:
    """The tokens for the code that a browser came back with; it is good once."""
    nonce = pending.nonce if "openid" in provider.scopes[Grant.CODE] else ""
    return _signed_in(provider, client, policy, Grant.CODE, nonce, **_form_of_code(pending, code))


def answer_to_code(
    provider: TokenProvider, client: OAuthClient, pending: PendingSignIn, code: Secret, policy: TokenPolicy
) -> dict[str, Any]:
    """The whole answer for the code, for whom it is read elsewhere who signed in. Raises TokenFailure."""
    return _asked(provider, client, policy, **_form_of_code(pending, code))[0]


def begin_device(provider: TokenProvider, client: OAuthClient, policy: TokenPolicy) -> DeviceCode:
    """A code for someone to type at the provider's page."""
    asked_at = clock.now()
    form = {"scope": " ".join(provider.scopes[Grant.DEVICE])}
    public = OAuthClient(client_id=client.client_id)  # RFC 8628 3.1: its id is all that is read of it
    with _session(provider, public, policy) as session:
        answer = session.posted(provider.device_url, form)
    return answers.device_code(answer, asked_at)


def poll_device(
    provider: TokenProvider, client: OAuthClient, code: DeviceCode, interval: int, policy: TokenPolicy
) -> TokenSet | StillWaiting:
    """The tokens, once someone has typed the code; before that, after how many seconds to ask again."""
    try:
        return _signed_in(
            provider,
            client,
            policy,
            Grant.DEVICE,
            "",
            grant_type=_DEVICE_GRANT,
            device_code=code.device_code.reveal(),
        )
    except TokenFailure as failure:
        if failure.error == "authorization_pending":
            return StillWaiting(interval)
        if failure.error == "slow_down":
            return StillWaiting(min(interval + _SLOWER, _MOST_INTERVAL))
        raise


def by_client_credentials(provider: TokenProvider, client: OAuthClient, policy: TokenPolicy) -> TokenSet:
    """A token for the application itself, by its secret or certificate; never a refresh token (RFC 6749 4.4.3)."""
    answer, asked_at = _asked(
        provider,
        client,
        policy,
        grant_type="client_credentials",
        scope=" ".join(provider.scopes[Grant.CLIENT_CREDENTIALS]),
    )
    return answers.token_set(answer, asked_at, provider.scopes[Grant.CLIENT_CREDENTIALS])


def by_service_account(provider: TokenProvider, account: ServiceAccount, mailbox: str, policy: TokenPolicy) -> TokenSet:
    """A token for one mailbox of a Workspace that has delegated its mail to a service account."""
    scopes = provider.scopes[Grant.SERVICE_ACCOUNT]
    with _session(provider, None, None) as session:
        assertion = session.assertion(account, mailbox, " ".join(scopes), provider.token_url)
    answer, asked_at = _asked(provider, None, policy, grant_type=_ASSERTION_GRANT, assertion=assertion)
    return answers.token_set(answer, asked_at, scopes)


def refresh(provider: TokenProvider, client: OAuthClient, grant: Grant, token: Secret, policy: TokenPolicy) -> TokenSet:
    """New tokens. One without a refresh token leaves the one before good (RFC 6749 6); who signed in is not read
    again, so that nothing is lost of what may have been rotated.
    """
    scopes = provider.scopes[grant]
    answer, asked_at = _asked(
        provider,
        client,
        policy,
        grant_type="refresh_token",
        refresh_token=token.reveal(),
        scope=" ".join(scopes),
    )
    return answers.token_set(answer, asked_at, scopes)


def revoke(provider: TokenProvider, client: OAuthClient, token: Secret, policy: TokenPolicy) -> bool:
    """Have a refresh token made useless, and all that came of it; False where the provider has no way to be told."""
    if not provider.revoke_url:
        return False  # Microsoft: people take back what they granted, at myapps.microsoft.com
    with _session(provider, client, policy) as session:
        session.revoked(provider.revoke_url, token, "refresh_token")
    return True


def _signed_in(
    provider: TokenProvider, client: OAuthClient, policy: TokenPolicy, grant: Grant, nonce: str, **form: str
) -> TokenSet:
    """The tokens of someone, with who that is."""
    answer, asked_at = _asked(provider, client, policy, **form)
    scopes = provider.scopes[grant]
    given = answers.token_set(answer, asked_at, scopes)
    who = answers.identity(answer, client.client_id, provider.issuer, nonce, clock.now())
    return answers.with_identity(given, who)


def _form_of_code(pending: PendingSignIn, code: Secret) -> dict[str, str]:
    """RFC 6749 4.1.3, with the verifier of RFC 7636 4.5."""
    return {
        "grant_type": "authorization_code",
        "code": code.reveal(),
        "redirect_uri": pending.redirect_uri,
        "code_verifier": pending.verifier.reveal(),
    }


def _asked(
    provider: TokenProvider, client: OAuthClient | None, policy: TokenPolicy, **form: str
) -> tuple[dict[str, Any], datetime]:
    """The answer of the token URL, and the moment before it was asked."""
    asked_at = clock.now()
    with _session(provider, client, policy) as session:
        found: dict[str, Any] = session.fetch_token(provider.token_url, **_with_id(client, form))
    return found, asked_at


def _with_id(client: OAuthClient | None, form: dict[str, str]) -> dict[str, str]:
    """Microsoft asks for the id also where a certificate says it."""
    return form | {"client_id": client.client_id} if client and client.certificate else form


@contextmanager
def _session(provider: TokenProvider, client: OAuthClient | None, policy: TokenPolicy | None) -> Iterator[Any]:
    """A session for one request. What nobody foresaw is logged without its words, which may repeat a secret."""
    try:
        yield late.load("services.oauth.session").opened(client, provider.token_url, policy, clock.now())
    except TokenFailure:
        raise
    except Exception as error:
        incidents.report("oauth_broken", error, provider=provider.kind)
        raise TokenFailure(TokenFault.OURS) from None
