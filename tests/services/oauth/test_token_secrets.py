"""Nothing secret of any way to a token gets into an exception or a log, whatever the provider repeats of it."""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pytest
from structlog.testing import capture_logs
from structlog.types import EventDict

from services.oauth import grants, session
from services.oauth.answers import DeviceCode
from services.oauth.client import OAuthClient, ServiceAccount, TokenPolicy
from services.oauth.failures import TokenFailure, TokenFault
from services.oauth.providers import Grant, TokenProvider
from services.oauth.redirect import PendingSignIn, code_of
from tests import oauth_faults
from tests.certificates import ClientPair
from tests.oauth_faults import Answer
from tests.oauth_provider import OAuthProviderServer
from tests.secret_canaries import (
    ACCESS_TOKEN,
    AUTHORIZATION_CODE,
    CLIENT_SECRET,
    DEVICE_CODE,
    REFRESH_TOKEN,
    STATE,
    VERIFIER,
)
from tests.secret_encodings import SPEAKABLE
from tests.secret_scanner import found_in
from tests.services.oauth.conftest import REDIRECT
from utils import clock, incidents
from utils.secret import Secret

CANARIES: Final = {
    "client secret": CLIENT_SECRET,
    "refresh token": REFRESH_TOKEN,
    "access token": ACCESS_TOKEN,
    "device code": DEVICE_CODE,
    "code": AUTHORIZATION_CODE,
    "state": STATE,
    "verifier": VERIFIER,
}


def pending() -> PendingSignIn:
    return PendingSignIn(
        state=Secret(STATE), verifier=Secret(VERIFIER), nonce="n", redirect_uri=REDIRECT, began_at=clock.now()
    )


def line_of(key: str) -> str:
    """A line in the middle of a private key: none is like it in any other."""
    return key.splitlines()[5]


@pytest.fixture
def secrets(pair: ClientPair) -> dict[str, list[str]]:
    return {name: [value] for name, value in CANARIES.items()} | {"private key": [line_of(pair.key)]}


@pytest.fixture
def ways(
    google: TokenProvider, microsoft: TokenProvider, certified: OAuthClient, pair: ClientPair, policy: TokenPolicy
) -> dict[str, Callable[[], object]]:
    """Each way to a token, with a canary wherever it takes a secret."""
    client = OAuthClient(client_id="with-secret", secret=Secret(CLIENT_SECRET))
    code = DeviceCode(
        device_code=Secret(DEVICE_CODE),
        user_code="WDJB-MJHT",
        verification_url="https://provider.example/device",
        expires_at=clock.now(),
        interval=5,
    )
    account = ServiceAccount(email="robot@project.example", client_id="117", key_id="k1", key=Secret(pair.key))
    return {
        "code": lambda: grants.exchange_code(google, client, pending(), Secret(AUTHORIZATION_CODE), policy),
        "device code": lambda: grants.poll_device(microsoft, client, code, 5, policy),
        "renewal": lambda: grants.refresh(google, client, Grant.CODE, Secret(REFRESH_TOKEN), policy),
        "secret": lambda: grants.by_client_credentials(microsoft, client, policy),
        "certificate": lambda: grants.by_client_credentials(microsoft, certified, policy),
        "service account": lambda: grants.by_service_account(google, account, "shop@example.com", policy),
        "revocation": lambda: grants.revoke(google, client, Secret(REFRESH_TOKEN), policy),
    }


def repeating(said: str) -> Iterator[Answer]:
    """Answers of a provider that repeats something wherever it may say anything."""
    for status in (400, 401, 500):
        yield oauth_faults.error("invalid_grant", f"wrong: {said}", status, error_uri=said, correlation_id=said)
        yield oauth_faults.error(said, said, status, error_codes=[said], suberror=said, error_subtype=said)
        yield Answer(status, f"<p>{said}".encode(), (("Content-Type", "text/html"),))
    yield Answer(200, f'{{"{said}'.encode())
    yield oauth_faults.saying({said: said, "access_token": f"{said} {said}", "expires_in": said, "token_type": said})
    yield oauth_faults.saying({"access_token": said, "token_type": said, "refresh_token": f"{said}\x01"})
    yield Answer(400, b"{}", (("Content-Type", "application/json"), ("X-Said", json.dumps(said)), ("Retry-After", "9")))
    yield Answer(302, b"", (("Location", f"https://evil.example/?{json.dumps(said)}"),))


