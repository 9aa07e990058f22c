"""Connecting in a browser without scripts: save, go to the provider, come back, check, serve; and what goes wrong."""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from services import audit
from services.audit import Action
from services.oauth import keeping
from services.settings import configs
from services.settings.fields import parse_change
from tests import certificates, oauth_faults, signed_in_by_token
from tests.oauth_provider import USER_CODE, OAuthProviderServer, RegisteredClient
from tests.services.oauth.signing_in import pressed
from tests.signed_in_by_token import CLIENT, MAILBOX, SECRET
from tests.turned_clock import Now
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils import clock

CALLBACK: Final = "http://localhost:5000/oauth/callback"
PASTED: Final = "http://localhost:47925/oauth/callback"
PASSWORD: Final = "Pass~of~the~mailbox"
_FLASHED: Final = re.compile(r'class="flash[^"]*"[^>]*>(.*?)</div>', re.S)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[OAuthProviderServer, int]]:
    with signed_in_by_token.provider_and_mail_server() as both:
        yield both


@pytest.fixture
def provider(shared: tuple[OAuthProviderServer, int]) -> OAuthProviderServer:
    provider = shared[0]
    provider.clients[CLIENT] = RegisteredClient((CALLBACK, PASTED), secret=SECRET)
    provider.requests.clear()
    provider.script.clear()
    provider.gives_refresh, provider.mailbox = True, MAILBOX
    return provider


@pytest.fixture
def now(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Now:
    """The time, which the test turns."""
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def config_id(app: Flask, shared: tuple[OAuthProviderServer, int], provider: OAuthProviderServer) -> int:
    return stored(shared[1])


def stored(port: int) -> int:
    """A server with a password that still serves."""
    values: dict[str, Any] = {"name": "Shop", "smtp_server": "localhost", "smtp_port": port, "use_ssl": True}
    values |= {"smtp_username": MAILBOX, "smtp_password": PASSWORD, "from_email": MAILBOX, "is_active": True}
    return configs.create(parse_change(values)).row.id


def form(provider: OAuthProviderServer, **more: str) -> dict[str, str]:
    """What is entered of a registration."""
    values = {"provider": "custom", "way": "code", "client_id": CLIENT, "client_secret": SECRET, "scope": "mail"}
    urls = {"authorize_url": "authorize", "token_url": "token", "device_url": "devicecode", "revoke_url": "revoke"}
    return {**values, **{name: f"{provider.url}/{path}" for name, path in urls.items()}, **more}


def place_of(config_id: int, rest: str = "") -> str:
    return f"/settings/smtp/{config_id}/connect{rest}"


def led_to(answer: TestResponse) -> str:
    assert answer.status_code == 303, answer.text
    return answer.location


def answer_of(admin: Visitor, provider: OAuthProviderServer, config_id: int, decision: str = "grant") -> str:
    """Where the browser is sent back to, once someone has pressed a button at the provider."""
    away = led_to(admin.post_form(place_of(config_id, "/start"), form(provider)))
    assert away.startswith(f"{provider.url}/authorize?")
    return f"/oauth/callback?{urlencode(pressed(away, decision), doseq=True)}"


def said(page: TestResponse) -> str:
    """All that the page says, as text."""
    assert page.status_code == 200, page.text
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.text)))


def check_of(page: TestResponse, name: str) -> str:
    """The state of a check."""
    found = re.search(rf'data-name="{name}" data-status="(\w+)"', page.text)
    assert found, page.text
    return found[1]


