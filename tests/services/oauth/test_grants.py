"""Every way to a token, at a real provider."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from services.oauth import grants, redirect
from services.oauth.answers import DeviceCode, StillWaiting, TokenSet
from services.oauth.client import OAuthClient, ServiceAccount, TokenPolicy
from services.oauth.failures import About, TokenFailure
from services.oauth.providers import GOOGLE_SCOPE, Grant, TokenProvider
from tests import oauth_faults
from tests.certificates import ClientPair
from tests.oauth_provider import USER_CODE, OAuthProviderServer
from tests.services.oauth.conftest import REDIRECT, SECRET
from tests.services.oauth.signing_in import begun, pressed, signed_in
from utils import clock
from utils.secret import Secret


@pytest.fixture
def account(pair: ClientPair) -> ServiceAccount:
    return ServiceAccount(email="robot@project.example", client_id="117", key_id="k1", key=Secret(pair.key))


def test_the_link_asks_for_exactly_what_is_needed(google: TokenProvider, client: OAuthClient) -> None:
    pending = begun()
    url = grants.authorization_url(google, client, pending, login_hint="shop@example.com")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked.pop("state") == pending.state.reveal()
    assert asked.pop("nonce") == pending.nonce
    assert len(asked.pop("code_challenge")) == 43
    assert asked == {
        "client_id": "with-secret",
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": f"{GOOGLE_SCOPE} openid email",
        "code_challenge_method": "S256",
        "access_type": "offline",
        "prompt": "consent",
        "login_hint": "shop@example.com",
    }
    assert SECRET not in url
    assert pending.verifier.reveal() not in url


@pytest.mark.parametrize("name", ["google", "microsoft"])
def test_someone_who_signs_in_gives_both_tokens_and_is_known(
    request: pytest.FixtureRequest, server: OAuthProviderServer, client: OAuthClient, policy: TokenPolicy, name: str
) -> None:
    provider: TokenProvider = request.getfixturevalue(name)
    before = clock.now()
    given = signed_in(provider, client, policy)
    assert server.mailbox_of(given.access_token.reveal()) == "shop@example.com"
    assert given.refresh_token is not None
    assert before + timedelta(hours=1) <= given.expires_at <= clock.now() + timedelta(hours=1)
    assert given.life_is_told
    assert provider.lacking(Grant.CODE, given.scopes) == []
    assert given.identity is not None
    assert given.identity.email == "shop@example.com"


def test_a_public_client_signs_in_without_a_secret(
    server: OAuthProviderServer, google: TokenProvider, policy: TokenPolicy
) -> None:
    given = signed_in(google, OAuthClient(client_id="public"), policy)
    assert server.mailbox_of(given.access_token.reveal()) == "shop@example.com"
    assert "client_secret" not in server.requests[-1][1]


def test_a_code_is_good_once_and_with_its_own_verifier_alone(
    google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    pending = begun()
    answer = pressed(grants.authorization_url(google, client, pending))
    code = redirect.code_of(answer, pending, google.issuer, clock.now())
    with pytest.raises(TokenFailure) as stolen:
        grants.exchange_code(google, client, begun(), code, policy)
    assert (stolen.value.error, stolen.value.kind) == ("invalid_grant", "code_verifier")
    with pytest.raises(TokenFailure) as again:
        grants.exchange_code(google, client, pending, code, policy)
    assert (again.value.error, again.value.kind) == ("invalid_grant", "code_malformed")


def test_a_refresh_token_that_rotates_comes_with_each_renewal(
    server: OAuthProviderServer, microsoft: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    first = signed_in(microsoft, client, policy)
    assert first.refresh_token is not None
    second = grants.refresh(microsoft, client, Grant.CODE, first.refresh_token, policy)
    assert second.refresh_token not in (None, first.refresh_token)
    assert second.access_token != first.access_token
    assert second.identity is None
    assert server.counts["refresh_token"] == 1


def test_a_refresh_token_that_stays_is_not_named_again(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    server.rotates = False
    first = signed_in(google, client, policy)
    assert first.refresh_token is not None
    for _ in range(2):
        assert grants.refresh(google, client, Grant.CODE, first.refresh_token, policy).refresh_token is None
    assert server.counts["refresh_token"] == 2


def test_a_refresh_token_that_was_used_before_ends_the_grant(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    first = signed_in(google, client, policy)
    assert first.refresh_token is not None
    second = grants.refresh(google, client, Grant.CODE, first.refresh_token, policy)
    assert second.refresh_token is not None
    for token in (first.refresh_token, second.refresh_token):
        with pytest.raises(TokenFailure) as refused:
            grants.refresh(google, client, Grant.CODE, token, policy)
        assert refused.value.about is About.SIGN_IN
        assert refused.value.kind == "expired_or_revoked"
    assert server.mailbox_of(second.access_token.reveal()) == ""


def test_no_refresh_token_is_none(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    server.gives_refresh = False
    assert signed_in(google, client, policy).refresh_token is None


def test_a_device_code_waits_for_someone_to_type_it(
    server: OAuthProviderServer, microsoft: TokenProvider, policy: TokenPolicy
) -> None:
    client = OAuthClient(client_id="public")
    code = grants.begin_device(microsoft, client, policy)
    assert (code.user_code, code.verification_url, code.interval) == (USER_CODE, f"{server.url}/device", 5)
    assert grants.poll_device(microsoft, client, code, code.interval, policy) == StillWaiting(5)
    server.next("token", oauth_faults.error("slow_down"))
    assert grants.poll_device(microsoft, client, code, code.interval, policy) == StillWaiting(10)
    pressed(code.verification_url, user_code=code.user_code)
    given = grants.poll_device(microsoft, client, code, code.interval, policy)
    assert isinstance(given, TokenSet)
    assert given.refresh_token is not None
    assert given.identity is not None
    assert [sorted(form) for path, form in server.requests if path.endswith("/devicecode")] == [["client_id", "scope"]]


@pytest.mark.parametrize(("decision", "error"), [("deny", "access_denied"), ("unknown", "expired_token")])
def test_a_device_code_that_was_declined_or_is_over_gives_nothing(
    microsoft: TokenProvider, policy: TokenPolicy, decision: str, error: str
) -> None:
    client = OAuthClient(client_id="public")
    code: DeviceCode = grants.begin_device(microsoft, client, policy)
    if decision == "deny":
        pressed(code.verification_url, decision, user_code=code.user_code)
    else:
        code = replace(code, device_code=Secret("another"))
    with pytest.raises(TokenFailure) as refused:
        grants.poll_device(microsoft, client, code, code.interval, policy)
    assert (refused.value.error, refused.value.about) == (error, About.SIGN_IN)


def test_an_application_signs_in_by_its_secret(
    server: OAuthProviderServer, microsoft: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    given = grants.by_client_credentials(microsoft, client, policy)
    assert server.mailbox_of(given.access_token.reveal()) == "with-secret"
    assert given.refresh_token is None
    path, form = server.requests[-1]
    assert path.endswith("/oauth2/v2.0/token")
    assert form["client_secret"] == SECRET
    assert form["scope"] == "https://outlook.office365.com/.default"


def test_an_application_signs_in_by_its_certificate_and_sends_no_secret(
    server: OAuthProviderServer, microsoft: TokenProvider, certified: OAuthClient, policy: TokenPolicy
) -> None:
    given = grants.by_client_credentials(microsoft, certified, policy)
    assert server.mailbox_of(given.access_token.reveal()) == "with-certificate"
    form = server.requests[-1][1]
    assert sorted(form) == ["client_assertion", "client_assertion_type", "client_id", "grant_type", "scope"]


def test_a_service_account_gets_a_token_for_a_mailbox_that_was_delegated_to_it(
    server: OAuthProviderServer, google: TokenProvider, account: ServiceAccount, policy: TokenPolicy
) -> None:
    given = grants.by_service_account(google, account, "shop@example.com", policy)
    assert server.mailbox_of(given.access_token.reveal()) == "shop@example.com"
    assert sorted(server.requests[-1][1]) == ["assertion", "grant_type"]
    with pytest.raises(TokenFailure) as refused:
        grants.by_service_account(google, account, "other@example.com", policy)
    assert (refused.value.error, refused.value.kind) == ("unauthorized_client", "delegation_missing")
    assert refused.value.about is About.CLIENT


@pytest.mark.parametrize("ahead", [-290.0, 290.0], ids=["theirs is slow", "theirs is fast"])
def test_clocks_that_are_five_minutes_apart_are_no_hindrance(
    request: pytest.FixtureRequest, server: OAuthProviderServer, client: OAuthClient, policy: TokenPolicy, ahead: float
) -> None:
    google, microsoft, certified, account = map(
        request.getfixturevalue, ("google", "microsoft", "certified", "account")
    )
    server.clock_ahead = ahead
    before = clock.now()
    tokens = [
        signed_in(google, client, policy),
        grants.by_client_credentials(microsoft, certified, policy),
        grants.by_service_account(google, account, "shop@example.com", policy),
    ]
    for given in tokens:
        assert before <= given.expires_at - timedelta(hours=1) <= clock.now()


def test_a_grant_that_is_revoked_is_of_no_more_use(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    given = signed_in(google, client, policy)
    assert given.refresh_token is not None
    assert grants.revoke(google, client, given.refresh_token, policy)
    assert server.mailbox_of(given.access_token.reveal()) == ""
    with pytest.raises(TokenFailure, match="invalid_grant"):
        grants.refresh(google, client, Grant.CODE, given.refresh_token, policy)
    assert grants.revoke(google, client, Secret("long gone"), policy)


def test_a_provider_without_a_way_to_revoke_says_so(
    server: OAuthProviderServer, microsoft: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    assert not grants.revoke(microsoft, client, Secret("refresh"), policy)
    assert server.requests == []
