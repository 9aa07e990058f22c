"""Where a token is asked for, and where it may go: nowhere else."""

import pytest

from services.oauth import providers
from services.oauth.providers import CHINA, CLOUDS, US_GOVERNMENT, Grant, TokenProvider, UnusableProvider
from services.providers import registry
from tests.services.oauth.conftest import TENANT


def other(**fields: str) -> TokenProvider:
    usual = {"token_url": "https://id.example/token", "scope": "smtp", "smtp_host": "mail.example.com"}
    return providers.custom(**(usual | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("tenant", [TENANT, TENANT.upper(), f" {TENANT} ", "contoso.onmicrosoft.com", "Example.COM"])
def test_a_tenant_is_named_by_its_id_or_a_domain(tenant: str) -> None:
    provider = providers.microsoft(tenant)
    base = f"https://login.microsoftonline.com/{tenant.strip().lower()}/oauth2/v2.0"
    assert provider.token_url == f"{base}/token"
    assert provider.device_url == f"{base}/devicecode"
    assert provider.offers(Grant.CLIENT_CREDENTIALS)


@pytest.mark.parametrize("tenant", ["organizations", "common", "consumers"])
def test_an_application_signs_in_to_one_tenant_and_not_to_all(tenant: str) -> None:
    provider = providers.microsoft(tenant)
    assert provider.offers(Grant.CODE)
    assert not provider.offers(Grant.CLIENT_CREDENTIALS)
    assert provider.issuer == ""


@pytest.mark.parametrize(
    "tenant",
    [
        "",
        "contoso",
        "a/b",
        "../common",
        "example.com/evil",
        "a@b.example",
        "10.0.0.1",
        "[::1]",
        "a b.example",
        "x?y.example",
    ],
)
def test_what_is_no_tenant_is_refused(tenant: str) -> None:
    with pytest.raises(UnusableProvider):
        providers.microsoft(tenant)


def test_scopes_are_those_that_smtp_takes() -> None:
    microsoft = providers.microsoft(TENANT)
    assert microsoft.scopes[Grant.CODE][:2] == ("https://outlook.office.com/SMTP.Send", "offline_access")
    assert microsoft.scopes[Grant.CLIENT_CREDENTIALS] == ("https://outlook.office365.com/.default",)
    assert providers.google().scopes[Grant.SERVICE_ACCOUNT] == ("https://mail.google.com/",)
    assert not providers.google().offers(Grant.DEVICE)
    assert not providers.google().offers(Grant.CLIENT_CREDENTIALS)


@pytest.mark.parametrize(
    ("provider", "login", "scope", "host"),
    [
        (
            providers.microsoft(TENANT, cloud=US_GOVERNMENT),
            "https://login.microsoftonline.us/",
            "https://outlook.office365.us/SMTP.Send",
            "smtp.office365.us",
        ),
        (
            providers.microsoft(TENANT, cloud=CHINA),
            "https://login.partner.microsoftonline.cn/",
            "https://partner.outlook.cn/SMTP.Send",
            "smtp.partner.outlook.cn",
        ),
        (
            providers.microsoft(
                TENANT,
                cloud=CHINA,
                authority="https://login.chinacloudapi.cn/",
                scope="https://partner.example.cn/SMTP.Send",
            ),
            "https://login.chinacloudapi.cn/",
            "https://partner.example.cn/SMTP.Send",
            "smtp.partner.outlook.cn",
        ),
    ],
    ids=["US", "China", "entered"],
)
def test_other_clouds_have_their_own_places(provider: TokenProvider, login: str, scope: str, host: str) -> None:
    assert provider.token_url == f"{login}{TENANT}/oauth2/v2.0/token"
    assert provider.scopes[Grant.CODE][0] == scope
    assert provider.scopes[Grant.CLIENT_CREDENTIALS] == (f"{scope.removesuffix('/SMTP.Send')}/.default",)
    assert provider.takes_token(host)
    assert not provider.takes_token("smtp.office365.com")


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        (providers.google(), "smtp.gmail.com"),
        (providers.google(), "SMTP.Gmail.com."),
        (providers.microsoft("common"), "smtp.office365.com"),
        (providers.microsoft("common"), "smtp-mail.outlook.com"),
        (providers.fastmail(), "smtp.fastmail.com"),
        (other(), "mail.example.com"),
    ],
)
def test_a_token_goes_to_the_providers_own_servers(provider: TokenProvider, host: str) -> None:
    assert provider.takes_token(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "smtp.gmail.com.evil.example",
        "xsmtp.gmail.com",
        "gmail.com",
        "127.0.0.1",
        "smtp.gmail.com:25",
    ],
)
def test_a_token_goes_nowhere_else(host: str) -> None:
    for provider in (providers.google(), providers.microsoft("common"), providers.fastmail(), other()):
        assert not provider.takes_token(host) or (host, provider.kind) == ("smtp.gmail.com", "google")


