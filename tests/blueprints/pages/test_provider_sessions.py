"""Sessions that a provider has vouched for: how long its word counts, and where nobody comes in but by it."""

from datetime import timedelta

import pytest
from flask import Flask

from services import audit
from services.accounts import accounts, sign_in_links
from tests.oidc_people import come_by, environment, more, provider
from tests.oidc_provider import OidcProviderServer
from tests.turned_clock import Now
from tests.visitors import PASSWORD, Visitor, make_alice, visit
from utils import clock

__all__ = ["environment", "more", "provider"]

ADA = {"preferred_username": "ada", "email": "ada@example.com", "email_verified": True, "groups": ["mail-admins"]}
HOUR = 3600


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch, provider: OidcProviderServer) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    provider.clock = turned.seconds
    return turned


@pytest.fixture
def ada(client: Visitor, provider: OidcProviderServer, now: Now) -> Visitor:
    """Ada, who came by the provider and administrates."""
    provider.identity = ADA
    assert come_by(client, provider).status_code == 303
    return client


def works_on(visitor: Visitor, now: Now, seconds: int) -> None:
    """Somebody at work, who is never idle for long."""
    end = now.moment + timedelta(seconds=seconds)
    while now.moment < end:
        now.turn(min(600, int((end - now.moment).total_seconds())))
        if now.moment < end:
            assert visitor.is_signed_in()


def is_administrator(login: str) -> bool:
    found = accounts.find_by_login(login)
    return found is not None and found.is_admin


def test_after_an_hour_a_page_leads_by_the_provider_and_back_to_itself(
    ada: Visitor, provider: OidcProviderServer, now: Now
) -> None:
    works_on(ada, now, HOUR)
    led = ada.get("/account/tokens?page=2")
    assert led.headers["Location"] == "/login/oidc?next=/account/tokens?page%3D2"
    begun = ada.get(led.headers["Location"])
    assert come_by(ada, provider, begun).headers["Location"] == "/account/tokens?page=2"
    works_on(ada, now, HOUR)
    assert come_by(ada, provider, ada.get(ada.get("/").headers["Location"])).headers["Location"] == "/"
    assert ada.is_signed_in()


def test_who_lost_the_group_has_no_rights_after_an_hour_whatever_they_do(
    ada: Visitor, provider: OidcProviderServer, now: Now
) -> None:
    provider.identity = ADA | {"groups": []}
    token = ada.csrf_token("/account")
    works_on(ada, now, HOUR)
    assert ada.get("/api/settings/smtp").status_code == 401
    refused = ada.post("/account/sessions/end", data={"csrf_token": token})
    assert refused.headers["Location"].startswith("/login?next=")
    come_by(ada, provider, ada.get(ada.get("/settings/smtp").headers["Location"]))
    assert ada.get("/settings/smtp").status_code == 403
    assert not is_administrator("ada")


def test_the_provider_that_is_down_then_lets_nobody_stay(ada: Visitor, provider: OidcProviderServer, now: Now) -> None:
    works_on(ada, now, HOUR)
    provider.__exit__(None, None, None)
    page = ada.get("/account", follow_redirects=True)
    assert page.status_code == 503
    assert "Example ID cannot be reached at the moment" in page.text


def test_confirming_there_that_it_is_still_oneself_begins_the_hour_anew(
    ada: Visitor, provider: OidcProviderServer, now: Now
) -> None:
    works_on(ada, now, HOUR - 600)
    provider.identity = ADA | {"auth_time": now.seconds()}
    come_by(ada, provider, ada.get("/account/sign-ins/confirm"))
    assert ("stepped_up", "single sign-on") in [(event.action, event.details) for event in audit.events()]
    works_on(ada, now, HOUR - 1)
    assert ada.is_signed_in()


def test_confirming_there_without_the_group_ends_the_rights_and_the_session(
    ada: Visitor, provider: OidcProviderServer, now: Now
) -> None:
    provider.identity = ADA | {"groups": [], "auth_time": now.seconds()}
    come_by(ada, provider, ada.get("/account/sign-ins/confirm"))
    assert not is_administrator("ada")
    assert not ada.is_signed_in()


def test_a_session_that_began_with_a_password_has_no_such_hour(admin: Visitor, now: Now) -> None:
    now.turn(HOUR - 1)
    assert admin.is_signed_in()
    now.turn(HOUR - 1)
    assert admin.is_signed_in()


def test_the_way_to_the_provider_is_not_taken_once_the_session_itself_is_over(ada: Visitor, now: Now) -> None:
    now.turn(12 * HOUR)
    assert ada.get("/account").headers["Location"] == "/login?next=/account"


class TestWithAnotherBound:
    @pytest.fixture
    def more(self) -> dict[str, str]:
        return {"OIDC_RECHECK_MINUTES": "0"}

    def test_none_at_all_lets_it_last_as_long_as_any(self, ada: Visitor, now: Now) -> None:
        works_on(ada, now, 3 * HOUR)
        assert ada.is_signed_in()


class TestByTheProviderAlone:
    @pytest.fixture
    def more(self) -> dict[str, str]:
        return {"OIDC_ONLY": "true"}

    def test_no_passkey_lets_anybody_in(self, client: Visitor) -> None:
        token = client.csrf_token("/setup")
        make_alice(is_admin=True)
        refused = client.post("/login/passkey", data={"passkey": "{}", "csrf_token": token})
        assert refused.status_code == 403
        assert "Passwords and passkeys are turned off here. Sign in with Example ID." in refused.text

    def test_no_password_confirms_who_one_is(self, app: Flask, client: Visitor, now: Now) -> None:
        make_alice(is_admin=True)
        path = sign_in_links.issue("alice").removeprefix("http://localhost:5000")
        client.get(path)
        client.post("/login/link", data={"csrf_token": client.csrf_token("/login/link")})
        now.turn(660)
        assert "Sign in at Example ID" in client.get("/account/sessions/end").text
        token = client.csrf_token("/account/sessions/end")
        fields = {"confirm_password": PASSWORD, "csrf_token": token}
        assert client.post("/account/sessions/end", data=fields).status_code == 422

    def test_who_sets_up_with_the_code_of_the_terminal_stays_in(self, app: Flask, client: Visitor) -> None:
        code = accounts.issue_setup_code()
        fields = {"code": code, "username": "grace", "email": "grace@example.com", "password": PASSWORD}
        assert client.post("/setup", data=fields | {"csrf_token": client.csrf_token("/setup")}).status_code == 303
        assert client.is_signed_in()

    def test_the_sign_in_in_place_asks_for_the_provider(self, ada: Visitor) -> None:
        assert "Sign in with Example ID" in ada.get("/account").text
        assert 'id="sign-in-again-password"' not in ada.get("/account").text


def test_a_session_that_began_with_a_password_ends_once_passwords_are_turned_off(app: Flask) -> None:
    make_alice(is_admin=True)
    alice = visit(app)
    alice.sign_in(remember="1")
    assert alice.is_signed_in()
    only = app.extensions["sealpost"].oidc
    object.__setattr__(only, "is_only", True)
    assert alice.get("/account").headers["Location"] == "/login?next=/account"
