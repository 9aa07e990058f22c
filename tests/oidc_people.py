"""What tests of single sign-on share: an application whose people may sign in at a provider of the tests."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from werkzeug.test import TestResponse

from services.single_sign_on import provider as known
from tests import certificates
from tests.oidc_provider import CLIENT, SECRET, OidcProviderServer
from tests.visitors import Visitor

CALLBACK = "http://localhost:5000/login/oidc/callback"


@pytest.fixture
def provider() -> Iterator[OidcProviderServer]:
    known.forget_all()
    with OidcProviderServer(certificates.good_context("localhost"), CALLBACK) as running:
        yield running
    known.forget_all()


@pytest.fixture
def environment(environment: dict[str, str], provider: OidcProviderServer, more: dict[str, str]) -> dict[str, str]:
    return {**environment, **variables(provider), **more}


@pytest.fixture
def more() -> dict[str, str]:
    """Further variables of a test."""
    return {}


def variables(provider: OidcProviderServer) -> dict[str, str]:
    """What is set for this provider."""
    return {
        "SMTP_CA_FILE": str(certificates.ca_file()),
        "OIDC_ISSUER": provider.url,
        "OIDC_CLIENT_ID": CLIENT,
        "OIDC_CLIENT_SECRET": SECRET,
        "OIDC_NAME": "Example ID",
        "OIDC_ADMIN_CLAIM": "groups",
        "OIDC_ADMIN_VALUE": "mail-admins",
        "OIDC_CREATE_ACCOUNTS": "true",
    }


def come_by(visitor: Visitor, provider: OidcProviderServer, begin: TestResponse | None = None) -> TestResponse:
    """The answer to a visitor who comes back from the provider's page, to which ``begin`` has led."""
    begun = begin or visitor.get("/login/oidc")
    place = begun.headers.get("Location") or begun.headers["Refresh"].partition("url=")[2]
    back = urlsplit(provider.come_back(place))
    return visitor.get(f"{back.path}?{back.query}")
