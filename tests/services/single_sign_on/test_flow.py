"""To a provider and back: who it was, and everything that is no proof of it."""

import base64
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from services.single_sign_on import flow
from services.single_sign_on import provider as known
from services.single_sign_on.claims import ProvenIdentity
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from services.single_sign_on.flow import Aim, Errand, ProviderAnswer, SentAway
from tests import oauth_faults
from tests.oidc_provider import CLIENT, OidcProviderServer, PrivateKey, jwt, rsa_key, signature
from tests.turned_clock import Now
from utils import clock
from utils.encryption_utils import encrypt_smtp_password

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch, provider: OidcProviderServer) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    provider.clock = turned.seconds
    return turned


def came_back(server: OidcProviderServer, away: SentAway, decision: str = "grant") -> ProviderAnswer:
    return parse_qs(urlsplit(server.come_back(away.url, decision)).query)


def signed_in(server: OidcProviderServer, errand: Errand | None = None) -> ProvenIdentity:
    away = flow.begin(errand or Errand())
    return flow.finish(came_back(server, away), away.cookie)[0]


def refusal(server: OidcProviderServer) -> SignOnFailure:
    with pytest.raises(SignOnFailure) as caught:
        signed_in(server)
    return caught.value


def test_whoever_signs_in_is_known_by_issuer_and_subject(provider: OidcProviderServer) -> None:
    provider.identity = {"preferred_username": "ada", "email": "ada@example.com", "email_verified": True}
    who = signed_in(provider)
    assert (who.issuer, who.subject, who.username, who.email) == (provider.url, "subject-1", "ada", "ada@example.com")


def test_the_browser_is_sent_with_pkce_a_state_and_a_nonce(provider: OidcProviderServer) -> None:
    asked = dict(parse_qsl(urlsplit(flow.begin(Errand()).url).query))
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 32 and len(asked["nonce"]) >= 32
    assert (asked["client_id"], asked["scope"]) == (CLIENT, "openid profile email")
    assert asked["redirect_uri"] == "http://localhost:5000/login/oidc/callback"


def test_the_errand_comes_back_with_them(provider: OidcProviderServer) -> None:
    errand = Errand(aim=Aim.LINK, place="session 1", next="/emails")
    away = flow.begin(errand)
    assert flow.finish(came_back(provider, away), away.cookie)[1] == errand


def test_a_state_that_was_made_elsewhere_is_none(provider: OidcProviderServer) -> None:
    away = flow.begin(Errand())
    with pytest.raises(SignOnFailure, match="no sign-in of this browser"):
        flow.finish({"state": [encrypt_smtp_password("{}")], "code": ["a"]}, away.cookie)


def test_what_a_state_holds_cannot_be_read(provider: OidcProviderServer) -> None:
    asked_for = dict(parse_qsl(urlsplit(flow.begin(Errand(aim=Aim.INVITATION, token="t0ken-of-grace")).url).query))
    held = base64.urlsafe_b64decode(asked_for["state"] + "==")
    assert asked_for["nonce"].encode() not in held and b"t0ken-of-grace" not in held


def test_the_state_of_a_long_way_fits_into_an_address(provider: OidcProviderServer) -> None:
    away = flow.begin(Errand(next="/emails?q=" + "x" * 290))
    assert len(parse_qs(urlsplit(away.url).query)["state"][0]) < 1200


def test_two_tabs_of_a_browser_each_end_their_own(provider: OidcProviderServer) -> None:
    first = flow.begin(Errand(next="/emails"))
    second = flow.begin(Errand(next="/account"), first.cookie)
    assert second.cookie == first.cookie
    ended = [flow.finish(came_back(provider, each), first.cookie)[1].next for each in (second, first)]
    assert ended == ["/account", "/emails"]


def test_a_cookie_that_is_none_of_ours_is_not_gone_on_with(provider: OidcProviderServer) -> None:
    assert flow.begin(Errand(), "short").cookie != "short"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "Ed25519"])
