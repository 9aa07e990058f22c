"""What each error of a provider means, and whose it is."""

import pytest

from services.delivery.retry_policy import MailAction, of_error
from services.oauth import grants
from services.oauth.client import OAuthClient, TokenPolicy
from services.oauth.failures import About, TokenFailure, TokenFault, as_delivery_error, refused
from services.oauth.providers import Grant, TokenProvider
from services.outbox.reasons import OF_DOWN_SERVERS
from tests import oauth_faults
from tests.oauth_provider import OAuthProviderServer
from utils.errors import Fault, Misconfigured, Phase, Temporary, TokenTrouble
from utils.secret import Secret


@pytest.mark.parametrize(
    ("number", "error", "about"),
    [
        (7000222, "invalid_client", About.CLIENT),  # the secret has expired
        (7000215, "invalid_client", About.CLIENT),  # its id was pasted instead of its value
        (700027, "invalid_client", About.CLIENT),  # the certificate is not registered
        (700016, "unauthorized_client", About.CLIENT),  # the application is not in the tenant
        (700016, "invalid_grant", About.CLIENT),
        (90002, "invalid_request", About.CLIENT),  # no such tenant
        (700082, "invalid_grant", About.SIGN_IN),  # 90 days idle
        (70008, "invalid_grant", About.SIGN_IN),
        (50173, "invalid_grant", About.SIGN_IN),  # the password was changed
        (70000, "invalid_grant", About.SIGN_IN),
        (65001, "invalid_grant", About.SIGN_IN),  # consent is missing
        (50076, "interaction_required", About.SIGN_IN),  # a second factor is asked for
        (50196, "temporarily_unavailable", About.PROVIDER),
    ],
)
def test_microsofts_number_and_whose_failure_it_is_are_told(
    server: OAuthProviderServer,
    microsoft: TokenProvider,
    client: OAuthClient,
    policy: TokenPolicy,
    *,
    number: int,
    error: str,
    about: About,
) -> None:
    server.next("token", oauth_faults.aadsts(number, error))
    with pytest.raises(TokenFailure) as caught:
        grants.refresh(microsoft, client, Grant.CODE, Secret("refresh"), policy)
    assert (caught.value.code, caught.value.error, caught.value.about) == (f"AADSTS{number}", error, about)
    assert f"AADSTS{number}" in str(caught.value)


def test_the_number_is_read_from_the_words_where_there_is_no_list() -> None:
    said = {"error": "invalid_grant", "error_description": "AADSTS700082: The refresh token has expired"}
    assert refused(400, said).code == "AADSTS700082"


@pytest.mark.parametrize(
    "numbers", [[], ["700082"], [True], [-5], [10**12], {"0": 1}, "700082", None, [[700082]]], ids=repr
)
def test_what_is_no_list_of_numbers_is_none(numbers: object) -> None:
    assert refused(400, {"error": "invalid_grant", "error_codes": numbers}).code == ""


@pytest.mark.parametrize(
    ("error", "words", "kind", "about"),
    [
        ("invalid_grant", "Token has been expired or revoked.", "expired_or_revoked", About.SIGN_IN),
        ("invalid_grant", "Account has been deleted", "account_deleted", About.SIGN_IN),
        ("invalid_grant", "Bad Request", "", About.SIGN_IN),
        ("invalid_grant", "Malformed auth code.", "code_malformed", About.SIGN_IN),
        ("invalid_grant", "reauth related error (invalid_rapt)", "reauthentication", About.SIGN_IN),
        ("invalid_grant", "Invalid JWT Signature.", "wrong_key", About.CLIENT),
        ("invalid_grant", "Invalid grant: account not found", "account_not_found", About.SIGN_IN),
        ("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)", "clock", About.CLIENT),
        (
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any",
            "delegation_missing",
            About.CLIENT,
        ),
        ("invalid_client", "The provided client secret is invalid.", "wrong_secret", About.CLIENT),
        ("invalid_client", "The OAuth client was not found.", "client_not_found", About.CLIENT),
        ("deleted_client", "The OAuth client was deleted.", "client_not_found", About.CLIENT),
        ("admin_policy_enforced", "", "", About.CLIENT),
        ("invalid_scope", "Some requested scopes were invalid.", "", About.CLIENT),
    ],
)
def test_googles_words_are_told_apart(error: str, words: str, kind: str, about: About) -> None:
    failure = refused(400, {"error": error, "error_description": words})
    assert (failure.error, failure.kind, failure.about) == (error, kind, about)


def test_a_subtype_says_it_without_words() -> None:
    said = {"error": "invalid_grant", "error_description": "Bad Request", "error_subtype": "invalid_rapt"}
    assert refused(400, said).kind == "reauthentication"


@pytest.mark.parametrize("error", ["", "made_up", None, 5, ["invalid_grant"], {"code": 400}, "INVALID_GRANT"], ids=repr)
def test_an_error_that_is_in_no_list_is_another(error: object) -> None:
    failure = refused(400, {"error": error, "error_description": ["no text"]})
    assert (failure.error, failure.fault, failure.about) == ("other", TokenFault.REFUSED, About.CLIENT)


@pytest.mark.parametrize("fault", list(TokenFault))
def test_every_failure_is_someones(fault: TokenFault) -> None:
    assert TokenFailure(fault).about in About


def test_a_provider_that_is_not_well_is_waited_for_and_anything_else_needs_a_person() -> None:
    unwell = as_delivery_error(TokenFailure(TokenFault.UNREACHABLE, link=Fault.TIMEOUT))
    assert (type(unwell), unwell.phase, unwell.fault) == (Temporary, Phase.SIGN_IN, Fault.TOKEN_UNAVAILABLE)
    assert unwell.token_trouble == TokenTrouble("unreachable", link="timeout")
    dead = as_delivery_error(TokenFailure(TokenFault.REFUSED, error="invalid_grant", code="AADSTS700082"))
    assert (type(dead), dead.phase, dead.fault) == (Misconfigured, Phase.SIGN_IN, Fault.TOKEN_DEAD)
    assert dead.token_trouble == TokenTrouble("refused", "invalid_grant", "AADSTS700082")


def test_mail_waits_and_goes_to_a_standby_while_there_is_no_token() -> None:
    for fault in TokenFault:
        verdict = of_error(as_delivery_error(TokenFailure(fault)))
        assert (verdict.action, verdict.goes_on, verdict.is_unreachable) == (MailAction.SNOOZE, True, True)
        assert verdict.reason in OF_DOWN_SERVERS
