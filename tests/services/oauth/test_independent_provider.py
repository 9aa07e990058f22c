"""Every way that a provider which others wrote knows, and every failure that it can be made to answer."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.oauth import grants, providers, redirect
from services.oauth.answers import TokenSet
from services.oauth.client import OAuthClient, TokenPolicy
from services.oauth.failures import About, TokenFailure, TokenFault
from services.oauth.providers import Grant, TokenProvider
from tests.peers.oauth_peer import OAuthPeer
from tests.peers.peer import Unavailable
from tests.services.oauth.conftest import REDIRECT, SECRET
from tests.services.oauth.signing_in import begun, followed
from utils import clock
from utils.secret import Secret


@pytest.fixture(scope="module")
def peer() -> Iterator[OAuthPeer]:
    try:
        with OAuthPeer() as running:
            yield running
    except Unavailable as reason:
        pytest.skip(f"oauth2-mock-server: {reason}")


@pytest.fixture
def provider(peer: OAuthPeer) -> TokenProvider:
    return providers.custom(
        authorize_url=f"{peer.url}/authorize",
        token_url=f"{peer.url}/token",
        device_url=f"{peer.url}/token",
        revoke_url=f"{peer.url}/revoke",
        issuer=peer.url,
        scope="smtp openid",
        smtp_host="mail.example.com",
    )


def signed_in(provider: TokenProvider, client: OAuthClient, policy: TokenPolicy) -> TokenSet:
    pending = begun()
    code = redirect.code_of(
        followed(grants.authorization_url(provider, client, pending)), pending, provider.issuer, clock.now()
    )
    return grants.exchange_code(provider, client, pending, code, policy)


@pytest.mark.parametrize("client_id", ["with-secret", "public"])
def test_a_code_with_pkce_gives_both_tokens_and_says_who_signed_in(
    peer: OAuthPeer, provider: TokenProvider, client: OAuthClient, policy: TokenPolicy, client_id: str
) -> None:
    client = client if client_id == "with-secret" else OAuthClient(client_id=client_id)
    before = clock.now()
    given = signed_in(provider, client, policy)
    assert before + timedelta(hours=1) <= given.expires_at <= clock.now() + timedelta(hours=1)
    assert given.refresh_token is not None
    assert given.identity is not None
    assert (given.identity.issuer, given.identity.subject) == (peer.url, "johndoe")
    asked, form = peer.asked("authorize")[-1], peer.asked("token")[-1]
    assert asked["code_challenge_method"] == "S256"
    assert form["redirect_uri"] == REDIRECT
    assert form.get("client_secret") == (SECRET if client.secret else None)


def test_a_code_is_good_once_and_with_its_own_verifier_alone(
    provider: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    pending = begun()
    answer = followed(grants.authorization_url(provider, client, pending))
    code = redirect.code_of(answer, pending, provider.issuer, clock.now())
    for wrong in (begun(), pending):  # another's verifier; then the code is spent
        with pytest.raises(TokenFailure) as refused:
            grants.exchange_code(provider, client, wrong, code, policy)
        assert (refused.value.fault, refused.value.error) == (TokenFault.REFUSED, "invalid_request")


def test_a_refresh_token_gives_new_ones(provider: TokenProvider, client: OAuthClient, policy: TokenPolicy) -> None:
    first = signed_in(provider, client, policy)
    assert first.refresh_token is not None
    second = grants.refresh(provider, client, Grant.CODE, first.refresh_token, policy)
    assert second.refresh_token not in (None, first.refresh_token)
    assert second.access_token != first.access_token
    assert second.scopes == ("smtp", "openid")


def test_an_application_gets_a_token_for_itself(
    peer: OAuthPeer, provider: TokenProvider, client: OAuthClient, certified: OAuthClient, policy: TokenPolicy
) -> None:
    assert grants.by_client_credentials(provider, client, policy).refresh_token is None
    assert peer.asked("token")[-1]["client_secret"] == SECRET
    grants.by_client_credentials(provider, certified, policy)
    assert "client_secret" not in peer.asked("token")[-1]
    assert peer.asked("token")[-1]["client_assertion"].count(".") == 2


def test_what_was_granted_is_revoked(
    peer: OAuthPeer, provider: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    assert grants.revoke(provider, client, Secret("refresh"), policy)
    peer.next_revocation(503)
    with pytest.raises(TokenFailure) as failed:
        grants.revoke(provider, client, Secret("refresh"), policy)
    assert failed.value.about is About.PROVIDER


WAYS_BACK: list[tuple[dict[str, str], TokenFault, str]] = [
    ({"error": "access_denied"}, TokenFault.REFUSED, "access_denied"),
    ({"error": "temporarily_unavailable"}, TokenFault.UNAVAILABLE, "temporarily_unavailable"),
    ({"error": "access_denied", "state": "another"}, TokenFault.STATE, ""),
    ({"iss": "https://evil.example"}, TokenFault.STATE, ""),
    ({}, TokenFault.STATE, ""),
]


def test_a_browser_that_comes_back_without_a_code_is_told_apart(
    peer: OAuthPeer, provider: TokenProvider, client: OAuthClient
) -> None:
    for back, fault, error in WAYS_BACK:
        pending = begun()
        peer.next_way_back(**back)
        answer = followed(grants.authorization_url(provider, client, pending))
        with pytest.raises(TokenFailure) as failed:
            redirect.code_of(answer, pending, provider.issuer, clock.now())
        assert (failed.value.fault, failed.value.error) == (fault, error), back


REFUSED, UNAVAILABLE, BAD = TokenFault.REFUSED, TokenFault.UNAVAILABLE, TokenFault.BAD_ANSWER
ERRORS: list[tuple[int, dict[str, Any], TokenFault, About, str]] = [
    (400, {"error": "invalid_grant"}, REFUSED, About.SIGN_IN, ""),
    (
        400,
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
        REFUSED,
        About.SIGN_IN,
        "expired_or_revoked",
    ),
    (400, {"error": "invalid_grant", "error_codes": [700082]}, REFUSED, About.SIGN_IN, "AADSTS700082"),
    (
        401,
        {"error": "invalid_client", "error_description": "AADSTS7000222: The provided client secret keys are expired."},
        REFUSED,
        About.CLIENT,
        "AADSTS7000222",
    ),
    (400, {"error": "unauthorized_client"}, REFUSED, About.CLIENT, ""),
    (400, {"error": ["invalid_grant"]}, REFUSED, About.CLIENT, ""),
    (500, {"error": "server_error"}, UNAVAILABLE, About.PROVIDER, ""),
    (503, {}, UNAVAILABLE, About.PROVIDER, ""),
    (429, {"error": "invalid_grant"}, UNAVAILABLE, About.PROVIDER, ""),
    (200, {"error": "invalid_grant"}, REFUSED, About.SIGN_IN, ""),
    (200, {"token_type": "Bearer"}, BAD, About.PROVIDER, ""),
    (200, {"access_token": "a", "token_type": "mac"}, BAD, About.PROVIDER, ""),
    (200, {"access_token": "a\u0001b", "token_type": "Bearer"}, BAD, About.PROVIDER, ""),
]


def test_each_failure_is_of_its_own_kind(
    peer: OAuthPeer, provider: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    for status, body, fault, about, known_as in ERRORS:
        peer.next_token(status, body)
        with pytest.raises(TokenFailure) as failed:
            grants.refresh(provider, client, Grant.CODE, Secret("refresh"), policy)
        found = failed.value.fault, failed.value.about, failed.value.code or failed.value.kind
        assert found == (fault, about, known_as), (status, body)


@pytest.mark.parametrize("life", [None, 0, -3600, "soon", True])
def test_a_life_that_is_none_is_assumed_to_be_short(
    peer: OAuthPeer, provider: TokenProvider, client: OAuthClient, policy: TokenPolicy, life: object
) -> None:
    body = {"access_token": "opaque", "token_type": "bearer"}
    peer.next_token(200, body if life is None else body | {"expires_in": life})
    before = clock.now()
    given = grants.by_client_credentials(provider, client, policy)
    assert not given.life_is_told
    assert before + timedelta(minutes=10) <= given.expires_at <= clock.now() + timedelta(minutes=10)


def test_an_answer_of_a_megabyte_is_not_read_to_its_end(
    peer: OAuthPeer, provider: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    body = {"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "more": "x" * 1_000_000}
    peer.next_token(200, body)
    with pytest.raises(TokenFailure) as failed:
        grants.by_client_credentials(provider, client, policy)
    assert failed.value.about is About.PROVIDER


def test_who_knows_no_device_codes_says_so_in_its_own_way(
    provider: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    with pytest.raises(TokenFailure) as failed:
        grants.begin_device(provider, client, policy)
    assert failed.value.fault is TokenFault.REFUSED
    elsewhere = replace(provider, device_url=provider.device_url + "/nowhere")
    with pytest.raises(TokenFailure) as failed:
        grants.begin_device(elsewhere, client, policy)
    assert failed.value.status == 404
