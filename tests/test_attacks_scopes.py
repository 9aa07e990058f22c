"""What a token of each scope opens, on every route of the URL map; and what is another account's, by whatever id."""

import re
from typing import Any, Final

import pytest
from flask import Flask

from blueprints.access import limiter
from services.accounts import accounts, administration, api_tokens
from services.accounts.api_tokens import Scope
from services.personal import own_server
from services.settings.fields import parse_change
from tests.visitors import PASSWORD, Visitor, make_alice, make_bob, visit

OF_ACCOUNTS: Final = (Scope.SEND, Scope.SETTINGS, Scope.READ)
LET_IN: Final = (200, 202, 400, 404, 409, 415, 422)
# Which scope what needs; the rest is asked of the routes themselves.
NEEDED: Final = {
    "/api/smtp/settings": Scope.SETTINGS,
    "/api/smtp/test": Scope.SETTINGS,
    "/api/smtp/senders": Scope.SETTINGS,
}
SERVER: Final = {
    "smtp_server": "127.74.0.1",
    "smtp_port": 2525,
    "smtp_username": "bob@example.com",
    "smtp_password": "secret",
}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8"}


@pytest.fixture
def bob(app: Flask) -> int:
    """Somebody with a server of his own."""
    make_alice(is_admin=True)
    account_id = make_bob().id
    own_server.save(account_id, parse_change(SERVER))
    return account_id


def api_routes(app: Flask) -> list[tuple[str, str, str, Scope | None]]:
    """Method, path, guard and scope of each route of the API, from the URL map; a mail or a number is none that is."""
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        path = re.sub("<int:[a-z_]+>", "999", str(rule.rule)).replace("<mail_id>", "0" * 32)
        if path.startswith("/api/"):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                found.append((method, path, getattr(view, "guard", ""), getattr(view, "scope", None)))
    return found


def status_of(visitor: Visitor, method: str, path: str, headers: dict[str, str]) -> int:
    limiter.storage.reset()  # of as many refusals as there are routes the last would be told something else
    body: dict[str, Any] = {"json": {}} if method != "GET" else {}
    return visitor.open(path, method=method, headers=headers, **body).status_code


def bearer_of(account_id: int, *scopes: Scope) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(account_id, 'own', scopes=scopes)[0]}"}


@pytest.mark.parametrize("scope", OF_ACCOUNTS)
def test_a_token_opens_what_its_scope_is_for_and_nothing_else(app: Flask, bob: int, scope: Scope) -> None:
    headers, visitor = bearer_of(bob, scope), visit(app)
    wrong = {}
    for method, path, guard, needed in api_routes(app):
        if guard not in ("admin_api", "account_api"):
            continue
        status = status_of(visitor, method, path, headers)
        is_open = guard == "account_api" and needed in (None, scope)
        if status not in (LET_IN if is_open else (403,)):
            wrong[f"{method} {path}"] = status
    assert wrong == {}


def test_each_call_about_an_own_server_needs_the_scope_for_it(app: Flask) -> None:
    found = {path: needed for _, path, _, needed in api_routes(app) if path in NEEDED}
    assert found == NEEDED


@pytest.mark.parametrize("scope", [*OF_ACCOUNTS, Scope.ADMIN])
def test_a_token_opens_nothing_once_it_is_revoked_or_its_account_disabled(app: Flask, bob: int, scope: Scope) -> None:
    owner = bob if scope is not Scope.ADMIN else accounts.everybody()[0].id
    headers, visitor = bearer_of(owner, scope), visit(app)
    closed = [route for route in api_routes(app) if route[2] in ("admin_api", "account_api")]
    for token in api_tokens.every(owner):
        api_tokens.revoke(token.id)
    assert {status_of(visitor, method, path, headers) for method, path, _, _ in closed} == {401}
    if scope is not Scope.ADMIN:
        headers = bearer_of(owner, scope)
        administration.disable(owner)
        assert {status_of(visitor, method, path, headers) for method, path, _, _ in closed} == {401}


@pytest.mark.parametrize("scopes", [(Scope.SETTINGS,), OF_ACCOUNTS])
def test_another_accounts_token_changes_nothing_of_a_server(app: Flask, bob: int, scopes: tuple[Scope, ...]) -> None:
    carol = accounts.create("carol", "carol@example.com", PASSWORD).id
    headers, visitor = bearer_of(carol, *scopes), visit(app)
    before = own_server.find(bob)
    assert before is not None
    for method, path, guard, _ in api_routes(app):
        if guard != "account_api":
            continue
        for query in (f"?account_id={bob}", f"?id={before.row.id}", "?user=bob@example.com"):
            status_of(visitor, method, path.replace("999", str(before.row.id)) + query, headers)
        body = {"account_id": bob, "accountId": bob, "id": before.row.id}
        visitor.open(path, method=method, headers=headers, json=body)
    after = own_server.find(bob)
    assert after is not None
    assert after.row == before.row