def test_from_the_form_to_a_server_that_signs_in_by_token(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    back = admin.get(answer_of(admin, provider, config_id))
    assert led_to(back) == f"{place_of(config_id)}#checks"
    assert back.headers["Referrer-Policy"] == "no-referrer"
    page = admin.get(place_of(config_id))
    assert "Connected." in said(page)
    assert "The stored password is still used." in said(page)
    assert [check_of(page, name) for name in ("redirect", "token", "scope", "mailbox")] == ["ok", "ok", "ok", "warning"]
    assert configs.get(config_id).settings.password
    assert led_to(admin.post_form(place_of(config_id, "/check"))) == f"{place_of(config_id)}#checks"
    page = admin.get(place_of(config_id))
    assert "Sealpost uses it from now on, and the password is deleted." in said(page)
    assert [check_of(page, name) for name in ("sign_in", "from")] == ["ok", "ok"]
    after = configs.get(config_id)
    assert (after.settings.is_by_token, bool(after.settings.password), after.is_verified) == (True, False, True)
    events = [event.action for event in audit.events() if event.action in (Action.CONNECTED, Action.TESTED)]
    assert events == [Action.TESTED, Action.CONNECTED]


def test_nothing_can_be_checked_before_something_is_connected(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    admin.post_form(place_of(config_id), form(provider))
    assert "Check again" not in admin.get(place_of(config_id)).text
    admin.get(answer_of(admin, provider, config_id))
    assert "Check again" in admin.get(place_of(config_id)).text


@pytest.mark.parametrize("has_another", [False, True])
def test_a_server_that_was_not_active_says_what_goes_through_it_now(
    admin: Visitor, provider: OAuthProviderServer, config_id: int, has_another: bool
) -> None:
    configs.deactivate(config_id)
    if has_another:
        other = {"name": "Other", "smtp_server": "smtp.example.com", "from_email": MAILBOX, "is_active": True}
        configs.create(parse_change(other))
    admin.get(answer_of(admin, provider, config_id))
    admin.post_form(place_of(config_id, "/check"))
    told = said(admin.get(place_of(config_id)))
    assert ("No email goes through it before" if has_another else "Mail now goes through “Shop”.") in told


def test_no_page_of_it_holds_a_secret_a_code_a_state_or_a_token(
    admin: Visitor, provider: OAuthProviderServer, config_id: int, capfd: pytest.CaptureFixture[str]
) -> None:
    place = answer_of(admin, provider, config_id)
    answers = [
        admin.get(place),
        admin.get(place_of(config_id)),
        admin.get("/settings/smtp"),
        admin.get("/settings/audit"),
    ]
    answers += [admin.get(place), admin.get(place_of(config_id))]
    known = keeping.find(config_id)
    assert known
    query = dict(pair.split("=") for pair in urlsplit(place).query.split("&"))
    secrets = (
        SECRET,
        query["code"],
        query["state"],
        known.access_token.reveal(),
        known.refresh_token.reveal(),
        PASSWORD,
    )
    written = "".join(f"{answer.text}{answer.headers}" for answer in answers) + "".join(capfd.readouterr())
    assert [secret for secret in secrets if secret in written] == []


def test_what_comes_back_twice_or_from_nowhere_changes_nothing(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    place = answer_of(admin, provider, config_id)
    admin.get(place)
    for again in (place, "/oauth/callback", "/oauth/callback?state=x&code=y", "/oauth/callback?code=y"):
        assert led_to(admin.get(again)) == "/"
        assert "This browser did not begin that sign-in" in said(admin.get("/settings/smtp"))
    known = keeping.find(config_id)
    assert known and known.consent == 1


def test_another_session_cannot_end_it_whoevers_it_is(
    app: Flask, admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    place = answer_of(admin, provider, config_id)
    other = visit(app)
    other.sign_in()
    assert led_to(other.get(place)) == "/"
    assert led_to(admin.get(place)) == "/"
    known = keeping.find(config_id)
    assert known and known.consent == 0


def test_whoever_is_signed_out_is_led_to_the_sign_in_without_the_answer(
    app: Flask, provider: OAuthProviderServer, admin: Visitor, config_id: int
) -> None:
    place = answer_of(admin, provider, config_id)
    answer = visit(app).get(place)
    assert led_to(answer) == "/login?next=/"
    assert led_to(admin.get(place)) == f"{place_of(config_id)}#checks"  # nobody else has used it up


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("admin_consent=True&tenant=01234567-89ab-cdef-0123-456789abcdef", "The organisation has agreed"),
        ("admin_consent=True&error=access_denied&error_description=AADSTS65004", "The organisation has not agreed"),
        ("admin_consent=False", "The organisation has not agreed"),
    ],
)
def test_an_administrator_of_the_organisation_who_has_no_account_is_told_what_came_of_the_consent(
    client: Visitor, query: str, words: str
) -> None:
    assert words in said(client.get(f"/oauth/callback?{query}"))


def test_after_eleven_minutes_the_page_says_that_it_is_too_late(
    admin: Visitor, now: Now, provider: OAuthProviderServer, config_id: int
) -> None:
    place = answer_of(admin, provider, config_id)
    now.turn(11 * 60)
    assert led_to(admin.get(place)) == f"{place_of(config_id)}#checks"
    page = admin.get(place_of(config_id))
    assert "The answer is not from this attempt" in said(page)
    assert check_of(page, "redirect") == "failed"
    assert "The answer is not from this attempt" not in said(admin.get(place_of(config_id)))


@pytest.mark.parametrize(
    "failure",
    [
        (oauth_faults.aadsts(7000222, "invalid_client"), "token", "The client secret has expired"),
        (oauth_faults.error("invalid_client", "The provided client secret is invalid."), "token", "client secret"),
        (oauth_faults.page(503), "token", "The provider gives no tokens for now"),
        (oauth_faults.page(200), "token", "The provider’s answer contains no usable token"),
        (oauth_faults.megabyte(), "token", "The provider’s answer is too long"),
        (oauth_faults.redirect("https://evil.example/token"), "token", "The token service sends Sealpost elsewhere"),
        (oauth_faults.Dropped(), "token", "The provider ended the connection"),
        (oauth_faults.aadsts(65001), "token", "Consent is missing"),
        (oauth_faults.error("unauthorized_client"), "token", "The application may not connect in this way"),
        (oauth_faults.with_fields(scope="openid"), "scope", "The permission to send is missing"),
        (oauth_faults.without("refresh_token"), "token", "nothing to renew with"),
    ],
)
def test_each_failure_has_its_own_advice_at_its_check(
    admin: Visitor, provider: OAuthProviderServer, config_id: int, failure: tuple[oauth_faults.Fault, str, str]
) -> None:
    fault, check, words = failure
    place = answer_of(admin, provider, config_id)
    provider.next("token", fault)
    admin.get(place)
    page = admin.get(place_of(config_id))
    assert words in said(page)
    assert check_of(page, check) == "failed"
    known = keeping.find(config_id)
    assert known and not known.consent


def test_who_says_no_is_told_what_to_do(admin: Visitor, provider: OAuthProviderServer, config_id: int) -> None:
    admin.get(answer_of(admin, provider, config_id, "deny"))
    assert "The question was answered with No" in said(admin.get(place_of(config_id)))


def test_a_server_that_is_deleted_meanwhile_leads_to_the_list(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    place = answer_of(admin, provider, config_id)
    configs.delete(config_id)
    assert led_to(admin.get(place)) == "/"
    assert "Nothing was changed." in said(admin.get("/settings/smtp"))


def test_the_end_of_the_browsers_way_is_pasted(admin: Visitor, provider: OAuthProviderServer, config_id: int) -> None:
    place = answer_of(admin, provider, config_id)
    pasted = f"{PASTED}?{urlsplit(place).query}"
    assert (
        led_to(admin.post_form(place_of(config_id, "/paste"), {"pasted_code": pasted}))
        == f"{place_of(config_id)}#checks"
    )
    assert "Connected." in said(admin.get(place_of(config_id)))
    admin.post_form(place_of(config_id, "/paste"), {"pasted_code": "https://example.com/"})
    assert "This address contains no answer" in said(admin.get(place_of(config_id)))
    assert admin.post_form(place_of(config_id, "/paste"), {"pasted_code": " "}).status_code == 422


def test_a_code_is_entered_on_another_device(
    admin: Visitor, now: Now, provider: OAuthProviderServer, config_id: int
) -> None:
    assert led_to(admin.post_form(place_of(config_id, "/code"), form(provider, way="device"))).endswith("#code")
    page = admin.get(place_of(config_id))
    assert USER_CODE in said(page)
    state = place_of(config_id, "/code/state")
    waiting = admin.post_form(state, headers={"Accept": "application/json"}).get_json()
    assert waiting["data"]["state"] == "waiting"
    assert led_to(admin.post_form(state)).endswith("#code")
    assert "has not seen the code yet" in said(admin.get(place_of(config_id)))
    pressed(f"{provider.url}/device", user_code=USER_CODE)
    now.turn(5)
    assert admin.post_form(state, headers={"Accept": "application/json"}).get_json()["data"]["state"] == "connected"
    assert "Connected." in said(admin.get(place_of(config_id)))


def test_an_application_signs_in_by_itself(admin: Visitor, provider: OAuthProviderServer, config_id: int) -> None:
    fields = form(provider, way="client_credentials")
    assert led_to(admin.post_form(place_of(config_id, "/start"), fields)) == f"{place_of(config_id)}#checks"
    assert "Connected." in said(admin.get(place_of(config_id)))


def test_a_failed_test_leaves_the_password_and_says_what_is_missing(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    provider.mailbox = "other@example.com"
    admin.get(answer_of(admin, provider, config_id))
    page = admin.post_form(place_of(config_id, "/check"))
    assert check_of(page, "sign_in") == "failed"
    assert configs.get(config_id).settings.password


def test_the_check_is_streamed_to_a_script(admin: Visitor, provider: OAuthProviderServer, config_id: int) -> None:
    admin.get(answer_of(admin, provider, config_id))
    answer = admin.post_form(place_of(config_id, "/check"), headers={"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in answer.text.splitlines() if line]
    assert {line["type"] for line in lines} == {"step", "result"}
    assert lines[-1]["ok"]
    assert {row["name"]: row["status"] for row in lines[-1]["rows"]}["sign_in"] == "ok"
    assert configs.get(config_id).settings.is_by_token


def test_what_is_refused_stands_at_its_field_and_what_was_typed_stays(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    answer = admin.post_form(place_of(config_id), form(provider, token_url="nowhere"))
    assert answer.status_code == 422
    assert "Enter a whole address that begins with https://" in unescape(answer.text)
    assert 'value="nowhere"' in answer.text
    assert SECRET not in answer.text
    assert keeping.find(config_id) is None


def test_a_secret_that_is_not_typed_again_stays(admin: Visitor, provider: OAuthProviderServer, config_id: int) -> None:
    admin.post_form(place_of(config_id), form(provider))
    answer = admin.post_form(place_of(config_id), form(provider, client_secret="", issuer=provider.url))
    assert led_to(answer) == place_of(config_id)
    known = keeping.find(config_id)
    assert known and known.registration.client_secret.reveal() == SECRET
    other = form(provider, client_secret="", token_url="https://evil.example/token")
    refused = admin.post_form(place_of(config_id), other)
    assert "You changed where it is sent" in unescape(refused.text)


def test_what_someone_else_saved_meanwhile_is_not_overwritten(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    admin.post_form(place_of(config_id), form(provider))
    seen = re.search(r'name="version" value="(\w+)"', admin.get(place_of(config_id)).text)
    assert seen
    admin.post_form(place_of(config_id), form(provider, scope="mail send", version=seen[1]))
    stale = admin.post_form(place_of(config_id), form(provider, scope="mail", version=seen[1]))
    assert "Someone else has changed what is registered." in stale.text


def test_a_sign_in_of_long_ago_is_asked_for_the_password(
    admin: Visitor, now: Now, provider: OAuthProviderServer, config_id: int
) -> None:
    now.turn(11 * 60)
    for rest in ("", "/start", "/code"):
        answer = admin.post_form(place_of(config_id, rest), form(provider))
        assert answer.status_code == 422
        assert "Enter your password to confirm that it is you." in answer.text


def test_disconnecting_is_asked_first(admin: Visitor, provider: OAuthProviderServer, config_id: int) -> None:
    admin.get(answer_of(admin, provider, config_id))
    assert "Disconnect “Shop”?" in said(admin.get(place_of(config_id, "/end")))
    assert led_to(admin.post_form(place_of(config_id, "/end"))) == place_of(config_id)
    assert keeping.find(config_id) is None
    assert configs.get(config_id).settings.password


def test_the_page_lets_a_form_lead_to_the_provider(
    admin: Visitor, provider: OAuthProviderServer, config_id: int
) -> None:
    policy = admin.get(place_of(config_id)).headers["Content-Security-Policy"]
    assert "form-action 'self' https:;" in policy
    assert "script-src 'self';" in policy


def test_lines_are_filled_in_before_all_is_there(admin: Visitor, config_id: int) -> None:
    fields = {"provider": "custom", "way": "client_credentials", "client_id": "abc", "next": "step-2"}
    answer = admin.post_form(place_of(config_id), fields)
    assert answer.status_code == 200
    assert 'value="abc"' in answer.text
    assert keeping.find(config_id) is None


def test_from_an_address_to_its_server(admin: Visitor) -> None:
    page = admin.get("/settings/smtp/connect?email=shop@gmail.com")
    assert "Connect with Google" in said(page)
    place = led_to(admin.post_form("/settings/smtp/connect", {"email": "shop@gmail.com"}))
    assert "Connect “Gmail”" in said(admin.get(place))
    assert admin.post_form("/settings/smtp/connect", {"email": "x"}).status_code == 422


class Below(Visitor):
    """A browser that comes by an address with a path."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **{"base_url": "http://localhost:5000/a/b", **kwargs})


def test_the_redirect_uri_is_below_the_path_of_base_url(
    environment: dict[str, str], tmp_path: Any, shared: tuple[OAuthProviderServer, int], provider: OAuthProviderServer
) -> None:
    app = create_app(environment | {"BASE_URL": "http://localhost:5000/a/b"}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        config_id = stored(shared[1])
        provider.clients[CLIENT].redirect_uris = ("http://localhost:5000/a/b/oauth/callback",)
        admin = Below(app, app.response_class)
        admin.sign_in()
        place = answer_of(admin, provider, config_id)
        assert led_to(admin.get(place)) == f"/a/b{place_of(config_id)}#checks"
        assert "Connected." in said(admin.get(place_of(config_id)))


def test_nobody_but_an_administrator_ends_what_was_begun_for_a_global_server(
    app: Flask, provider: OAuthProviderServer, admin: Visitor, config_id: int
) -> None:
    place = answer_of(admin, provider, config_id)
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    assert led_to(bob.get(place)) == "/"
    known = keeping.find(config_id)
    assert known and not known.consent
