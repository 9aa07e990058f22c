"""What tests of the ways to a token share: a provider over TLS, and applications that it knows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from services.oauth import providers
from services.oauth.client import OAuthClient, TokenPolicy
from services.oauth.providers import TokenProvider
from services.smtp.settings import Identity
from services.web_request import WebReach
from tests import certificates
from tests.certificates import ClientPair
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.patience import PATIENCE
from utils.allowed_places import EVERYWHERE
from utils.secret import Secret

REDIRECT: Final = "https://mail.example.com/oauth/callback"
SECRET: Final = "client~secret +&=%/ü"
TENANT: Final = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture(scope="session")
def pair() -> ClientPair:
    """An RSA key and its certificate."""
    return certificates.client_pair(key=rsa.generate_private_key(65537, 2048))


@pytest.fixture
def server(pair: ClientPair) -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        running.clients |= {
            "with-secret": RegisteredClient((REDIRECT,), secret=SECRET),
            "with-certificate": RegisteredClient(certificate=pair.certificate),
            "public": RegisteredClient((REDIRECT,)),
            "robot@project.example": RegisteredClient(
                certificate=pair.certificate, delegates=frozenset({"shop@example.com"})
            ),
        }
        yield running


@pytest.fixture
def policy() -> TokenPolicy:
    reach = WebReach(ca_file=certificates.ca_file(), dns_resolver="", allowed=EVERYWHERE)
    return TokenPolicy(reach=reach, seconds=PATIENCE)


@pytest.fixture
def microsoft(server: OAuthProviderServer) -> TokenProvider:
    """Microsoft as it is, at the provider of the tests, which calls itself otherwise."""
    return replace(providers.microsoft(TENANT, authority=server.url), issuer=server.url)


@pytest.fixture
def google(server: OAuthProviderServer) -> TokenProvider:
    return replace(
        providers.google(),
        authorize_url=f"{server.url}/authorize",
        token_url=f"{server.url}/token",
        revoke_url=f"{server.url}/revoke",
        issuer=server.url,
    )


@pytest.fixture
def client() -> OAuthClient:
    return OAuthClient(client_id="with-secret", secret=Secret(SECRET))


@pytest.fixture
def certified(pair: ClientPair) -> OAuthClient:
    identity = Identity(certificate=pair.certificate, key=Secret(pair.key))
    return OAuthClient(client_id="with-certificate", certificate=identity)