@contextmanager
def nothing_told_of(secrets: Mapping[str, list[str]]) -> Iterator[list[EventDict]]:
    """What is done here fails, and neither the exception nor the log, which it gives, has any of these in it."""
    vars(incidents.log).pop("bind", None)  # another test's application may have left it with processors of its own
    with capture_logs() as logged, pytest.raises(TokenFailure) as failed:
        yield logged
    error = failed.value
    told = [str(error), repr(error), repr(vars(error)), repr(error.trouble), *traceback.format_exception(error)]
    assert found_in("\n".join([*told, json.dumps(logged, default=repr)]).encode(), secrets) == set()


WAYS: Final = ("code", "device code", "renewal", "secret", "certificate", "service account", "revocation")

SIGNED: Final = ("certificate", "service account")  # which takes its time


@pytest.mark.parametrize("way", WAYS)
def test_a_provider_that_repeats_what_it_was_sent_brings_none_of_it_further(
    server: OAuthProviderServer, ways: dict[str, Callable[[], object]], secrets: dict[str, list[str]], way: str
) -> None:
    place = "revoke" if way == "revocation" else "token"
    encodings = ["raw"] if way in SIGNED else ["raw", "base64, first alignment", "JSON", "form-encoded"]
    said = [SPEAKABLE[name](" ".join(CANARIES.values())).decode() for name in encodings]
    for answer in [answer for each in said for answer in repeating(each)]:
        if place == "revoke" and answer.status == 200:
            continue  # of success it says whatever it likes
        server.next(place, answer)
        with nothing_told_of(secrets):
            ways[way]()


def test_the_provider_was_sent_every_secret_but_no_key(
    server: OAuthProviderServer, ways: dict[str, Callable[[], object]], secrets: dict[str, list[str]]
) -> None:
    for way in ways.values():
        server.next("token", oauth_faults.error("invalid_grant"))
        with pytest.raises(TokenFailure):
            way()
            raise TokenFailure(TokenFault.OURS)  # who revokes what is unknown is told nothing
        server.script.clear()
    sent = json.dumps([form for _, form in server.requests])
    kept = {"private key", "access token", "state"}  # the last comes back through the browser alone
    assert found_in(sent.encode(), secrets) == set(secrets) - kept


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_foresaw_is_logged_without_a_secret(
    ways: dict[str, Callable[[], object]], secrets: dict[str, list[str]], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, request: object, *_: object, **__: object) -> None:
        raise RuntimeError(f"{vars(request)} {' '.join(CANARIES.values())}")

    monkeypatch.setattr(session._OwnConnections, "send", broken)
    with nothing_told_of(secrets) as logged:
        ways[way]()
    assert [each["event"] for each in logged] == ["oauth_broken"]


def test_a_browser_that_comes_back_wrongly_brings_nothing_into_a_text(secrets: dict[str, list[str]]) -> None:
    everything = " ".join(CANARIES.values())
    right = {"state": STATE, "code": AUTHORIZATION_CODE}
    for wrong in (
        {"state": AUTHORIZATION_CODE},
        {"iss": everything},
        {"error": everything, "error_description": everything},
        {"error": "access_denied", "error_description": everything, "error_subtype": everything},
        {"code": f"{AUTHORIZATION_CODE}\n"},
    ):
        answer = {name: [value] for name, value in (right | wrong).items()}
        with nothing_told_of(secrets):
            code_of(answer, pending(), "https://provider.example", clock.now())


def test_a_link_has_the_state_and_no_other_secret(google: TokenProvider, secrets: dict[str, list[str]]) -> None:
    client = OAuthClient(client_id="with-secret", secret=Secret(CLIENT_SECRET))
    url = grants.authorization_url(google, client, pending(), "shop@example.com")
    assert found_in(url.encode(), secrets) == {"state"}
