"""Where a request for a token goes: to a judged address, with a certificate that holds, and past no proxy."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from services.oauth import grants, providers
from services.oauth.client import OAuthClient, TokenPolicy
from services.oauth.failures import TokenFailure, TokenFault
from services.oauth.providers import TokenProvider
from services.web_request import WebReach
from tests import certificates
from tests.dns_server import DnsServer
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.running import ROOT
from tests.services.oauth.conftest import SECRET
from utils.allowed_places import EVERYWHERE, AllowedPlaces, PlacesForAccounts
from utils.errors import Fault


@pytest.fixture
def plain_server() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer() as running:
        running.clients["with-secret"] = RegisteredClient(secret=SECRET)
        yield running


def link_of(provider: TokenProvider, client: OAuthClient, policy: TokenPolicy) -> Fault | None:
    with pytest.raises(TokenFailure) as caught:
        grants.by_client_credentials(provider, client, policy)
    assert caught.value.fault is TokenFault.UNREACHABLE
    return caught.value.link


@pytest.mark.parametrize("allowed", [AllowedPlaces(networks=(IPv4Network("10.0.0.0/8"),)), PlacesForAccounts()])
def test_what_is_not_allowed_is_not_connected_to(
    server: OAuthProviderServer,
    microsoft: TokenProvider,
    client: OAuthClient,
    policy: TokenPolicy,
    allowed: AllowedPlaces,
) -> None:
    reach = replace(policy.reach, allowed=allowed)
    assert link_of(microsoft, client, replace(policy, reach=reach)) is Fault.ADDRESS_REFUSED
    assert server.requests == []


def test_a_name_that_leads_to_the_clouds_metadata_is_not_followed(client: OAuthClient, policy: TokenPolicy) -> None:
    with DnsServer({("id.example", "A"): ["169.254.169.254"]}) as dns:
        reach = replace(policy.reach, dns_resolver=dns.address)
        provider = providers.custom(token_url="https://id.example/token", scope="smtp", smtp_host="mail.example.com")
        assert link_of(provider, client, replace(policy, reach=reach)) is Fault.ADDRESS_REFUSED


def test_a_certificate_of_a_stranger_ends_it(
    server: OAuthProviderServer, microsoft: TokenProvider, client: OAuthClient, policy: TokenPolicy
) -> None:
    reach = WebReach(ca_file=None, dns_resolver="", allowed=EVERYWHERE)
    assert link_of(microsoft, client, replace(policy, reach=reach)) is Fault.TLS_CERTIFICATE
    assert server.requests == []


def test_a_certificate_for_another_name_ends_it(client: OAuthClient, policy: TokenPolicy) -> None:
    with OAuthProviderServer(certificates.good_context("other.example")) as other:
        provider = providers.custom(token_url=f"{other.url}/token", scope="smtp", smtp_host="mail.example.com")
        assert link_of(provider, client, policy) is Fault.TLS_CERTIFICATE
        assert other.requests == []


def test_nobody_there_is_told(client: OAuthClient, policy: TokenPolicy) -> None:
    with OAuthProviderServer() as gone:
        url = f"https://localhost:{gone.port}/token"
    provider = providers.custom(token_url=url, scope="smtp", smtp_host="mail.example.com")
    assert link_of(provider, client, policy) is Fault.REFUSED


def test_this_machine_is_asked_without_encryption_only_where_that_is_allowed(
    plain_server: OAuthProviderServer, client: OAuthClient, policy: TokenPolicy
) -> None:
    url = f"{plain_server.url}/token"
    provider = providers.custom(token_url=url, scope="smtp", smtp_host="mail.example.com", may_be_plain=True)
    assert link_of(provider, client, policy) is Fault.OURS
    assert plain_server.requests == []
    assert grants.by_client_credentials(provider, client, replace(policy, may_be_plain=True)).access_token


def test_neither_proxies_nor_netrc_of_the_environment_are_asked(
    microsoft: TokenProvider,
    client: OAuthClient,
    policy: TokenPolicy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine localhost login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert grants.by_client_credentials(microsoft, client, policy).access_token


def test_a_process_that_asks_for_no_token_loads_nothing_of_it() -> None:
    code = (
        "import sys, app\n"
        "from services.oauth import grants, providers, redirect\n"
        "print([name for name in ('authlib', 'joserfc', 'services.oauth.session') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
