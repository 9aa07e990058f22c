"""Signing in at a provider: whose account it is, what the groups there decide, and how one comes to be linked."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from services import audit
from services.accounts import accounts, administration, sessions, sign_in_links
from services.accounts.accounts import Person
from services.single_sign_on import people
from tests import oauth_faults
from tests.oidc_people import come_by, environment, more, provider
from tests.oidc_provider import OidcProviderServer
from tests.turned_clock import Now
from tests.visitors import PASSWORD, Visitor, make_alice, make_bob, visit
from utils import clock

__all__ = ["environment", "more", "provider"]

ADA = {"preferred_username": "ada", "email": "ada@example.com", "email_verified": True}
IN_CHARGE = {"groups": ["mail-admins"]}


@pytest.fixture
def ada(client: Visitor, provider: OidcProviderServer) -> Visitor:
    """Ada, who came by the provider and administrates."""
    provider.identity = ADA | IN_CHARGE
    assert come_by(client, provider).status_code == 303
    return client


def person(login: str) -> Person:
    found = accounts.find_by_login(login)
    assert found
    return found


def trail() -> list[tuple[str, str, str]]:
    return [(event.action, event.subject, event.details) for event in audit.events()]


def test_whoever_comes_first_gets_an_account_with_the_rights_that_the_claim_gives(ada: Visitor) -> None:
    assert person("ada").is_admin and not person("ada").has_password
    assert ada.get("/").status_code == 200
    assert {action for action, _, _ in trail()} >= {"account_created", "identity_linked", "account_promoted"}
    assert ("signed_in", "account ada", "single sign-on") in trail()


def test_the_page_goes_on_where_somebody_wanted_to_go(client: Visitor, provider: OidcProviderServer) -> None:
    provider.identity = ADA
    begun = client.get("/login/oidc?next=/account/tokens")
    assert come_by(client, provider, begun).headers["Location"] == "/account/tokens"
    assert come_by(visit(client.application), provider).headers["Location"] == "/account"


@pytest.mark.parametrize("wanted", ["https://evil.example.com", "//evil.example.com", "/\\evil.example.com"])
def test_it_leads_to_no_other_site(client: Visitor, provider: OidcProviderServer, wanted: str) -> None:
    provider.identity = ADA
    begun = client.get("/login/oidc", query_string={"next": wanted})
    assert come_by(client, provider, begun).headers["Location"] == "/account"


def test_who_lost_the_group_loses_the_rights_and_every_session(
    app: Flask, ada: Visitor, provider: OidcProviderServer
) -> None:
    provider.identity = ADA | {"groups": ["staff"]}
    elsewhere = visit(app)
    come_by(elsewhere, provider)
    assert not person("ada").is_admin
    assert not ada.is_signed_in() and elsewhere.is_signed_in()
    assert elsewhere.get("/settings/smtp").status_code == 403
    assert ("account_demoted", "account ada", people.BY_CLAIM) in trail()


def test_who_signs_in_is_known_by_the_subject_whatever_the_address_is(
    app: Flask, ada: Visitor, provider: OidcProviderServer
) -> None:
    provider.identity = {"preferred_username": "countess", "email": "lovelace@example.com", "email_verified": True}
    other = visit(app)
    come_by(other, provider)
    assert "Signed in as ada" in other.get("/account").text
    assert [each.username for each in accounts.everybody()] == ["ada"]


def test_the_address_of_another_account_lets_nobody_in(
    app: Flask, client: Visitor, provider: OidcProviderServer
) -> None:
    make_alice(is_admin=True)
    provider.identity = {
        "preferred_username": "mallory",
        "email": "alice@example.com",
        "email_verified": True,
    } | IN_CHARGE
    refused = come_by(client, provider)
    assert refused.status_code == 401
    assert "another account’s here" in refused.text
    assert not client.is_signed_in()
    assert [each.username for each in accounts.everybody()] == ["alice"]
    assert trail()[0] == ("sign_in_failed", "unknown account", "single sign-on, address of another account")


def test_an_address_that_nobody_verified_makes_no_account(client: Visitor, provider: OidcProviderServer) -> None:
    provider.identity = ADA | {"email_verified": False}
    assert come_by(client, provider).status_code == 401
    assert accounts.everybody() == []


def test_a_disabled_account_stays_out(app: Flask, ada: Visitor, provider: OidcProviderServer) -> None:
    make_alice(is_admin=True)
    administration.disable(person("ada").id)
    refused = come_by(visit(app), provider)
    assert refused.status_code == 401
    assert "This account is disabled" in refused.text


class TestWithoutNewAccounts:
    @pytest.fixture
    def more(self) -> dict[str, str]:
        return {"OIDC_CREATE_ACCOUNTS": "false"}

    def test_a_stranger_is_told_how_an_account_comes_to_be_linked(
        self, admin: Visitor, client: Visitor, provider: OidcProviderServer
    ) -> None:
        refused = come_by(client, provider)
        assert refused.status_code == 401
        assert "link it at “Your account”" in refused.text

    def test_whoever_is_signed_in_links_the_account_and_comes_in_by_it_then(
        self, app: Flask, admin: Visitor, provider: OidcProviderServer
    ) -> None:
        provider.identity = IN_CHARGE
        linked = come_by(admin, provider, admin.post_form("/account/sign-ins/link"))
        assert linked.headers["Location"] == "/account"
        assert "You can sign in with Example ID from now on." in admin.get("/account").text
        other = visit(app)
        come_by(other, provider)
        assert "Signed in as alice, administrator" in other.get("/account").text

    def test_who_is_not_in_charge_there_is_warned_when_linking(
        self, admin: Visitor, provider: OidcProviderServer
    ) -> None:
        come_by(admin, provider, admin.post_form("/account/sign-ins/link"))
        assert "you are none here any more" in admin.get("/account").text

    def test_one_sign_in_there_opens_one_account(
        self, app: Flask, admin: Visitor, client: Visitor, provider: OidcProviderServer
    ) -> None:
        make_bob()
        client.sign_in("bob")
        come_by(client, provider, client.post_form("/account/sign-ins/link"))
        come_by(admin, provider, admin.post_form("/account/sign-ins/link"))
        assert "linked to another account" in admin.get("/account").text

    def test_nobody_links_a_sign_in_that_another_session_began(
        self, admin: Visitor, client: Visitor, provider: OidcProviderServer
    ) -> None:
        make_bob()
        client.sign_in("bob")
        begun = client.post_form("/account/sign-ins/link")
        admin.set_cookie("sealpost_provider", client.get_cookie("sealpost_provider").value)  # type: ignore[union-attr]
        come_by(admin, provider, begun)
        assert "did not begin in this browser" in admin.get("/account").text
        assert people.of_account(person("alice").id) == []

    def test_linking_asks_for_the_password_after_ten_minutes(
        self, admin: Visitor, provider: OidcProviderServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = Now()
        monkeypatch.setattr(clock, "now", now)
        now.turn(660)
        assert admin.post_form("/account/sign-ins/link").status_code == 422
        provider.clock = now.seconds
        assert admin.post_form("/account/sign-ins/link", {"confirm_password": PASSWORD}).status_code == 200

    def test_what_is_unlinked_opens_the_account_no_more(
        self, app: Flask, admin: Visitor, provider: OidcProviderServer
    ) -> None:
        come_by(admin, provider, admin.post_form("/account/sign-ins/link"))
        (identity,) = people.of_account(person("alice").id)
        assert admin.post_form(f"/account/sign-ins/{identity.id}/unlink").status_code == 303
        assert come_by(visit(app), provider).status_code == 401

    def test_whoever_is_invited_needs_no_password(
        self, app: Flask, admin: Visitor, client: Visitor, provider: OidcProviderServer, reset_token: str
    ) -> None:
        client.get(f"/reset-password?token={reset_token}")
        begun = client.post_form("/reset-password/oidc")
        assert come_by(client, provider, begun).status_code == 303
        assert "Signed in as grace" in client.get("/account").text
        assert client.get(f"/reset-password?token={reset_token}", follow_redirects=True).status_code == 410

    @pytest.fixture
    def reset_token(self, admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """Of the invitation of Grace."""
        token = "invitation-0f-grace-abcdefghijk"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("services.accounts.reset_links.secrets.token_urlsafe", lambda _: token)
            administration.invite("grace", "grace@example.com")
        yield token

    def test_an_invitation_that_is_no_longer_good_links_nothing(
        self, app: Flask, admin: Visitor, client: Visitor, provider: OidcProviderServer, reset_token: str
    ) -> None:
        client.get(f"/reset-password?token={reset_token}")
        begun = client.post_form("/reset-password/oidc")
        administration.disable(person("grace").id)
        assert come_by(client, provider, begun).status_code == 401


def test_who_has_no_password_confirms_at_the_provider(
    ada: Visitor, provider: OidcProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Now()
    monkeypatch.setattr(clock, "now", now)
    provider.clock = now.seconds
    now.turn(660)
    (session,) = sessions.of_account(person("ada").id)
    assert "Sign in at Example ID" in ada.get("/account/sessions/end").text
    assert ada.post_form("/account/sessions/end").status_code == 422
    provider.identity |= {"auth_time": now.seconds()}
    assert come_by(ada, provider, ada.get("/account/sign-ins/confirm")).status_code == 303
    assert ada.post_form("/account/sessions/end").status_code == 303
    assert [each.key for each in sessions.of_account(person("ada").id)] != [session.key]


def test_nobody_else_confirms_for_them(ada: Visitor, provider: OidcProviderServer) -> None:
    provider.subject, provider.identity = "somebody-else", {"auth_time": provider.now()}
    come_by(ada, provider, ada.get("/account/sign-ins/confirm"))
    assert "You did not sign in again at Example ID" in ada.get("/account").text


def test_the_only_way_in_stays(ada: Visitor) -> None:
    (identity,) = people.of_account(person("ada").id)
    assert ada.post_form(f"/account/sign-ins/{identity.id}/unlink").status_code == 409


def test_nobody_unlinks_for_another(app: Flask, ada: Visitor, client: Visitor, provider: OidcProviderServer) -> None:
    (identity,) = people.of_account(person("ada").id)
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    assert bob.post_form(f"/account/sign-ins/{identity.id}/unlink").status_code == 404


def test_while_the_provider_is_down_a_password_lets_people_in(
    app: Flask, client: Visitor, provider: OidcProviderServer
) -> None:
    make_alice(is_admin=True)
    provider.next("openid-configuration", oauth_faults.page(503))
    down = client.get("/login/oidc")
    assert down.status_code == 503
    assert "Example ID cannot be reached at the moment" in down.text
    assert client.sign_in().status_code == 303


def test_signing_out_says_where_one_may_still_be_signed_in(ada: Visitor, provider: OidcProviderServer) -> None:
    gone = ada.post_form("/logout")
    assert gone.headers["Location"] == "/signed-out"
    page = ada.get("/signed-out").text
    assert f"{provider.url}/end-session?client_id=sealpost&amp;post_logout_redirect_uri=" in page


def test_an_answer_that_nobody_asked_for_is_refused_and_noted(client: Visitor) -> None:
    refused = client.get("/login/oidc/callback?code=a&state=b")
    assert refused.status_code == 401
    assert "did not begin in this browser" in refused.text
    assert trail()[0] == ("sign_in_failed", "unknown account", "single sign-on, no sign-in of this browser")


@pytest.mark.parametrize(
    "query",
    [
        "state={state}",
        "state={state}&code=a&code=b",
        "state={state}&state={state}&code=a",
        "state={state}&code=a&iss=https://other.example.com",
        "state={state}&code=%00%0d%0a",
        "state={state}&code=" + "a" * 5000,
        "state={state}A&code=a",
        "state=%C3%A4%FF&code=a",
        "state=&code=a",
        "state=" + "A" * 9000 + "&code=a",
        "state={state}&error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E",
        "state={state}&error=login_required",
    ],
    ids=range(12),
)
def test_an_answer_that_was_tampered_with_signs_nobody_in(
    client: Visitor, provider: OidcProviderServer, query: str
) -> None:
    state = parse_qs(urlsplit(client.get("/login/oidc").headers["Location"]).query)["state"][0]
    refused = client.get("/login/oidc/callback?" + query.format(state=state))
    assert refused.status_code == 401
    assert "alert(1)" not in refused.text
    assert not client.is_signed_in()


def test_an_answer_counts_once(client: Visitor, provider: OidcProviderServer) -> None:
    provider.identity = ADA
    begun = client.get("/login/oidc")
    back = provider.come_back(begun.headers["Location"]).removeprefix("http://localhost:5000")
    assert client.get(back).status_code == 303
    client.post_form("/logout")
    assert client.get(back).status_code == 401


class TestByTheProviderAlone:
    @pytest.fixture
    def more(self) -> dict[str, str]:
        return {"OIDC_ONLY": "true"}

    def test_no_password_lets_anybody_in(self, client: Visitor) -> None:
        make_alice(is_admin=True)
        page = client.get("/login").text
        assert 'name="password"' not in page and "Sign in with Example ID" in page
        token = client.csrf_token("/setup") if "csrf_token" in page else ""
        refused = client.post("/login", data={"login": "alice", "password": PASSWORD, "csrf_token": token})
        assert refused.status_code in (400, 403)
        assert not client.is_signed_in()

    def test_no_reset_link_is_asked_for_or_followed(self, client: Visitor) -> None:
        make_alice(is_admin=True)
        assert client.get("/forgot-password").headers["Location"] == "/login"

    def test_while_the_provider_is_down_the_page_says_what_to_do(
        self, client: Visitor, provider: OidcProviderServer
    ) -> None:
        make_alice(is_admin=True)
        provider.next("openid-configuration", oauth_faults.Dropped())
        page = client.get("/login/oidc")
        assert page.status_code == 503
        assert "cannot be reached" in page.text and "flask account sign-in-link" in page.text

    def test_a_link_of_the_command_line_lets_somebody_in_once(self, app: Flask, client: Visitor) -> None:
        make_alice(is_admin=True)
        result = app.test_cli_runner().invoke(args=["account", "sign-in-link", "alice"])
        path = result.stdout.strip().removeprefix("http://localhost:5000")
        assert client.get(path).headers["Location"] == "/login/link"
        assert "Sign in as alice" in client.get("/login/link").text
        signed_in = client.post("/login/link", data={"csrf_token": client.csrf_token("/login/link")})
        assert signed_in.headers["Location"] == "/"
        assert "with link from the command line" in client.get("/account").text
        again = visit(app)
        again.get(path)
        assert again.get("/login/link").status_code == 410

    def test_that_link_ends_after_a_quarter_of_an_hour(
        self, app: Flask, client: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_alice(is_admin=True)
        token = sign_in_links.issue("alice").partition("token=")[2]
        now = Now()
        monkeypatch.setattr(clock, "now", now)
        now.turn(901)
        assert sign_in_links.redeem(token) is None

    def test_another_link_ends_the_one_before(self, app: Flask) -> None:
        make_alice(is_admin=True)
        first, second = (sign_in_links.issue("alice").partition("token=")[2] for _ in range(2))
        assert sign_in_links.redeem(first) is None
        assert sign_in_links.redeem(second)


def test_the_command_says_whether_the_provider_can_be_used(app: Flask, provider: OidcProviderServer) -> None:
    result = app.test_cli_runner().invoke(args=["account", "oidc-check"])
    assert f"{provider.url} can be used: 1 keys, RS256." in result.stdout
    assert "http://localhost:5000/login/oidc/callback" in result.stdout


def test_it_says_what_is_wrong_with_it(app: Flask, provider: OidcProviderServer) -> None:
    provider.said = {"issuer": "https://other.example.com"}
    result = app.test_cli_runner().invoke(args=["account", "oidc-check"])
    assert result.exit_code == 1
    assert "calls itself by another address" in result.stderr


def test_who_is_linked_counts_as_an_administrator_who_can_act(ada: Visitor) -> None:
    assert accounts.has_administrator()
    assert administration.is_last_administrator(person("ada").id)
    assert len(sessions.of_account(person("ada").id)) == 1
