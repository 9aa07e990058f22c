"""A browser, as far as these tests need one: it follows the link, presses a button, and is sent back."""

import re
import ssl
import urllib.error
import urllib.request
from html import unescape
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from services.oauth import grants, redirect
from services.oauth.answers import TokenSet
from services.oauth.client import OAuthClient, TokenPolicy
from services.oauth.providers import TokenProvider
from services.oauth.redirect import PendingSignIn
from tests import certificates
from tests.services.oauth.conftest import REDIRECT
from utils import clock

_FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


class _Stays(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Where a page leads to is looked at, and no further."""


def pressed(url: str, decision: str = "grant", **typed: str) -> dict[str, list[str]]:
    """Open a page of the provider, press a button, and give what the browser is sent back with."""
    page = _opened(urllib.request.Request(url))[0]
    form = {unescape(name): unescape(value) for name, value in _FIELD.findall(page)}
    body = urlencode(form | typed | {"decision": decision}).encode()
    place = _opened(urllib.request.Request(urljoin(url, urlsplit(url).path), data=body))[1]
    return parse_qs(urlsplit(place).query, keep_blank_values=True)


def followed(url: str) -> dict[str, list[str]]:
    """Open a page of a provider that asks nobody, and give what the browser is sent back with."""
    place = _opened(urllib.request.Request(url))[1]
    return parse_qs(urlsplit(place).query, keep_blank_values=True)


def begun() -> PendingSignIn:
    return redirect.begin(REDIRECT, clock.now())


def signed_in(provider: TokenProvider, client: OAuthClient, policy: TokenPolicy) -> TokenSet:
    """All of it: the link, the button, the way back, the exchange."""
    pending = begun()
    answer = pressed(grants.authorization_url(provider, client, pending))
    code = redirect.code_of(answer, pending, provider.issuer, clock.now())
    return grants.exchange_code(provider, client, pending, code, policy)


def _opened(request: urllib.request.Request) -> tuple[str, str]:
    """The page, and where it leads to."""
    ssl_context = ssl.create_default_context(cafile=str(certificates.ca_file()))
    opener = urllib.request.build_opener(_Stays, urllib.request.HTTPSHandler(context=ssl_context))
    try:
        with opener.open(request) as answer:
            return answer.read().decode(), ""
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode(), error.headers.get("Location", "")
