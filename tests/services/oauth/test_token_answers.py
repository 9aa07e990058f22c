"""What a provider may answer: whatever it is, it ends in tokens that can be used, or in a failure that says why."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from services.oauth import grants
from services.oauth.answers import ASSUMED_LIFE, TokenSet
from services.oauth.client import OAuthClient, TokenPolicy
from services.oauth.failures import About, TokenFailure, TokenFault
from services.oauth.providers import Grant, TokenProvider
from tests import oauth_faults, signed_texts
from tests.oauth_faults import Answer, Dropped
from tests.oauth_provider import OAuthProviderServer
from tests.patience import stretched
from tests.services.oauth.conftest import SECRET
from tests.services.oauth.signing_in import begun, pressed, signed_in
from utils import clock
from utils.errors import Fault
from utils.secret import Secret

REFRESH: Final = Secret("refresh-that-was-there-before")
Asked = Callable[[oauth_faults.Fault], TokenSet]
Failed = Callable[[oauth_faults.Fault], TokenFailure]


@pytest.fixture
def asked(server: OAuthProviderServer, microsoft: TokenProvider, client: OAuthClient, policy: TokenPolicy) -> Asked:
    """What comes of one answer to an application that signs in by its secret."""

    def ask(fault: oauth_faults.Fault) -> TokenSet:
        server.next("token", fault)
        return grants.by_client_credentials(microsoft, client, policy)

    return ask


@pytest.fixture
def failed(asked: Asked) -> Failed:
    def ask(fault: oauth_faults.Fault) -> TokenFailure:
        with pytest.raises(TokenFailure) as caught:
            asked(fault)
        return caught.value

    return ask


@pytest.mark.parametrize("life", [None, -1, -3600, 0, "", "-5", "soon", "1e9", True, [3600], {}, "3600 "], ids=repr)
def test_a_life_that_is_none_is_assumed_to_be_short(asked: Asked, life: object) -> None:
    before = clock.now()
    given = asked(oauth_faults.with_fields(expires_in=life))
    assert before + ASSUMED_LIFE <= given.expires_at <= clock.now() + ASSUMED_LIFE
    assert not given.life_is_told


def test_a_life_that_is_not_told_is_assumed_to_be_short(asked: Asked) -> None:
    assert asked(oauth_faults.without("expires_in")).expires_at <= clock.now() + ASSUMED_LIFE


@pytest.mark.parametrize(
    ("life", "seconds"),
    [(3599, 3599), ("3599", 3599), (3599.5, 3599.5), (1, 1), (10**9, 86_400), (10**300, 86_400), ("999999999", 86_400)],
)
def test_a_life_may_be_told_as_text_and_is_never_longer_than_a_day(asked: Asked, life: object, seconds: float) -> None:
    before = clock.now()
    given = asked(oauth_faults.with_fields(expires_in=life))
    assert before <= given.expires_at - timedelta(seconds=seconds) <= clock.now()
    assert given.life_is_told


@pytest.mark.parametrize(
    "fields",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 5},
        {"access_token": ["a"]},
        {"access_token": "two words"},
        {"access_token": "a\r\nb"},
        {"access_token": "a\x01b"},
        {"access_token": "tökén"},
        {"access_token": "x" * 20_000},
        {"token_type": "mac"},
        {"token_type": "DPoP"},
        {"token_type": 1},
    ],
    ids=str,
)
def test_what_is_no_token_is_none_but_a_new_refresh_token_is_kept(failed: Failed, fields: dict[str, Any]) -> None:
    failure = failed(oauth_faults.with_fields(refresh_token="refresh-2", **fields))
    assert (failure.fault, failure.about) == (TokenFault.BAD_ANSWER, About.PROVIDER)
    assert failure.refresh_token == Secret("refresh-2")
    assert "refresh-2" not in f"{failure} {failure!r} {vars(failure)}"


@pytest.mark.parametrize(
    "answer",
    {
        "a page": oauth_faults.page(),
        "a page of an error": oauth_faults.page(403),
        "nothing": Answer(200, b""),
        "no object": Answer(200, b'["access_token"]'),
        "a text": Answer(200, b'"access"'),
        "null": Answer(200, b"null"),
        "half of it": Answer(200, b'{"access_token": "a'),
        "a name twice": Answer(200, b'{"access_token": "a", "access_token": "b"}'),
        "not a number": Answer(200, b'{"access_token": "a", "expires_in": NaN}'),
        "infinity": Answer(200, b'{"access_token": "a", "expires_in": Infinity}'),
        "latin": Answer(200, '{"access_token": "ä"}'.encode("latin1")),
        "depth": Answer(200, b'{"access_token": ' + b"[" * 30_000),
        "a form": Answer(200, b"access_token=a&token_type=bearer"),
        "not found": Answer(404, b"{}"),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_answer_is_a_failure_of_the_provider(failed: Failed, answer: tuple[str, Answer]) -> None:
    failure = failed(answer[1])
    assert (failure.fault, failure.about) == (TokenFault.BAD_ANSWER, About.PROVIDER)


def test_a_megabyte_is_not_read_to_its_end(failed: Failed) -> None:
    failure = failed(oauth_faults.megabyte())
    assert (failure.fault, failure.link) == (TokenFault.BAD_ANSWER, Fault.TOO_LARGE)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.parametrize("kind", ["page", "error"])
def test_a_provider_that_is_not_well_is_waited_for(failed: Failed, status: int, kind: str) -> None:
    answers = {"page": oauth_faults.page(status), "error": oauth_faults.error("invalid_grant", status=status)}
    failure = failed(answers[kind])
    assert (failure.fault, failure.about, failure.status) == (TokenFault.UNAVAILABLE, About.PROVIDER, status)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), ("99999999", 86_400), ("-1", None), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_a_wait_that_is_asked_for_is_told(failed: Failed, text: str, seconds: int | None) -> None:
    assert (
        failed(oauth_faults.saying({"error": "temporarily_unavailable"}, 503, Retry_After=text)).retry_after == seconds
    )


def test_a_dropped_connection_is_no_answer(failed: Failed) -> None:
    failure = failed(Dropped())
    assert (failure.fault, failure.link, failure.about) == (TokenFault.UNREACHABLE, Fault.CLOSED, About.PROVIDER)


def test_an_answer_that_is_lost_behind_a_rotation_is_no_answer_either(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    server.is_strict = False
    given = signed_in(google, client, policy)
    assert given.refresh_token
    server.next("token", Dropped(after=True))
    with pytest.raises(TokenFailure) as caught:
        grants.refresh(google, client, Grant.CODE, given.refresh_token, policy)
    assert (caught.value.fault, caught.value.link) == (TokenFault.UNREACHABLE, Fault.CLOSED)
    assert grants.refresh(google, client, Grant.CODE, given.refresh_token, policy).refresh_token


def test_a_provider_that_is_silent_is_left_in_time(
    server: OAuthProviderServer, microsoft: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    let_go = threading.Event()
    server.next("token", oauth_faults.held(let_go.wait))
    try:
        with pytest.raises(TokenFailure) as caught:
            grants.by_client_credentials(microsoft, client, replace(policy, seconds=stretched(0.5)))
    finally:
        let_go.set()
    assert (caught.value.fault, caught.value.link) == (TokenFault.UNREACHABLE, Fault.TIMEOUT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_secret_nowhere(failed: Failed, server: OAuthProviderServer, status: int) -> None:
    failure = failed(oauth_faults.redirect(f"{server.url}/elsewhere/token", status))
    assert (failure.fault, failure.about) == (TokenFault.REDIRECTED, About.CLIENT)
    assert len(server.requests) == 1


def test_a_mailbox_that_left_a_scope_out_is_told(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    server.next("token", oauth_faults.with_fields(scope="openid https://www.googleapis.com/auth/userinfo.email"))
    given = signed_in(google, client, policy)
    assert google.lacking(Grant.CODE, given.scopes) == ["https://mail.google.com/"]


@pytest.mark.parametrize("scope", [None, "", 5, " "])
def test_scopes_that_are_not_named_are_those_that_were_asked_for(asked: Asked, scope: object) -> None:
    assert asked(oauth_faults.with_fields(scope=scope)).scopes == ("https://outlook.office365.com/.default",)


@pytest.mark.parametrize(
    "case",
    [
        ({"aud": "another"}, TokenFault.BAD_ANSWER),
        ({"aud": ["another"]}, TokenFault.BAD_ANSWER),
        ({"iss": "https://accounts.evil.example"}, TokenFault.BAD_ANSWER),
        ({"nonce": "of another sign-in"}, TokenFault.BAD_ANSWER),
        ({"exp": "tomorrow"}, TokenFault.BAD_ANSWER),
        ({"iat": None}, TokenFault.BAD_ANSWER),
        ({"exp": 1}, TokenFault.CLOCK),
        ({"iat": 9_999_999_999}, TokenFault.CLOCK),
    ],
    ids=str,
)
def test_an_id_token_of_another_sign_in_is_refused(
    server: OAuthProviderServer,
    google: TokenProvider,
    client: OAuthClient,
    policy: TokenPolicy,
    case: tuple[dict[str, Any], TokenFault],
) -> None:
    server.identity, fault = case
    with pytest.raises(TokenFailure) as caught:
        signed_in(google, client, policy)
    assert caught.value.fault is fault


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "....", "a.bm8.c", 5, [], "x" * 20_000])
def test_what_is_no_id_token_is_refused_at_sign_in_and_never_looked_at_later(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy, text: object
) -> None:
    server.next("token", oauth_faults.with_fields(id_token=text), oauth_faults.without("id_token"))
    with pytest.raises(TokenFailure):
        signed_in(google, client, policy)
    given = signed_in(google, client, policy)
    assert given.identity is None
    assert given.refresh_token
    server.next("token", oauth_faults.with_fields(id_token=text))
    assert grants.refresh(google, client, Grant.CODE, given.refresh_token, policy).refresh_token


@pytest.mark.parametrize(
    "case",
    [
        ({"email": "a@example.com", "email_verified": True}, "a@example.com"),
        ({"email": "a@example.com", "email_verified": "true"}, "a@example.com"),
        ({"email": "a@example.com", "email_verified": False, "preferred_username": ""}, ""),
        (
            {"tid": "t", "email": "boss@victim.example", "preferred_username": "me@attacker.example"},
            "me@attacker.example",
        ),
        (
            {"tid": "t", "email": "boss@victim.example", "xms_edov": True, "upn": "me@attacker.example"},
            "me@attacker.example",
        ),
        ({"tid": "t", "email": "boss@victim.example"}, ""),
        ({"email": ["a@example.com"]}, ""),
        ({"email": "a@example.com\r\n"}, ""),
    ],
)
def test_the_mailbox_is_one_that_nobody_can_claim_for_themselves(
    server: OAuthProviderServer,
    google: TokenProvider,
    client: OAuthClient,
    policy: TokenPolicy,
    case: tuple[dict[str, Any], str],
) -> None:
    server.identity, mailbox = case
    given = signed_in(google, client, policy)
    assert given.identity is not None
    assert given.identity.mailbox() == mailbox


@pytest.mark.parametrize(
    "fields",
    [
        {"device_code": None},
        {"user_code": 5},
        {"user_code": "<script>"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": None},
        {"verification_uri": "https://a b"},
    ],
    ids=str,
)
def test_what_is_no_device_code_is_refused(
    server: OAuthProviderServer, microsoft: TokenProvider, policy: TokenPolicy, fields: dict[str, Any]
) -> None:
    server.next("devicecode", oauth_faults.with_fields(**fields))
    with pytest.raises(TokenFailure) as caught:
        grants.begin_device(microsoft, OAuthClient(client_id="public"), policy)
    assert caught.value.fault is TokenFault.BAD_ANSWER


@pytest.mark.parametrize(("said", "interval"), [(None, 5), (0, 5), (-1, 5), ("7", 7), (1.5, 2), (10**9, 60), (True, 5)])
def test_the_interval_of_a_device_code_is_bounded(
    server: OAuthProviderServer, microsoft: TokenProvider, policy: TokenPolicy, said: object, interval: int
) -> None:
    server.next("devicecode", oauth_faults.with_fields(interval=said))
    assert grants.begin_device(microsoft, OAuthClient(client_id="public"), policy).interval == interval


def test_nothing_secret_is_in_what_may_be_printed(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    pending = begun()
    answer = pressed(grants.authorization_url(google, client, pending))
    given = grants.exchange_code(google, client, pending, Secret(answer["code"][0]), policy)
    assert given.refresh_token
    shown = f"{pending!r} {given!r} {given} {client!r} {policy!r} {google!r}"
    hidden = (pending.state, pending.verifier, given.access_token, given.refresh_token, Secret(SECRET))
    assert [secret for secret in hidden if secret.reveal() in shown] == []


def test_a_provider_that_repeats_secrets_in_its_error_gets_none_of_them_further(failed: Failed) -> None:
    said = f"AADSTS7000215: Invalid client secret provided: {SECRET}"
    failure = failed(oauth_faults.error(SECRET, said, 401, error_codes=[SECRET], suberror=SECRET, error_subtype=SECRET))
    assert SECRET not in f"{failure} {failure!r} {vars(failure)}"
    assert (failure.error, failure.code) == ("other", "AADSTS7000215")


def test_an_id_token_with_several_audiences_is_ours_if_one_is(
    server: OAuthProviderServer, google: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    server.identity = {"aud": ["another", "with-secret"]}
    assert signed_in(google, client, policy).identity is not None
    assert signed_texts.claims_of(signed_texts.unsigned({"a": 1})) == {"a": 1}
