"""`/account/tokens`, where tokens are made, shown once and revoked; `/settings/tokens`, where all are."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from database.engine import transaction
from database.session_db import BrowserSession
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope, TokenInfo
from tests.visitors import PASSWORD, Visitor, make_bob, visit
from utils import clock

URL = "/account/tokens"
ALL = "/settings/tokens"


def create(visitor: Visitor, name: str = "deploy script", days: str = "90", **more: str) -> TestResponse:
    return visitor.post_form(URL, {"name": name, "days": days, "scope_admin": "1", **more})


def token_in(answer: TestResponse) -> str:
    found = re.search(r'<code class="token"[^>]*>(sealpost_[\w-]+)</code>', answer.text)
    assert found
    return found[1]


def the_token() -> TokenInfo:
    (token,) = api_tokens.every()
    return token


def test_the_page_begins_with_the_form(admin: Visitor) -> None:
    assert "New token" in admin.get(URL).text


def test_a_new_token_is_shown_once_and_works(app: Flask, admin: Visitor) -> None:
    answer = create(admin)
    token = token_in(answer)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    assert token not in admin.get(URL).text
    bearer = {"Authorization": f"Bearer {token}"}
    assert visit(app).get("/api/settings/smtp", headers=bearer).status_code == 404  # let in: there is no server yet


def test_the_list_says_whose_token_it_is_and_how_it_stands(admin: Visitor) -> None:
    create(admin)
    page = admin.get(URL).text
    for fact in ("deploy script", the_token().prefix, "for admin", "Active", "Expires", "Never used"):
        assert fact in page
    assert "of alice, for admin" in admin.get(ALL).text


@pytest.mark.parametrize("days", ["", "  ", "90", None])
def test_a_token_lasts_90_days_unless_no_end_is_chosen(admin: Visitor, days: str | None) -> None:
    before = clock.now()
    fields = {"name": "deploy script", "days": days, "scope_send": "1"}
    admin.post_form(URL, {name: text for name, text in fields.items() if text is not None})
    ends = the_token().expires_at
    assert ends is not None
    assert timedelta(days=90) <= ends - before < timedelta(days=90, minutes=5)


def test_the_form_offers_90_days(admin: Visitor) -> None:
    assert re.search(r'<input[^>]*name="days"[^>]*value="90"', admin.get(URL).text)


@pytest.mark.parametrize("days", ["", "90", "7", "many"])
def test_a_token_may_be_without_end(admin: Visitor, days: str) -> None:
    create(admin, days=days, no_end="1")
    assert the_token().expires_at is None
    assert "Never expires" in admin.get(URL).text


@pytest.mark.parametrize("days", ["0", "-1", "3651", "many", "1.5", "٣", "9" * 400])
def test_a_wrong_number_of_days_is_told_at_its_field(admin: Visitor, days: str) -> None:
    answer = create(admin, name="kept name", days=days)
    assert answer.status_code == 422
    assert "Enter 1 to 3650 days, or leave it empty." in answer.text
    assert 'value="kept name"' in answer.text
    assert api_tokens.every() == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb"])
def test_a_wrong_name_is_told(admin: Visitor, name: str) -> None:
    assert create(admin, name=name).status_code == 422
    assert api_tokens.every() == []


def test_ten_minutes_after_the_sign_in_a_token_asks_for_the_password(admin: Visitor) -> None:
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=11)))
    refused = create(admin, name="kept name")
    assert refused.status_code == 422
    assert 'value="kept name"' in refused.text
    assert 'name="confirm_password"' in refused.text
    assert create(admin, confirm_password="wrong").status_code == 422
    assert api_tokens.every() == []
    assert create(admin, confirm_password=PASSWORD).status_code == 201


def test_revoking_asks_first(admin: Visitor) -> None:
    create(admin)
    assert "This cannot be undone." in admin.get(f"{URL}/{the_token().id}/revoke").text
    assert the_token().is_good


def test_a_revoked_token_is_refused_and_told(app: Flask, admin: Visitor) -> None:
    token = token_in(create(admin))
    answer = admin.post_form(f"{URL}/{the_token().id}/revoke")
    assert (answer.status_code, answer.location) == (303, URL)
    assert "Revoked" in admin.get(URL).text
    bearer = {"Authorization": f"Bearer {token}"}
    assert visit(app).get("/api/settings/smtp", headers=bearer).status_code == 401


def test_an_expired_token_is_told(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    create(admin, days="1")
    after = clock.now() + timedelta(days=2)
    monkeypatch.setattr(clock, "now", lambda: after)
    admin.sign_in()
    assert "Expired" in admin.get(URL).text


@pytest.mark.parametrize("token_id", ["1", "99999999999999999999"])
def test_an_unknown_token_cannot_be_revoked(admin: Visitor, token_id: str) -> None:
    assert admin.get(f"{URL}/{token_id}/revoke").status_code == 404
    assert admin.post_form(f"{URL}/{token_id}/revoke").status_code == 404


def test_a_hostile_name_is_shown_as_text(admin: Visitor) -> None:
    create(admin, name="<script>alert(1)</script>")
    assert "<script>alert(1)" not in admin.get(URL).text


def test_without_the_sessions_token_nothing_is_made(admin: Visitor) -> None:
    assert admin.post(URL, data={"name": "x", "days": ""}).status_code == 400
    assert api_tokens.every() == []


@pytest.fixture
def bob(client: Visitor) -> Visitor:
    """An account like others, signed in."""
    make_bob()
    assert client.sign_in("bob").status_code == 303
    return client


def test_every_account_makes_tokens_for_what_it_may_do_itself(app: Flask, bob: Visitor) -> None:
    page = bob.get(URL).text
    assert all(f'name="scope_{scope}"' in page for scope in ("send", "settings", "read"))
    assert 'name="scope_admin"' not in page
    answer = create(bob, scope_admin="", scope_send="1", scope_read="1")
    assert answer.status_code == 201
    assert the_token().scopes == (Scope.SEND, Scope.READ)
    assert "for send, read" in bob.get(URL).text
    bearer = {"Authorization": f"Bearer {token_in(answer)}"}
    assert visit(app).get("/api/smtp/senders", headers=bearer).status_code == 403
    assert visit(app).get("/api/settings/smtp", headers=bearer).status_code == 403


def test_the_scope_of_administrators_is_refused_to_others(bob: Visitor) -> None:
    answer = create(bob)
    assert answer.status_code == 422
    assert "Only administrators can have tokens with the scope admin." in answer.text
    assert api_tokens.every() == []


def test_a_token_for_nothing_is_refused(admin: Visitor) -> None:
    answer = create(admin, name="kept name", scope_admin="")
    assert answer.status_code == 422
    assert "Choose one or more of: send, settings, read, metrics, admin." in answer.text
    assert 'value="kept name"' in answer.text
    assert api_tokens.every() == []


def test_the_form_begins_with_the_least(admin: Visitor) -> None:
    ticked = re.findall(r'name="scope_(\w+)"[^>]* checked', admin.get(URL).text)
    assert ticked == ["send"]


def test_each_sees_and_revokes_only_what_is_their_own(app: Flask, admin: Visitor, bob: Visitor) -> None:
    create(admin, name="of alice")
    of_alice = the_token().id
    assert "of alice" not in bob.get(URL).text
    assert bob.get(f"{URL}/{of_alice}/revoke").status_code == 404
    assert bob.post_form(f"{URL}/{of_alice}/revoke").status_code == 404
    assert bob.post_form(f"{ALL}/{of_alice}/revoke").status_code == 403
    assert the_token().is_good
    create(bob, scope_admin="", scope_send="1")
    of_bob = max(token.id for token in api_tokens.every())
    assert admin.get(f"{URL}/{of_bob}/revoke").status_code == 404
    assert bob.post_form(f"{URL}/{of_bob}/revoke").location == URL


def test_administrators_oversee_every_token(app: Flask, admin: Visitor, bob: Visitor) -> None:
    create(bob, scope_admin="", scope_send="1")
    assert "of bob, for send" in admin.get(ALL).text
    assert admin.post_form(f"{ALL}/{the_token().id}/revoke").location == ALL
    assert the_token().revoked_at
    assert bob.get(ALL).status_code == 403


def test_an_account_has_only_so_many_tokens(bob: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_tokens, "MOST_TOKENS", 2)
    for _ in range(2):
        assert create(bob, scope_admin="", scope_send="1").status_code == 201
    assert create(bob, scope_admin="", scope_send="1").status_code == 422
    api_tokens.revoke(api_tokens.every()[0].id)
    assert create(bob, scope_admin="", scope_send="1").status_code == 201
