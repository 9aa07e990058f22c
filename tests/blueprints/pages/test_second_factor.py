"""A second factor on the pages and on the command line: enrol, sign in, lose the phone, come back."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from database.engine import transaction
from database.session_db import BrowserSession
from services import audit
from services.accounts import accounts, sessions
from services.accounts.proofs import Proof
from services.audit import Action
from services.factors import ways
from tests.second_factors import App, enrol
from tests.turned_clock import Now
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, visit
from utils import clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def phone(app: Flask, now: Now) -> App:
    """Of Alice, an administrator; a minute ago."""
    phone, _ = enrol(make_alice(is_admin=True).id)
    now.turn(60)
    return phone


def grow_old() -> None:
    """Let all sessions have been proven eleven minutes ago."""
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=11)))


def test_an_app_is_set_up_with_a_picture_and_a_secret_and_its_codes_are_shown_once(
    app: Flask, admin: Visitor, now: Now
) -> None:
    assert admin.post_form("/account/security/app").status_code == 303
    page = admin.get("/account/security/app").text
    secret = re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert secret
    assert "<svg" in page
    assert 'd="M' in page
    phone = App(secret[1])
    wrong = admin.post_form("/account/security/app/confirm", {"code": "000000"})
    assert wrong.status_code == 422
    assert secret[1] in wrong.text
    done = admin.post_form("/account/security/app/confirm", {"code": phone.code()})
    assert done.status_code == 201
    assert done.headers["Cache-Control"] == "no-store"
    codes = re.findall(r"[A-Z2-9]{5}-[A-Z2-9]{5}-[A-Z2-9]{5}", done.text)
    assert len(codes) == 10
    shown = admin.get("/account/security").text
    assert "10 of 10 left" in shown
    assert codes[0] not in shown
    assert sessions.of_account(1)[0].proven_by == (Proof.PASSWORD, Proof.TOTP)
    assert admin.get("/account/security/app").status_code == 303


def test_setting_up_an_app_asks_for_a_recent_sign_in(app: Flask, admin: Visitor) -> None:
    grow_old()
    assert 'name="confirm_password"' in admin.get("/account/security").text
    assert admin.post_form("/account/security/app", {"x": "y"}).status_code == 422
    assert admin.post_form("/account/security/app", {"confirm_password": PASSWORD}).status_code == 303


def test_a_right_password_leads_to_the_second_step_which_says_nothing_of_the_account(app: Flask, phone: App) -> None:
    alice = visit(app)
    led = alice.sign_in(next="/emails")
    assert led.headers["Location"] == "/login/second?next=/emails"
    page = alice.get(led.headers["Location"]).text
    assert "alice" not in page
    assert not alice.is_signed_in()
    assert audit.events(action=Action.SIGNED_IN) == []
    wrong = alice.post_form("/login/second", {"code": "000000", "next": "/emails"})
    assert wrong.status_code == 401
    assert "alice" not in wrong.text
    assert audit.events(action=Action.SECOND_FACTOR_FAILED)
    done = alice.post_form("/login/second", {"code": phone.code(), "next": "/emails"})
    assert done.headers["Location"] == "/emails"
    assert audit.events(action=Action.SIGNED_IN)[0].details == "password and authenticator app"
    assert "with password and authenticator app" in alice.get("/account").text


def test_the_second_step_needs_the_first(app: Flask, phone: App) -> None:
    stranger = visit(app)
    assert stranger.get("/login/second").headers["Location"] == "/login"
    assert stranger.post_form("/login/second", {"code": phone.code()}).headers["Location"] == "/login"
    assert not stranger.is_signed_in()


def test_with_a_recovery_code_one_gets_in_and_is_told_how_many_are_left(app: Flask, now: Now) -> None:
    _, codes = enrol(make_alice().id)
    alice = visit(app)
    alice.sign_in()
    alice.post_form("/login/second", {"code": codes[3]})
    assert "9 recovery codes left" in alice.get("/account").text


def test_a_password_that_was_reset_by_link_does_not_pass_the_second_factor(app: Flask, phone: App) -> None:
    accounts.reset_password("alice", NEW_PASSWORD)
    alice = visit(app)
    assert alice.sign_in(password=NEW_PASSWORD).headers["Location"] == "/login/second"
    assert not alice.is_signed_in()


def signed_in_with(app: Flask, phone: App, now: Now) -> Visitor:
    alice = visit(app)
    alice.sign_in()
    assert alice.post_form("/login/second", {"code": phone.code()}).status_code == 303
    now.turn(60)
    return alice


def test_a_deed_asks_for_both_factors_again_after_ten_minutes_and_keeps_what_was_typed(
    app: Flask, phone: App, now: Now
) -> None:
    alice = signed_in_with(app, phone, now)
    grow_old()
    typed = {"name": "deploy script", "scope_send": "1"}
    for lacking in ({}, {"confirm_password": PASSWORD}, {"confirm_code": phone.code()}):
        refused = alice.post_form("/account/tokens", typed | lacking)
        assert refused.status_code == 422
        assert "deploy script" in refused.text
    wrong = alice.post_form("/account/tokens", typed | {"confirm_password": PASSWORD, "confirm_code": "000000"})
    assert wrong.status_code == 422
    proven = {"confirm_password": PASSWORD, "confirm_code": phone.code()}
    assert alice.post_form("/account/tokens", typed | proven).status_code == 201
    event = audit.events(action=Action.STEPPED_UP)[0]
    assert (event.actor, event.details) == ("alice", "password and authenticator app")
    assert alice.post_form("/account/tokens", typed).status_code == 201


def test_an_app_that_is_removed_ends_the_other_sessions_and_the_codes(app: Flask, phone: App, now: Now) -> None:
    alice, elsewhere = signed_in_with(app, phone, now), signed_in_with(app, phone, now)
    assert alice.post_form("/account/security/app/remove").status_code == 303
    assert alice.is_signed_in()
    assert not elsewhere.is_signed_in()
    assert ways.of_account(1).codes_left == 0
    assert visit(app).sign_in().headers["Location"] == "/"


def test_the_last_administrator_who_is_locked_out_comes_back_by_command(app: Flask, phone: App) -> None:
    shown = app.test_cli_runner().invoke(args=["account", "mfa", "show", "alice"])
    assert "authenticator app" in shown.output
    assert "10 recovery codes left" in shown.output
    done = app.test_cli_runner().invoke(args=["account", "mfa", "reset", "alice"])
    assert done.exit_code == 0
    assert audit.events(action=Action.SECOND_FACTOR_RESET)
    alice = visit(app)
    assert alice.sign_in().headers["Location"] == "/"
    assert alice.is_signed_in()


class TestThePolicy:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"SECOND_FACTOR_DAYS": "7"}

    def test_asks_administrators_at_sign_in_and_after_its_days_lets_them_do_nothing_else(
        self, app: Flask, now: Now
    ) -> None:
        make_alice(is_admin=True)
        alice = visit(app)
        assert alice.sign_in(next="/emails").headers["Location"] == "/account/security/required?next=/emails"
        asked = alice.get("/account/security/required?next=/emails").text
        assert "Not now</a>" in asked
        assert alice.get("/emails").status_code == 200
        now.turn(7 * 86_400)
        alice.sign_in()
        assert alice.get("/emails").headers["Location"] == "/account/security/required"
        assert "Not now</a>" not in alice.get("/account/security/required").text
        assert alice.get("/api/settings/smtp").status_code == 403
        alice.post_form("/account/security/app")
        page = alice.get("/account/security/app").text
        phone = App(page.partition('id="secret">')[2].partition("<")[0])
        assert alice.post_form("/account/security/app/confirm", {"code": phone.code()}).status_code == 201
        assert alice.get("/emails").status_code == 200

    def test_asks_nobody_else(self, app: Flask, now: Now) -> None:
        make_alice()
        alice = visit(app)
        assert alice.sign_in().headers["Location"] == "/account"
