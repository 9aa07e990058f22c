"""Administrators' API tokens at the door of the API."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from app import create_app
from database.api_token_db import ApiToken
from database.engine import transaction
from database.user_db import Account
from services.accounts import accounts, api_tokens
from tests.conftest import ADMIN_TOKEN
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, visit
from utils import clock

URL = "/api/settings/smtp"


@pytest.fixture
def token(app: Flask) -> str:
    """An API token of Alice, an administrator."""
    return api_tokens.create(make_alice(is_admin=True).id, "deploy")[0]


def status(app: Flask, token: str, path: str = URL) -> int:
    """Of reading the API with a token: 404 is its answer where nothing is configured, 401 is the door's."""
    return visit(app).get(path, headers={"Authorization": f"Bearer {token}"}).status_code


def test_an_api_token_opens_the_api(app: Flask, token: str) -> None:
    assert status(app, token) == 404


def test_a_write_by_api_token_needs_no_csrf_token(app: Flask, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert visit(app).post(URL, json={"no": "field"}, headers=headers).status_code == 422


def test_an_api_token_works_without_an_admin_token(environment: dict[str, str], tmp_path: Path, token: str) -> None:
    app = create_app(environment | {"ADMIN_TOKEN": ""}, instance_path=tmp_path)
    assert status(app, token) == 404
    assert status(app, ADMIN_TOKEN) == 401


def test_the_admin_token_works_beside_api_tokens(app: Flask, token: str) -> None:
    assert status(app, ADMIN_TOKEN) == 404


def test_a_revoked_token_opens_nothing(app: Flask, token: str) -> None:
    api_tokens.revoke(api_tokens.every()[0].id)
    assert status(app, token) == 401


def test_an_expired_token_opens_nothing(app: Flask, token: str) -> None:
    with transaction() as session:
        session.execute(update(ApiToken).values(expires_at=clock.now() - timedelta(seconds=1)))
    assert status(app, token) == 401


def test_a_token_of_who_is_no_administrator_any_more_opens_nothing(app: Flask, token: str) -> None:
    with transaction() as session:
        session.execute(update(Account).values(is_admin=False))
    assert status(app, token) == 401


def test_a_token_opens_nothing_after_a_new_password(app: Flask, token: str) -> None:
    accounts.change_password(accounts.everybody()[0].id, PASSWORD, NEW_PASSWORD)
    assert status(app, token) == 401


def test_a_token_counts_in_the_header_only(app: Flask, token: str) -> None:
    visitor = visit(app)
    for place in (f"?token={token}", f"?access_token={token}", f"?Authorization=Bearer+{token}"):
        assert visitor.get(URL + place).status_code == 401
    visitor.set_cookie("Authorization", f"Bearer {token}")
    assert visitor.get(URL, headers={"X-Api-Key": token}).status_code == 401


def test_a_token_opens_no_page(app: Flask, token: str) -> None:
    assert status(app, token, "/settings/smtp") == 303
    assert status(app, token, "/account") == 303


def test_a_wrong_api_token_is_not_saved_by_a_session(admin: Visitor) -> None:
    assert admin.get(URL, headers={"Authorization": "Bearer sealpost_wrong"}).status_code == 401


def test_wrong_api_tokens_are_limited_together_with_other_wrong_tokens(app: Flask, token: str) -> None:
    wrong = [f"{token[:-2]}!{number}" for number in range(10)] + [f"guess {number}" for number in range(10)]
    assert {status(app, text) for text in wrong} == {401}
    assert status(app, "sealpost_another") == 429
    assert status(app, token) == 404


def test_right_api_tokens_are_not_counted(app: Flask, token: str) -> None:
    assert {status(app, token) for _ in range(30)} == {404}