@pytest.mark.parametrize(
    ("name", "region", "provider"),
    [
        ("gmail", "", providers.google()),
        ("google-workspace-relay", "", providers.google()),
        ("fastmail", "", providers.fastmail()),
        *(("office365", region, providers.microsoft(TENANT, cloud=cloud)) for region, cloud in CLOUDS.items()),
    ],
)
def test_the_servers_of_the_registry_take_its_tokens(name: str, region: str, provider: TokenProvider) -> None:
    entry = registry.by_id(name)
    assert entry is not None
    hosts = [place["host"] for place in entry["regions"] if place["id"] == region] or [entry["host"]]
    assert provider.takes_token(hosts[0])


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/token",
        "https://user:secret@id.example/token",
        "https://id.example/token#part",
        "ftp://id.example/token",
        "id.example/token",
        "https:///token",
        "https://id.example:0/token",
        "https://id.example:99999/token",
        "https://id.example/to ken",
        "https://id.example/tökén",
        "javascript:alert(1)",
        "https://" + "a" * 3000,
        "http://127.0.0.1/token",
        "",
    ],
)
def test_a_secret_is_sent_to_no_other_url_than_one_of_https(url: str) -> None:
    with pytest.raises(UnusableProvider):
        other(token_url=url)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("http://127.0.0.1:8080/token", True),
        ("http://localhost:8080/token", True),
        ("http://[::1]:8080/token", True),
        ("http://10.0.0.1/token", False),
        ("http://localhost.example/token", False),
    ],
)
def test_this_machine_may_be_asked_without_encryption_where_that_is_allowed(url: str, is_taken: bool) -> None:
    def made() -> TokenProvider:
        return providers.custom(token_url=url, scope="smtp", smtp_host="mail.example.com", may_be_plain=True)

    if is_taken:
        assert made().token_url == url
    else:
        with pytest.raises(UnusableProvider):
            made()


@pytest.mark.parametrize("scope", ['a"b', "a\\b", "ä", "a\x00b", "x" * 1025])
def test_what_is_no_scope_is_refused(scope: str) -> None:
    with pytest.raises(UnusableProvider):
        other(scope=scope)


def test_another_provider_offers_what_it_has_a_url_for() -> None:
    assert not other().offers(Grant.CODE)
    assert not other().offers(Grant.DEVICE)
    assert other().offers(Grant.CLIENT_CREDENTIALS)
    assert other(authorize_url="https://id.example/authorize").offers(Grant.CODE)
    assert other(device_url="https://id.example/device").offers(Grant.DEVICE)


def test_an_administrator_agrees_at_the_tenants_own_address() -> None:
    url, asked = providers.admin_consent_url(providers.microsoft(TENANT), "id", "https://mail.example.com/back")
    assert url == f"https://login.microsoftonline.com/{TENANT}/v2.0/adminconsent"
    assert asked["scope"] == "https://ps.outlook.com/.default"
