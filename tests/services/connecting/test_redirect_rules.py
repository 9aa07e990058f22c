"""To which addresses each provider sends browsers back, and what there is where it does not."""

import re
from pathlib import Path
from typing import Final

import pytest

from services.connecting import redirect_rules
from services.connecting.redirect_rules import LOCALHOST_URI, judged
from services.oauth.providers import OAuthProvider

GOOGLE, MICROSOFT = OAuthProvider.GOOGLE, OAuthProvider.MICROSOFT
FASTMAIL, CUSTOM = OAuthProvider.FASTMAIL, OAuthProvider.CUSTOM

# BASE_URL, and to whom it can be a redirect: G(oogle), M(icrosoft), F(astmail), C(ustom).
ADDRESSES: Final = [
    ("https://app.example.com", "GMFC"),
    ("https://app.example.com:8443", "GMFC"),
    ("https://example.co.uk/mail", "GMFC"),
    ("https://bücher.example.com", "GMFC"),
    ("https://localhost", "GMFC"),
    ("http://localhost", "GMFC"),
    ("http://localhost:5000", "GMFC"),
    ("http://localhost:5000/mail", "GMFC"),
    ("http://127.0.0.1:5000", "GFC"),
    ("http://127.0.0.2:5000", "FC"),
    ("http://[::1]:5000", "GFC"),
    ("https://127.0.0.1", "GMFC"),
    ("http://app.example.com", ""),
    ("http://192.168.1.20:5000", ""),
    ("http://[fd00::20]:5000", ""),
    ("http://sealpost.local", ""),
    ("http://app.localhost:5000", ""),
    ("http://sealpost:5000", ""),
    ("https://192.168.1.20", "MFC"),
    ("https://203.0.113.9", "MFC"),
    ("https://[2001:db8::9]", "MFC"),
    ("https://sealpost.local", "MFC"),
    ("https://sealpost", "MFC"),
    ("https://sealpost.lan", "MFC"),
    ("https://sealpost.internal", "MFC"),
    ("https://sealpost.home.arpa", "MFC"),
    ("https://sealpost.corp", "MFC"),
    ("https://sealpost.test", "MFC"),
    ("https://sealpost.invalid", "MFC"),
    ("https://sealpost.example", "MFC"),
    ("https://app.localhost", "MFC"),
    ("https://mail.onion", "MFC"),
    ("https://seal_post.example.com", "MFC"),
    ("https://app.googleusercontent.com", "MFC"),
    ("https://local.example.com", "GMFC"),
    ("https://test.com", "GMFC"),
    (f"https://app.example.com/{'a' * 240}", ""),
]


@pytest.mark.parametrize(("base_url", "those"), ADDRESSES, ids=[address[:40] for address, _ in ADDRESSES])
def test_each_provider_redirects_to_the_addresses_that_it_accepts(base_url: str, those: str) -> None:
    found = {provider: judged(base_url, provider).can_redirect for provider in OAuthProvider}
    assert found == {GOOGLE: "G" in those, MICROSOFT: "M" in those, FASTMAIL: "F" in those, CUSTOM: "C" in those}


@pytest.mark.parametrize(
    ("base_url", "uri"),
    [
        ("https://app.example.com", "https://app.example.com/oauth/callback"),
        ("https://app.example.com/mail", "https://app.example.com/mail/oauth/callback"),
        ("https://app.example.com/a/b/", "https://app.example.com/a/b/oauth/callback"),
        ("https://app.example.com:8443/mail", "https://app.example.com:8443/mail/oauth/callback"),
        ("https://app.example.com:443", "https://app.example.com/oauth/callback"),
        ("https://APP.Example.com/Mail", "https://app.example.com/Mail/oauth/callback"),
        ("https://bücher.example.com", "https://xn--bcher-kva.example.com/oauth/callback"),
        ("http://localhost:5000", "http://localhost:5000/oauth/callback"),
        ("http://[::1]:5000", "http://[::1]:5000/oauth/callback"),
    ],
)
def test_the_redirect_uri_is_that_of_base_url_to_the_letter(base_url: str, uri: str) -> None:
    assert judged(base_url, GOOGLE).uri == uri
    assert judged(base_url, GOOGLE).registered_uri == uri


def test_where_it_cannot_redirect_a_localhost_address_is_registered_instead() -> None:
    for provider in OAuthProvider:
        verdict = judged("http://192.168.1.20:5000", provider)
        assert verdict.registered_uri == LOCALHOST_URI
        assert judged(LOCALHOST_URI.removesuffix(redirect_rules.CALLBACK_PATH), provider).can_redirect
        assert "paste it on this page" in verdict.words


def test_the_words_name_what_base_url_has_and_what_it_must_be() -> None:
    def said(base_url: str, provider: OAuthProvider) -> str:
        return judged(base_url, provider).words

    assert "no IP address. BASE_URL is https://192.168.1.20, and must" in said("https://192.168.1.20", GOOGLE)
    assert "BASE_URL is https://sealpost.local: only your own network knows" in said("https://sealpost.local", GOOGLE)
    assert "BASE_URL is http://app.example.com, and must be https" in said("http://app.example.com", GOOGLE)
    assert "must have localhost in place of the IP address" in said("http://127.0.0.1:5000", MICROSOFT)
    assert "BASE_URL is http://[fd00::20]:5000, and must be https" in said("http://[fd00::20]:5000", MICROSOFT)
    assert "must be https, unless they are on localhost" in said("http://app.example.com", CUSTOM)
    assert "at most 256 characters" in said(f"https://app.example.com/{'a' * 240}", MICROSOFT)


def test_only_microsoft_offers_a_code_in_place_of_a_redirect() -> None:
    assert [provider for provider in OAuthProvider if judged("http://10.0.0.1", provider).offers_code] == [MICROSOFT]
    assert "use a code" in judged("http://10.0.0.1", MICROSOFT).words
    assert "use a code" not in judged("http://10.0.0.1", GOOGLE).words


@pytest.mark.parametrize(
    "base_url", ["", "app.example.com", "https://", "https://[::1", "https://a:99999", "ftp://a.de"]
)
def test_what_is_no_address_is_a_verdict_too(base_url: str) -> None:
    verdict = judged(base_url, CUSTOM)
    assert not verdict.can_redirect
    assert verdict.registered_uri == LOCALHOST_URI


def test_the_documentation_says_of_each_address_what_the_rules_say() -> None:
    text = (Path(__file__).parents[3] / "docs" / "connecting.md").read_text()
    rows = re.findall(r"^\| `(https?://[^`]+)` \| (\w+) \| (\w+) \| (\w+) \|$", text, re.M)
    said = {url: [word == "yes" for word in words] for url, *words in rows}
    providers = (GOOGLE, MICROSOFT, CUSTOM)
    assert said == {url: [judged(url, provider).can_redirect for provider in providers] for url in said}
    assert len(said) > 5
    assert LOCALHOST_URI in text
