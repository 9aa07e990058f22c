"""An application whose people may sign in at a provider of the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.single_sign_on import provider as known
from tests import certificates
from tests.oidc_provider import CLIENT, SECRET, OidcProviderServer

CALLBACK = "http://localhost:5000/login/oidc/callback"


@pytest.fixture
def provider() -> Iterator[OidcProviderServer]:
    known.forget_all()
    with OidcProviderServer(certificates.good_context("localhost"), CALLBACK) as running:
        yield running
    known.forget_all()


@pytest.fixture
def environment(environment: dict[str, str], provider: OidcProviderServer, tmp_path: Path) -> dict[str, str]:
    return {
        **environment,
        "SMTP_CA_FILE": str(certificates.ca_file()),
        "OIDC_ISSUER": provider.url,
        "OIDC_CLIENT_ID": CLIENT,
        "OIDC_CLIENT_SECRET": SECRET,
        "OIDC_ADMIN_CLAIM": "groups",
        "OIDC_ADMIN_VALUE": "mail-admins",
        "OIDC_CREATE_ACCOUNTS": "true",
    }
