"""From an address or a server to the provider of tokens."""

from typing import Final

import pytest

from services.connecting.suggesting import OAuthSuggestion, suggested, suggested_for_server, takes_token
from services.oauth.providers import OAuthProvider
from services.providers import registry

MICROSOFT, GOOGLE, FASTMAIL = OAuthProvider.MICROSOFT, OAuthProvider.GOOGLE, OAuthProvider.FASTMAIL
PERSONAL: Final = OAuthSuggestion(provider=MICROSOFT, tenant="consumers", is_personal=True)

BY_DOMAIN: Final = [
    ("a@gmail.com", OAuthSuggestion(provider=GOOGLE, is_personal=True)),
    ("a@googlemail.com", OAuthSuggestion(provider=GOOGLE, is_personal=True)),
    ("a@outlook.com", PERSONAL),
    ("a@hotmail.co.uk", PERSONAL),
    ("a@live.com", PERSONAL),
    ("a@msn.com", PERSONAL),
    ("a@contoso.onmicrosoft.com", OAuthSuggestion(provider=MICROSOFT, tenant="contoso.onmicrosoft.com")),
    ("a@fastmail.com", OAuthSuggestion(provider=FASTMAIL)),
    ("a@yahoo.com", None),
    ("a@icloud.com", None),
    ("a@gmx.de", None),
]
BY_MX: Final = [
    ("example-com.mail.protection.outlook.com", OAuthSuggestion(provider=MICROSOFT, tenant="example.com")),
    ("example-com.k-v1.mx.microsoft", OAuthSuggestion(provider=MICROSOFT, tenant="example.com")),
    (
        "example-com.mail.protection.office365.us",
        OAuthSuggestion(provider=MICROSOFT, tenant="example.com", cloud="us"),
    ),
    ("aspmx.l.google.com", OAuthSuggestion(provider=GOOGLE)),
    ("smtp.google.com", OAuthSuggestion(provider=GOOGLE)),
    ("in1-smtp.messagingengine.com", OAuthSuggestion(provider=FASTMAIL)),
    ("mx0a-001.pphosted.com", None),
    ("mail.example.com", None),
]
BY_SERVER: Final = [
    ("smtp.office365.com", MICROSOFT),
    ("SMTP.Office365.com.", MICROSOFT),
    ("smtp-mail.outlook.com", MICROSOFT),
    ("smtp.office365.us", MICROSOFT),
    ("smtp.partner.outlook.cn", MICROSOFT),
    ("smtp.gmail.com", GOOGLE),
    ("smtp-relay.gmail.com", GOOGLE),
    ("smtp.fastmail.com", FASTMAIL),
    ("smtp-hve.office365.com", None),
    ("example-com.mail.protection.outlook.com", None),
    ("smtp.mail.yahoo.com", None),
    ("smtp.example.com", None),
    ("smtp.gmail.com.evil.example", None),
    ("192.0.2.7", None),
    ("", None),
]


@pytest.mark.parametrize(("address", "found"), BY_DOMAIN)
def test_a_mailbox_domain_says_who_gives_its_tokens(address: str, found: OAuthSuggestion | None) -> None:
    assert suggested(registry.for_domain(address.rpartition("@")[2]), address) == found


@pytest.mark.parametrize(("host", "found"), BY_MX)
def test_the_mx_of_a_work_domain_says_who_gives_its_tokens(host: str, found: OAuthSuggestion | None) -> None:
    assert suggested(registry.for_mx([host]), "shop@example.com") == found


@pytest.mark.parametrize(("host", "provider"), BY_SERVER)
def test_a_server_that_is_set_up_says_who_gives_its_tokens(host: str, provider: OAuthProvider | None) -> None:
    found = suggested_for_server(host, "shop@example.com")
    assert (found.provider if found else None) is provider


def test_a_token_goes_only_to_the_providers_own_servers_but_for_a_custom_one() -> None:
    assert takes_token(OAuthProvider.CUSTOM, "smtp.example.com")
    assert not takes_token(OAuthProvider.CUSTOM, "not a host")
    assert not takes_token(GOOGLE, "smtp.office365.com")


def test_a_server_of_another_cloud_says_so_and_a_personal_address_stays_personal() -> None:
    clouds = [suggested_for_server(host) for host in ("smtp.office365.us", "smtp.partner.outlook.cn")]
    assert [found.cloud for found in clouds if found] == ["us", "cn"]
    assert suggested_for_server("smtp.office365.com", "a@hotmail.com") == PERSONAL


def test_a_user_name_that_is_no_address_suggests_no_tenant() -> None:
    for username in ("shop", "", "@", "a@b@c"):
        assert suggested_for_server("smtp.office365.com", username) == OAuthSuggestion(provider=MICROSOFT)
