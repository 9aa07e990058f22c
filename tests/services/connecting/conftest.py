"""What tests of connecting share: a provider over TLS, and servers for which something is registered there."""

from collections.abc import Iterator

import pytest
from flask import Flask

from tests import certificates
from tests.oauth_provider import OAuthProviderServer
from tests.turned_clock import Now
from utils import clock


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


@pytest.fixture
def now(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Now:
    """The time, which the test turns."""
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned
