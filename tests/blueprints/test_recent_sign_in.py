"""Changing a server's password asks for a recent sign-in; that binds sessions and no bearer token."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from database.engine import transaction
from database.session_db import BrowserSession
from services.accounts import accounts, api_tokens
from services.settings import configs
from services.settings.fields import MASK, parse_change
from tests.server_form import FORM
from tests.visitors import PASSWORD, Visitor, visit
from utils import clock

API = "/api/settings/smtp"
STORED = {
    "name": "Primary",
    "smtp_server": "smtp.example.com",
    "smtp_username": "shop",
    "smtp_password": "first password",
    "from_email": "a@example.com",
    "is_active": True,
}


@pytest.fixture
def config_id(app: Flask, admin: Visitor) -> int:
    """A stored server, and a sign-in of eleven minutes ago."""
    config_id = configs.create(parse_change(STORED)).row.id
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=11)))
    return config_id


def password_of(config_id: int) -> str:
    return configs.get(config_id).settings.password.reveal()


def by_session(admin: Visitor, method: str, path: str, body: dict[str, object]) -> int:
    headers = {"X-CSRFToken": admin.csrf_token("/account")}
    return admin.open(path, method=method, json=body, headers=headers).status_code


CHANGES: list[dict[str, object]] = [
    {"smtp_password": "second"},
    {"remove_password": True},
    {"smtp_username": "x", "smtp_password": "y"},
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["POST", "PATCH"])
def test_a_session_that_is_older_changes_no_password_by_the_api(
    admin: Visitor, config_id: int, way: str, change: dict[str, object]
) -> None:
    path = API if way == "POST" else f"{API}/configs/{config_id}"
    assert by_session(admin, way, path, change) == 403
    assert password_of(config_id) == "first password"


@pytest.mark.parametrize("change", [{"from_name": "Shop"}, {"smtp_password": ""}, {"smtp_password": MASK}])
def test_an_older_session_changes_all_else(admin: Visitor, config_id: int, change: dict[str, object]) -> None:
    assert by_session(admin, "PATCH", f"{API}/configs/{config_id}", change) == 200


@pytest.mark.parametrize("is_own", [False, True])
def test_a_bearer_token_is_not_asked(app: Flask, config_id: int, bearer: dict[str, str], is_own: bool) -> None:
    if is_own:
        text, _ = api_tokens.create(accounts.everybody()[0].id, "deploy")
        bearer = {"Authorization": f"Bearer {text}"}
    change = {"smtp_password": "second"}
    assert visit(app).post(API, json=change, headers=bearer).status_code == 200
    assert visit(app).patch(f"{API}/configs/{config_id}", json=change, headers=bearer).status_code == 200
    assert password_of(config_id) == "second"


def test_the_form_asks_for_the_password_and_keeps_what_was_typed(admin: Visitor, config_id: int) -> None:
    path = f"/settings/smtp/{config_id}"
    assert 'name="confirm_password"' in admin.get(path).text
    typed = {**FORM, "smtp_username": "shop", "smtp_password": "s3cond-pw", "from_name": "Typed Shop", "is_active": "1"}
    refused = admin.post_form(path, typed)
    assert refused.status_code == 422
    assert "Typed Shop" in refused.text
    assert "s3cond-pw" not in refused.text
    assert admin.post_form(path, typed | {"confirm_password": "wrong"}).status_code == 422
    assert password_of(config_id) == "first password"
    assert admin.post_form(path, typed | {"confirm_password": PASSWORD}).status_code == 303
    assert password_of(config_id) == "s3cond-pw"


def test_the_form_does_not_ask_within_ten_minutes(admin: Visitor) -> None:
    config_id = configs.create(parse_change(STORED)).row.id
    path = f"/settings/smtp/{config_id}"
    assert 'name="confirm_password"' not in admin.get(path).text
    assert admin.post_form(path, {**FORM, "smtp_username": "shop", "smtp_password": "second"}).status_code == 303


def test_the_first_server_is_no_change_of_one(app: Flask, admin: Visitor) -> None:
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(hours=1)))
    assert by_session(admin, "POST", API, {**STORED}) == 200