def test_each_algorithm_with_a_private_key_is_taken(provider: OidcProviderServer, algorithm: str) -> None:
    others: dict[str, PrivateKey] = {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    provider.keys = {"first": (algorithm, others.get(algorithm, rsa_key(0)))}
    assert signed_in(provider).subject == "subject-1"


def test_the_name_that_says_nothing_of_the_curve_is_not_taken(provider: OidcProviderServer) -> None:
    provider.keys = {"first": ("EdDSA", ed25519.Ed25519PrivateKey.generate())}
    assert refusal(provider).fault is SignOnFault.UNUSABLE


def test_a_token_without_a_signature_is_refused(provider: OidcProviderServer) -> None:
    provider.sign = lambda claims: jwt({"alg": "none"}, claims, lambda _: b"")
    assert str(refusal(provider)) == "id token not valid: algorithm"


def test_one_signed_with_the_public_key_as_a_shared_secret_is_refused(provider: OidcProviderServer) -> None:
    provider.sign = provider.by_hmac
    assert str(refusal(provider)) == "id token not valid: algorithm"


def test_an_algorithm_that_the_provider_does_not_announce_is_refused(provider: OidcProviderServer) -> None:
    provider.said = {"id_token_signing_alg_values_supported": ["ES256"]}
    assert str(refusal(provider)) == "id token not valid: algorithm"


def test_a_provider_that_signs_with_a_shared_secret_alone_is_not_used(provider: OidcProviderServer) -> None:
    provider.said = {"id_token_signing_alg_values_supported": ["HS256", "none"]}
    assert refusal(provider).fault is SignOnFault.UNUSABLE


def test_a_token_of_another_key_with_the_same_name_is_refused(provider: OidcProviderServer) -> None:
    head = {"alg": "RS256", "kid": "first"}
    provider.sign = lambda claims: jwt(head, claims, lambda octets: signature(rsa_key(1), "RS256", octets))
    assert str(refusal(provider)) == "id token not valid: signature"


def test_a_nonce_of_another_sign_in_is_refused(provider: OidcProviderServer) -> None:
    provider.identity = {"nonce": "another"}
    assert str(refusal(provider)) == "id token not valid: nonce"


def test_an_answer_of_another_provider_is_refused(provider: OidcProviderServer) -> None:
    provider.names_itself = False
    provider.said = {"authorization_response_iss_parameter_supported": True}
    provider.extra_answer = {"iss": "https://other.example.com"}
    assert refusal(provider).fault is SignOnFault.NOT_OURS


def test_one_that_must_say_whose_it_is_and_does_not_is_refused(provider: OidcProviderServer) -> None:
    provider.names_itself = False
    provider.said = {"authorization_response_iss_parameter_supported": True}
    assert refusal(provider).fault is SignOnFault.NOT_OURS


def test_a_state_of_another_browser_is_refused(provider: OidcProviderServer) -> None:
    mine, other = flow.begin(Errand()), flow.begin(Errand())
    with pytest.raises(SignOnFailure, match="no sign-in of this browser"):
        flow.finish(came_back(provider, other), mine.cookie)


def test_an_answer_after_ten_minutes_is_refused(provider: OidcProviderServer, now: Now) -> None:
    away = flow.begin(Errand())
    answer = came_back(provider, away)
    now.turn(660)
    with pytest.raises(SignOnFailure, match="no sign-in of this browser"):
        flow.finish(answer, away.cookie)


def test_whoever_says_no_at_the_provider_is_not_signed_in(provider: OidcProviderServer) -> None:
    away = flow.begin(Errand())
    with pytest.raises(SignOnFailure, match="refused by the provider"):
        flow.finish(came_back(provider, away, "deny"), away.cookie)


def test_keys_are_asked_for_once_and_anew_for_one_that_is_not_known(provider: OidcProviderServer, now: Now) -> None:
    signed_in(provider), signed_in(provider)
    assert asked(provider, "/keys") == 1
    provider.keys, provider.signs_with = {"second": ("RS256", rsa_key(1))}, "second"
    assert str(refusal(provider)) == "id token not valid: signature"  # they are a moment old
    assert asked(provider, "/keys") == 1
    now.turn(61)
    assert signed_in(provider).subject == "subject-1"
    assert asked(provider, "/keys") == 2


def test_a_provider_that_is_down_is_left_alone_for_a_moment(provider: OidcProviderServer, now: Now) -> None:
    provider.next("openid-configuration", oauth_faults.page(503))
    for _ in range(3):
        with pytest.raises(SignOnFailure, match="provider unreachable"):
            flow.begin(Errand())
    assert asked(provider, "/.well-known/openid-configuration") == 1
    now.turn(11)
    assert flow.begin(Errand()).url.startswith(provider.url)


@pytest.mark.parametrize("place", ["openid-configuration", "keys", "token"])
@pytest.mark.parametrize("answer", [oauth_faults.megabyte(), oauth_faults.page()], ids=["a megabyte", "a page"])
def test_answers_that_are_none_are_refused(
    provider: OidcProviderServer, place: str, answer: oauth_faults.Answer
) -> None:
    provider.next(place, answer)
    assert refusal(provider).fault is SignOnFault.UNUSABLE


def test_a_connection_that_is_closed_says_that_the_provider_cannot_be_reached(provider: OidcProviderServer) -> None:
    provider.next("token", oauth_faults.Dropped())
    assert refusal(provider).fault is SignOnFault.UNREACHABLE


def test_a_wrong_client_secret_is_told_as_such(provider: OidcProviderServer) -> None:
    provider.clients[CLIENT].secret = "another"
    assert refusal(provider).fault is SignOnFault.REGISTRATION


def test_the_secret_goes_into_the_header_where_the_provider_takes_it_there_alone(provider: OidcProviderServer) -> None:
    provider.said = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    assert signed_in(provider).subject == "subject-1"


@pytest.mark.parametrize("written", ["{}", "{}/"])
@pytest.mark.parametrize("called", ["{}", "{}/"])
def test_a_slash_at_the_end_of_the_issuer_is_no_matter_of_ours(
    provider: OidcProviderServer, written: str, called: str
) -> None:
    provider.issuer = called.format(provider.url)
    object.__setattr__(known.configured(), "issuer", written.format(provider.url))
    assert signed_in(provider).issuer == provider.issuer


def test_a_document_that_names_another_issuer_is_not_used(provider: OidcProviderServer) -> None:
    provider.said = {"issuer": "https://other.example.com"}
    assert refusal(provider).fault is SignOnFault.ISSUER


def test_a_document_that_leads_elsewhere_without_tls_is_not_used(provider: OidcProviderServer) -> None:
    provider.said = {"token_endpoint": "http://192.0.2.1/token"}
    assert str(refusal(provider)) == "provider unusable: token_endpoint"


def test_what_the_id_token_leaves_out_is_asked_for_with_the_access_token(provider: OidcProviderServer) -> None:
    provider.user_info = {"groups": ["mail-admins"], "preferred_username": "ada"}
    assert signed_in(provider).is_in_charge is True


def test_that_answer_counts_only_if_it_is_of_the_same_person(provider: OidcProviderServer) -> None:
    provider.user_info = {"sub": "somebody-else", "groups": ["mail-admins"]}
    assert str(refusal(provider)) == "id token not valid: subject"


def test_without_it_nobody_is_guessed_to_be_in_charge_or_not(provider: OidcProviderServer) -> None:
    provider.next("userinfo", oauth_faults.page(503))
    assert refusal(provider).fault is SignOnFault.UNREACHABLE


def test_signing_in_again_must_have_happened_after_it_was_asked_for(provider: OidcProviderServer) -> None:
    errand = Errand(aim=Aim.CONFIRM, place="session 1")
    asked_for = dict(parse_qsl(urlsplit(flow.begin(errand).url).query))
    assert (asked_for["prompt"], asked_for["max_age"]) == ("login", "0")
    for said, is_taken in (({}, False), ({"auth_time": 1_000_000_000}, False), ({"auth_time": provider.now()}, True)):
        provider.identity = said
        if is_taken:
            assert signed_in(provider, errand).subject == "subject-1"
        else:
            with pytest.raises(SignOnFailure, match="not signed in again"):
                signed_in(provider, errand)


def asked(server: OidcProviderServer, path: str) -> int:
    return [place for place, _ in server.requests].count(path)
