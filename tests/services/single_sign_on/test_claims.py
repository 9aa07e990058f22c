"""What the claims of an id token must be, and what they say of a person."""

from datetime import timedelta
from typing import Any

import pytest

from services.single_sign_on import claims
from services.single_sign_on.failures import SignOnFailure, SignOnFault
from tests.oidc_provider import CLIENT
from utils import clock
from utils.env_reader import Reader
from utils.oidc_env import OidcSettings, named_by

ISSUER, NONCE = "https://id.example.com", "n0nce"
NOW = clock.now()


def ours(**more: str) -> OidcSettings:
    found = named_by(Reader({"OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": CLIENT, **more}), is_production=True)
    assert found
    return found


IN_CHARGE = ours(OIDC_ADMIN_CLAIM="groups", OIDC_ADMIN_VALUE="mail-admins")


def said(**changed: Any) -> dict[str, Any]:
    moment = int(NOW.timestamp())
    usual = {"iss": ISSUER, "aud": CLIENT, "sub": "1", "nonce": NONCE, "iat": moment, "exp": moment + 300}
    return usual | changed


def refusal(**changed: Any) -> SignOnFailure | None:
    try:
        claims.check(said(**changed), ours(), ISSUER, NONCE, NOW)
    except SignOnFailure as failure:
        return failure
    return None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"nonce": None}, "nonce"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": ["n0nce"]}, "nonce"),
        ({"nonce": "\ud800"}, "nonce"),
        ({"iss": "https://other.example.com"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": [CLIENT, "another"]}, "audience"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "audience"),
        ({"aud": ["another"], "azp": CLIENT}, "audience"),
        ({"azp": "another"}, "audience"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sub": "a" * 256}, "subject"),
        ({"exp": None}, "times"),
        ({"exp": True}, "times"),
        ({"iat": "now"}, "times"),
        ({"iat": 1e300}, "times"),
    ],
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(changed: dict[str, Any], why: str) -> None:
    failure = refusal(**changed)
    assert failure and (failure.fault, failure.detail) == (SignOnFault.TOKEN, why)


@pytest.mark.parametrize("aud", [CLIENT, [CLIENT], [CLIENT, "another"]])
def test_what_was_issued_to_this_client_is_taken(aud: object) -> None:
    assert refusal(aud=aud, azp=CLIENT) is None


@pytest.mark.parametrize(
    ("began", "ends", "is_taken"),
    [(-90, 10, True), (90, 200, True), (-300, -90, True), (130, 400, False), (-300, -130, False), (-800, 800, False)],
)
def test_clocks_may_differ_by_two_minutes(began: int, ends: int, is_taken: bool) -> None:
    times = {"iat": NOW + timedelta(seconds=began), "exp": NOW + timedelta(seconds=ends)}
    failure = refusal(**{name: moment.timestamp() for name, moment in times.items()})
    assert failure is None if is_taken else failure and failure.fault is SignOnFault.CLOCK


@pytest.mark.parametrize(
    ("groups", "is_in_charge"),
    [
        (["staff", "mail-admins"], True),
        ("mail-admins", True),
        (["mail-admins-no-more", "/mail-admins", "Mail-Admins"], False),
        ("staff mail-admins", False),
        ([], False),
        (None, False),
        ({"mail-admins": True}, False),
    ],
)
def test_the_claim_says_who_is_in_charge(groups: object, is_in_charge: bool) -> None:
    assert claims.identity(said(groups=groups), IN_CHARGE).is_in_charge is is_in_charge


def test_a_name_with_dots_is_a_path_unless_there_is_such_a_name() -> None:
    nested = said(realm_access={"roles": ["mail-admins"]})
    assert claims.has_value(nested, "realm_access.roles", "mail-admins")
    assert not claims.has_value(nested | {"realm_access.roles": []}, "realm_access.roles", "mail-admins")


def test_without_a_claim_the_provider_says_nothing_of_it() -> None:
    assert claims.identity(said(groups=["mail-admins"]), ours()).is_in_charge is None


@pytest.mark.parametrize(
    ("verified", "email"),
    [
        ({"email_verified": True}, "ada@example.com"),
        ({"email_verified": "true"}, "ada@example.com"),
        ({"xms_edov": "1"}, "ada@example.com"),
        ({"email_verified": False}, ""),
        ({"email_verified": "yes"}, ""),
        ({}, ""),
    ],
)
def test_an_address_counts_if_the_provider_has_verified_it(verified: dict[str, Any], email: str) -> None:
    assert claims.identity(said(email="ada@example.com", **verified), IN_CHARGE).email == email
