"""What is stored to show who an application is: read once, and refused with what to do."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from services.oauth import client, grants
from services.oauth.client import OAuthClient, TokenPolicy, UnusableKey
from services.oauth.failures import About, TokenFailure, TokenFault
from services.oauth.providers import TokenProvider
from services.smtp.settings import Identity
from tests import certificates
from tests.certificates import ClientPair
from tests.oauth_provider import OAuthProviderServer
from utils.secret import Secret


def file_with(pair: ClientPair, **others: Any) -> str:
    usual = {
        "type": "service_account",
        "client_email": "robot@project.example",
        "client_id": "117",
        "private_key_id": "k1",
        "private_key": pair.key,
        "token_uri": "https://evil.example/token",
    }
    return json.dumps({name: value for name, value in (usual | others).items() if value is not None})


def test_the_file_of_a_service_account_is_read(pair: ClientPair) -> None:
    account = client.service_account(file_with(pair))
    assert (account.email, account.client_id, account.key_id) == ("robot@project.example", "117", "k1")
    assert "evil.example" not in repr(account)
    assert pair.key not in repr(account)


def test_it_gets_a_token_from_the_providers_url_and_not_from_the_files(
    server: OAuthProviderServer, google: TokenProvider, policy: TokenPolicy, pair: ClientPair
) -> None:
    account = client.service_account(file_with(pair, private_key_id=None, client_id=5))
    assert grants.by_service_account(google, account, "shop@example.com", policy).access_token
    assert [path for path, _ in server.requests] == ["/token"]


@pytest.mark.parametrize(
    "others",
    [
        {"type": "authorized_user"},
        {"type": None},
        {"client_email": None},
        {"client_email": 5},
        {"private_key": None},
        {"private_key": 5},
        {"private_key": ""},
        {"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"},
    ],
    ids=str,
)
def test_another_file_is_refused(pair: ClientPair, others: dict[str, Any]) -> None:
    with pytest.raises(UnusableKey):
        client.service_account(file_with(pair, **others))


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "null", "[" * 10_000, "{}" + " " * 20_000, '{"web": {}}'], ids=len
)
def test_what_is_no_such_file_is_refused(text: str) -> None:
    with pytest.raises(UnusableKey):
        client.service_account(text)


@pytest.mark.parametrize("kind", ["short", "elliptic", "locked", "none"])
def test_a_key_that_providers_do_not_take_is_refused_before_it_is_used(
    kind: str, server: OAuthProviderServer, microsoft: TokenProvider, policy: TokenPolicy, pair: ClientPair
) -> None:
    made = rsa.generate_private_key(65537, 2048)
    keys: dict[str, Callable[[], str]] = {
        "short": lambda: certificates.key_pem(rsa.generate_private_key(65537, 1024)),
        "elliptic": lambda: certificates.key_pem(ec.generate_private_key(ec.SECP256R1())),
        "locked": lambda: certificates.key_pem(made, lock=BestAvailableEncryption(b"locked")),
        "none": lambda: "no key",
    }
    key = Secret(keys[kind]())
    with pytest.raises(UnusableKey) as told:
        client.check_rsa(key)
    assert key.reveal() not in str(told.value)
    identity = Identity(certificate=pair.certificate, key=key)
    with pytest.raises(TokenFailure) as caught:
        grants.by_client_credentials(microsoft, OAuthClient(client_id="with-certificate", certificate=identity), policy)
    assert (caught.value.fault, caught.value.about) == (TokenFault.KEY, About.CLIENT)
    assert server.requests == []


def test_a_certificate_that_cannot_be_read_is_a_failure_of_what_was_entered(
    server: OAuthProviderServer, microsoft: TokenProvider, policy: TokenPolicy, pair: ClientPair
) -> None:
    identity = Identity(certificate="no certificate", key=Secret(pair.key))
    with pytest.raises(TokenFailure) as caught:
        grants.by_client_credentials(microsoft, OAuthClient(client_id="with-certificate", certificate=identity), policy)
    assert caught.value.fault is TokenFault.KEY
    assert server.requests == []


@pytest.mark.parametrize("secret", ["a b", "ü~&=%+", "%zz", "a\tb", "{}", "💌", "x" * 1024])
def test_a_secret_arrives_as_it_is(
    server: OAuthProviderServer, microsoft: TokenProvider, policy: TokenPolicy, secret: str
) -> None:
    server.clients["with-secret"].secret = secret
    asking = OAuthClient(client_id="with-secret", secret=Secret(secret))
    assert grants.by_client_credentials(microsoft, asking, policy).access_token
