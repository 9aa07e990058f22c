"""Deeds that ask whoever is at a session to prove again who they are once ten minutes have passed: all of them."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from database.engine import transaction
from database.session_db import BrowserSession
from services import audit
from services.accounts.api_tokens import Scope, create
from services.audit import Action
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp.settings import Security
from tests.own_servers import PORT, bring
from tests.second_factors import App, enrol
from tests.turned_clock import Now
from tests.visitors import PASSWORD, Visitor, make_alice, make_bob, visit
from utils import clock

HOST: Final = "smtp.example.com"
SERVER: Final = {
    "name": "Primary",
    "smtp_server": HOST,
    "smtp_port": "587",
    "security": "starttls",
    "from_email": "shop@example.com",
    "timeout_seconds": "10",
    "is_active": "1",
}
LOGIN: Final = {"smtp_server": "other.example.com", "smtp_username": "of the shop", "smtp_password": "another"}
REMOTE: Final = {"smtp_server": HOST, "smtp_port": 587, "from_email": "shop@example.com"}
OWN: Final = LOGIN | {
    "smtp_server": "192.0.2.7",
    "smtp_port": str(PORT),
    "security": "starttls",
    "from_email": "",
    "version": "1",
}
POLICY: Final = {"allowed": "any", "hosts": "", "fallback": "never", "version": "0", "sign_in": "any"} | dict.fromkeys(
    ("emails_per_minute", "emails_per_day", "fallback_per_minute", "fallback_per_day"), ""
)
REGISTRATION: Final = {
    "provider": "custom",
    "way": "code",
    "client_id": "the-client",
    "client_secret": "secret of the client",
    "scope": "mail",
    "authorize_url": "https://id.example.com/authorize",
    "token_url": "https://id.example.com/token",
}
APPLICATION: Final = {"application": "http", "account": "alice", "name": "forge", "sender": "", "address": ""}


@dataclass(frozen=True)
class ProvenDeed:
    """A form of ours, and what it answers once it is done."""

    path: str
    fields: dict[str, str] = field(default_factory=dict)
    done: int = 303
    kept: str = ""  # what was typed, and stands in the answer that asks


FORMS: Final = [
    ProvenDeed("/settings/smtp/1", SERVER | {"smtp_server": "other.example.com", "version": "1"}, kept="other.example"),
    ProvenDeed("/settings/smtp/1", SERVER | LOGIN | {"version": "2"}, kept="of the shop"),
    ProvenDeed("/settings/smtp/new", SERVER | {"name": "Second", "is_active": ""}, kept="Second"),
    ProvenDeed("/settings/smtp/1/connect", REGISTRATION, kept="the-client"),
    ProvenDeed("/account/smtp", OWN, kept="192.0.2.7"),
    ProvenDeed("/account/tokens", {"name": "deploy script", "scope_send": "1"}, 201, kept="deploy script"),
    ProvenDeed("/settings/gateway", APPLICATION, 201, kept="forge"),
    ProvenDeed("/settings/accounts/smtp/policy", POLICY),
    ProvenDeed("/settings/second-factor", {"required": "1", "days": "30"}, kept='value="30"'),
    ProvenDeed("/settings/accounts", {"username": "carol", "email": "carol@example.com"}, kept="carol@example.com"),
    ProvenDeed("/settings/accounts/2/promote"),
    ProvenDeed("/settings/accounts/3/delete", {"username": "carol"}),  # Carol, who was just invited
    ProvenDeed("/settings/privacy/export", {"address": "joe@example.com"}, 200, kept="joe@example.com"),
    ProvenDeed("/settings/privacy/forget", {"address": "joe@example.com"}, 200, kept="joe@example.com"),
    ProvenDeed("/account/sessions/end"),
    ProvenDeed("/account/security/codes", done=201),
    ProvenDeed("/account/security/passkeys"),
    ProvenDeed("/account/security/app/remove"),
]
FILES: Final = [
    "/emails/export?format=csv&state=failed",
    "/settings/audit.csv?action=updated",
    "/emails/suppressed/export.csv",
]
CALLS: Final = [
    ("GET", "/api/messages/export?format=csv", None, 200),
    ("PATCH", "/api/settings/smtp/configs/1", {"smtp_server": "other.example.com"}, 200),
    ("POST", "/api/settings/smtp", {**REMOTE, "smtp_server": "third.example.com"}, 200),
    ("PATCH", "/api/settings/smtp/configs/1", {"smtp_username": "u", "smtp_password": "another"}, 200),
    ("POST", "/api/settings/smtp/configs", {"name": "Third", **REMOTE}, 201),
]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_ALLOWED_CIDRS_ACCOUNTS": "192.0.2.0/24"}


@pytest.fixture
def phone(app: Flask, now: Now) -> App:
    """Of Alice, who administers a server and has one of her own, beside Bob."""
    alice = make_alice(is_admin=True)
    make_bob()
    configs.create(parse_change({"name": "Primary", **REMOTE}), actor="test")
    bring(alice.id, "192.0.2.8", PORT, login=("alice", "secret"), security=Security.STARTTLS)
    phone, _ = enrol(alice.id)
    now.turn(60)
    return phone


@pytest.fixture
def alice(app: Flask, phone: App, now: Now) -> Visitor:
    alice = visit(app)
    alice.sign_in()
    assert alice.post_form("/login/second", {"code": phone.code()}).status_code == 303
    now.turn(60)
    return alice


def grow_old() -> None:
    """Let all sessions have been proven ten minutes ago."""
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=10)))


def test_each_form_asks_for_both_factors_keeps_what_was_typed_and_is_done_with_them(
    alice: Visitor, phone: App, now: Now
) -> None:
    for deed in FORMS:
        grow_old()
        asked = alice.post_form(deed.path, deed.fields)
        assert asked.status_code == 422, deed.path
        for text in ("Enter your password to confirm", "Enter a code of your authenticator app", deed.kept):
            assert text in asked.text, deed.path
        proven = {"confirm_password": PASSWORD, "confirm_code": phone.code()}
        assert alice.post_form(deed.path, deed.fields | proven).status_code == deed.done, deed.path
        now.turn(60)
    stepped_up = audit.events(action=Action.STEPPED_UP)
    assert len(stepped_up) == len(FORMS)
    assert {event.details for event in stepped_up} == {"password and authenticator app"}


def test_a_link_to_a_file_leads_by_the_page_that_asks_and_back(alice: Visitor, phone: App, now: Now) -> None:
    for path in FILES:
        grow_old()
        led = alice.get(path)
        assert led.status_code == 303, path
        page = alice.get(led.headers["Location"])
        assert "Confirm that it is you" in page.text
        assert ">Continue<" not in page.text
        refused = alice.post_form("/account/security/prove", {"next": path})
        assert refused.status_code == 422
        proof = {"confirm_password": PASSWORD, "confirm_code": phone.code()}
        back = alice.post_form("/account/security/prove", {"next": path} | proof)
        assert f'href="{path.replace("&", "&amp;")}"' in alice.get(back.headers["Location"]).text
        assert alice.get(path).headers["Content-Disposition"].startswith("attachment")
        now.turn(60)


def test_no_other_site_is_offered_there(alice: Visitor) -> None:
    assert "evil.example" not in alice.get("/account/security/prove?next=https://evil.example/").text


def called(alice: Visitor, method: str, path: str, body: object, **headers: str) -> TestResponse:
    if not headers:
        headers = {"X-CSRFToken": alice.csrf_token()}
    return alice.open(path, method=method, json=body, headers=headers)


def test_the_api_asks_a_session_to_sign_in_again_and_a_token_of_scope_admin_nothing(alice: Visitor) -> None:
    token, _ = create(1, "deploy script", None, [Scope.ADMIN, Scope.READ])
    for method, path, body, done in CALLS:
        grow_old()
        refused = called(alice, method, path, body)
        assert (refused.status_code, "more than ten minutes ago" in refused.text) == (403, True), path
        assert called(alice, method, path, body, Authorization=f"Bearer {token}").status_code == done, path
    assert audit.events(action=Action.STEPPED_UP) == []


def test_what_is_no_such_deed_asks_nothing(alice: Visitor) -> None:
    grow_old()
    renamed = SERVER | {"name": "Shop", "version": "1"}
    assert alice.post_form("/settings/smtp/1", renamed).status_code == 303
    assert alice.get("/emails").status_code == 200
