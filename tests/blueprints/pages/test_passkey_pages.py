"""Passkeys on the pages: made, signed in with, and used to confirm who is there; and where there are none."""

import html
import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from database.engine import reading, transaction
from database.outbox_db import OutboxMail
from database.session_db import BrowserSession
from services import audit
from services.accounts import sessions
from services.accounts.proofs import Proof
from services.audit import Action
from services.factors import passkeys, relying_party, ways
from tests.authenticator import Authenticator
from tests.visitors import Visitor, make_alice, visit
from utils import clock

NEW = "/account/security/passkeys/new"


def options_on(page: str) -> str:
    found = re.search(r'data-passkey-create="([^"]+)"', page)
    assert found
    return html.unescape(found[1])


@pytest.fixture
def phone(admin: Visitor) -> Authenticator:
    """Of Alice, whose first factor it is."""
    device = Authenticator()
    assert admin.post_form("/account/security/passkeys").headers["Location"] == NEW
    made = device.create(options_on(admin.get(NEW).text))
    answer = admin.post_form(NEW, {"name": "<b>phone</b>", "passkey": made})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    assert len(re.findall(r"[A-Z2-9]{5}-[A-Z2-9]{5}-[A-Z2-9]{5}", answer.text)) == 10
    return device


def options_of(visitor: Visitor, path: str) -> str:
    return visitor.post_form(path).text


def test_a_passkey_is_made_with_a_name_and_the_session_shows_it(phone: Authenticator, admin: Visitor) -> None:
    assert sessions.of_account(1)[0].proven_by == (Proof.PASSWORD, Proof.PASSKEY)
    page = admin.get("/account/security").text
    assert "&lt;b&gt;phone&lt;/b&gt;" in page
    assert "Never used" in page
    assert "with password and passkey" in admin.get("/account").text


def test_it_signs_in_alone_and_its_answer_is_good_once(app: Flask, phone: Authenticator) -> None:
    alice = visit(app)
    sent = {"passkey": phone.use(options_of(alice, "/login/passkey/options")), "next": "/emails", "remember": "1"}
    assert alice.post_form("/login/passkey", sent).headers["Location"] == "/emails"
    assert alice.is_signed_in()
    assert sessions.of_account(1)[0].is_remembered
    assert audit.events(action=Action.SIGNED_IN)[0].details == "passkey"
    again = visit(app).post_form("/login/passkey", sent)
    assert (again.status_code, passkeys.OVER in again.text) == (401, True)


def test_what_one_browser_was_asked_another_does_not_answer(app: Flask, phone: Authenticator) -> None:
    asked, other = visit(app), visit(app)
    options_of(other, "/login/passkey/options")
    answer = phone.use(options_of(asked, "/login/passkey/options"))
    assert other.post_form("/login/passkey", {"passkey": answer}).status_code == 401
    assert not other.is_signed_in()


def test_it_confirms_who_is_there_and_the_trail_tells_it(phone: Authenticator, admin: Visitor) -> None:
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=11)))
    token = {"name": "deploy script", "scope_send": "1"}
    assert "Confirm with a passkey instead" in admin.post_form("/account/tokens", token).text
    answer = phone.use(options_of(admin, "/account/security/confirm/options"))
    assert admin.post_form("/account/security/confirm", {"passkey": answer}).status_code == 204
    assert audit.events(action=Action.STEPPED_UP)[0].details == "passkey"
    assert admin.post_form("/account/tokens", token).status_code == 201


def test_a_megabyte_is_refused(admin: Visitor) -> None:
    admin.get(NEW)
    assert admin.post_form(NEW, {"name": "phone", "passkey": "A" * 1_000_000}).status_code in (413, 422)
    assert ways.of_account(1).passkeys == 0


def test_a_browser_that_is_new_to_an_account_is_told_of_by_mail_but_not_the_first_ever(app: Flask) -> None:
    make_alice()
    known = visit(app)
    for visitor in (known, visit(app), known):
        visitor.sign_in()
        visitor.post_form("/logout")
    with reading() as session:
        assert session.scalars(select(OutboxMail.kind)).all() == ["new_sign_in"]


class TestAtAnAddress:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"BASE_URL": "http://127.0.0.1:5000"}

    def test_there_are_none_and_the_page_says_why(self, app: Flask, admin: Visitor) -> None:
        page = admin.get("/account/security").text
        assert "Not available" in page
        assert relying_party.IS_ADDRESS in page
        assert "Sign in with a passkey" not in visit(app).get("/login").text


class TestWhereTheProviderAloneSignsIn:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        provider = {"OIDC_ISSUER": "https://id.example.com", "OIDC_CLIENT_ID": "sealpost", "OIDC_ONLY": "true"}
        return environment | provider | {"OIDC_CLIENT_SECRET": "secret-of-the-client"}

    def test_no_passkey_does(self, app: Flask) -> None:
        make_alice()
        device = Authenticator()
        passkeys.add(1, "", device.create(passkeys.options_to_create(1, "x")), bound_to="x", but="")
        app.config["WTF_CSRF_METHODS"] = []  # no page is left from which a token would come
        alice = visit(app)
        assert alice.post("/login/passkey/options").status_code == 403
        answer = device.use(passkeys.options_to_use("", passkeys.Purpose.SIGN_IN))
        assert alice.post("/login/passkey", data={"passkey": answer}).status_code == 403
        assert sessions.of_account(1) == []
