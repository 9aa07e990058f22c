"""What a token of one scope may do, and what nobody may do with what is another account's, at every route."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask

from blueprints.access import limiter
from services import email_service
from services.accounts import accounts, administration, api_tokens
from services.accounts.accounts import Person
from services.accounts.api_tokens import OF_ADMINISTRATORS, Scope
from services.outbox import log
from services.personal import senders
from tests.own_servers import bring
from tests.test_attacks import (
    MATRIX,
    ROLES,
    SIGN_IN,
    Outcome,
    as_they_were,
    environment,
    outcome_of,
    routes,
    written_down,
)
from tests.visitors import NEW_PASSWORD, Visitor, make_alice, make_bob, visit

__all__ = ["environment"]  # the fixture

# Each route that is for accounts, and what a token must be good for there.
SCOPES: Final = {
    "GET /api/smtp/settings": Scope.SETTINGS,
    "POST /api/smtp/settings": Scope.SETTINGS,
    "DELETE /api/smtp/settings": Scope.SETTINGS,
    "POST /api/smtp/test": Scope.SETTINGS,
    "GET /api/smtp/oauth": Scope.SETTINGS,
    "PUT /api/smtp/oauth": Scope.SETTINGS,
    "DELETE /api/smtp/oauth": Scope.SETTINGS,
    "POST /api/smtp/oauth/authorize": Scope.SETTINGS,
    "POST /api/smtp/oauth/finish": Scope.SETTINGS,
    "POST /api/smtp/oauth/device": Scope.SETTINGS,
    "POST /api/smtp/oauth/poll": Scope.SETTINGS,
    "POST /api/smtp/oauth/obtain": Scope.SETTINGS,
    "POST /api/smtp/oauth/check": Scope.SETTINGS,
    "GET /api/smtp/usage": Scope.READ,
    "GET /api/smtp/senders": Scope.SETTINGS,
    "POST /api/smtp/senders": Scope.SETTINGS,
    "DELETE /api/smtp/senders/1": Scope.SETTINGS,
    "GET /api/settings/smtp/providers": Scope.SETTINGS,
    "GET /api/settings/smtp/discover": Scope.SETTINGS,
    "POST /api/messages/send-email": Scope.SEND,
    "GET /api/messages": Scope.READ,
    "GET /api/messages/export": Scope.READ,
    "GET /api/messages/<mail_id>": Scope.READ,
    "POST /api/messages/<mail_id>/retry": Scope.SEND,
    "POST /api/messages/<mail_id>/cancel": Scope.SEND,
}
UNKNOWN: Final = 401
OF_ACCOUNTS: Final = tuple(scope for scope in Scope if scope not in OF_ADMINISTRATORS)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def expected(route: str, scopes: tuple[Scope, ...]) -> Outcome:
    """What a token of an account comes to: what its session would, if the token is good for that."""
    by_role = dict(zip(ROLES, MATRIX[route], strict=True))
    if route in SCOPES:
        return by_role["account"] if SCOPES[route] in scopes else 403
    if SIGN_IN in (by_role["anonymous"], by_role["right bearer"]):
        return SIGN_IN  # a token opens no page
    return 403 if (by_role["anonymous"], by_role["account"]) == (401, 403) else by_role["anonymous"]


def test_each_route_for_accounts_wants_the_scope_that_is_written_here(app: Flask) -> None:
    found: dict[str, Scope] = {}
    for rule in app.url_map.iter_rules():
        scope = getattr(app.view_functions[rule.endpoint], "scope", None)
        if scope in OF_ACCOUNTS:
            path = re.sub("<int:[a-z_]+>", "1", str(rule.rule))
            found |= {f"{method} {path}": scope for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert found == SCOPES


@pytest.mark.parametrize("scopes", [*((scope,) for scope in OF_ACCOUNTS), OF_ACCOUNTS], ids=", ".join)
def test_a_token_of_an_account_opens_what_it_is_good_for_and_nothing_else(
    app: Flask, scopes: tuple[Scope, ...]
) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    headers = {"Authorization": f"Bearer {api_tokens.create(bob.id, 'script', scopes=scopes)[0]}"}
    program = visit(app)
    headers["X-CSRFToken"] = program.csrf_token()
    found = {}
    for method, path in routes(app):
        as_they_were()
        limiter.storage.reset()
        body: dict[str, Any] = {}
        if method != "GET":
            body = {"json": {}} if path.startswith("/api/") else {"data": {}}
        answer = program.open(path, method=method, headers=headers, **body)
        found[f"{method} {path}"] = outcome_of(answer)
    assert found == {route: expected(route, scopes) for route in MATRIX}


def test_the_scopes_of_an_administrators_token_are_its_limits_too(app: Flask) -> None:
    alice = make_alice(is_admin=True)
    headers = {"Authorization": f"Bearer {api_tokens.create(alice.id, 'script', scopes=OF_ACCOUNTS)[0]}"}
    for route, outcomes in MATRIX.items():
        method, path = route.split(" ")
        if outcomes[:2] == (401, 403):
            limiter.storage.reset()
            assert visit(app).open(path, method=method, json={}, headers=headers).status_code == 403, route


@pytest.mark.parametrize("end", ["revoked", "disabled"])
def test_a_token_that_is_over_opens_nothing(app: Flask, end: str) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    text, made = api_tokens.create(bob.id, "script", scopes=OF_ACCOUNTS)
    if end == "revoked":
        api_tokens.revoke(made.id)
    else:
        administration.disable(bob.id)
    found = set()
    for method, path in (route.split(" ") for route, outcomes in MATRIX.items() if outcomes[0] == UNKNOWN):
        if not path.startswith("/api/"):
            continue
        limiter.storage.reset()
        found.add(visit(app).open(path, method=method, json={}, headers=bearer(text)).status_code)
    assert found == {UNKNOWN}


BOBS: Final = "bobs-canary"
NUMBER_OF_ROWS: Final = 4  # the account, its server, its sender, its token; a mail is sealed


@pytest.fixture
def bob(app: Flask) -> Person:
    """Somebody with one of everything that an account has, each with a canary in it."""
    make_alice(is_admin=True)
    bob = make_bob()
    bring(bob.id, f"{BOBS}.example", 587)
    senders.add(bob.id, f"{BOBS}@sender.example")
    api_tokens.create(bob.id, f"{BOBS} token", scopes=OF_ACCOUNTS)
    email_service.queue_email(f"{BOBS}@recipient.example", f"{BOBS} subject", "Text", account_id=bob.id)
    assert visit(app).sign_in("bob").status_code == 303
    return bob


@pytest.fixture
def carol(app: Flask, bob: Person) -> Visitor:
    """Somebody else, signed in."""
    accounts.create("carol", "carol@example.com", NEW_PASSWORD)
    visitor = visit(app)
    assert visitor.sign_in("carol", NEW_PASSWORD).status_code == 303
    return visitor


def headers_of(login: str) -> dict[str, str]:
    person = accounts.find_by_login(login)
    assert person is not None
    return bearer(api_tokens.create(person.id, "script", scopes=OF_ACCOUNTS)[0])


def of_bob(folder: Path) -> list[str]:
    """All that the database holds with bob's canary, or of his account."""
    found = [line for line in written_down(folder) if BOBS in line or "bob@example.com" in line]
    assert len(found) >= NUMBER_OF_ROWS
    return found


def paths_of_bob(app: Flask, bob: Person) -> list[tuple[str, str]]:
    """Every route that has ids in its path, with those of what is bob's."""
    found, _ = log.mails(account_id=bob.id)
    own = {
        "<int:token_id>": str(api_tokens.every(bob.id)[0].id),
        "<int:sender_id>": str(senders.every(bob.id)[0].id),
        "<int:account_id>": str(bob.id),
        "<int:config_id>": "1",  # the only server there is
        "<mail_id>": found[0].id,
        "<deed>": "delete",
    }
    paths = []
    for rule in app.url_map.iter_rules():
        path = str(rule.rule)
        for variable, value in own.items():
            path = path.replace(variable, value)
        if path != str(rule.rule):
            paths += [(method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return paths


@pytest.mark.parametrize("has_session", [True, False])
def test_no_id_of_another_account_in_the_path_opens_anything(
    app: Flask, tmp_path: Path, bob: Person, carol: Visitor, has_session: bool
) -> None:
    headers = {"X-CSRFToken": carol.csrf_token()} if has_session else headers_of("carol")
    before = of_bob(tmp_path)
    for method, path in paths_of_bob(app, bob):
        limiter.storage.reset()
        body: dict[str, Any] = {}
        if method != "GET":
            body = {"json": {}} if path.startswith("/api/") else {"data": {"confirm_password": NEW_PASSWORD}}
        answer = (carol if has_session else visit(app)).open(path, method=method, headers=headers, **body)
        assert outcome_of(answer) in (403, 404, *([] if has_session else [SIGN_IN])), (method, path)
        assert BOBS not in answer.text, (method, path)
    assert of_bob(tmp_path) == before


def test_no_id_of_another_account_in_query_or_body_is_heeded(
    app: Flask, tmp_path: Path, bob: Person, carol: Visitor
) -> None:
    headers = headers_of("carol")
    found, _ = log.mails(account_id=bob.id)
    ids: dict[str, Any] = dict.fromkeys(("account_id", "accountId", "account", "owner_id", "ownerId"), bob.id)
    ids |= {"user_id": bob.id, "username": "bob", "id": found[0].id, "mail_id": found[0].id, "mailId": found[0].id}
    before = of_bob(tmp_path)
    for route in SCOPES:
        method, path = route.split(" ")
        for name, value in ids.items():
            limiter.storage.reset()
            asked = {"query_string": {name: value}}
            told = visit(app).open(path, method=method, headers=headers, **asked)
            assert told.status_code in (200, 404, 415, 422), (route, name)  # 200: what is nobody's, or reads no query
            if method != "GET":
                answer = visit(app).open(path, method=method, headers=headers, json={name: value})
                assert answer.status_code in (200, 404, 422), (route, name)  # 200: what reads no body
                assert BOBS not in answer.text
            assert BOBS not in told.text
    assert of_bob(tmp_path) == before


@pytest.mark.parametrize(
    "page", ["/account/tokens", "/account/senders", "/account/sessions/end", "/account/smtp", "/account"]
)
def test_no_page_of_ones_own_heeds_another_account(tmp_path: Path, bob: Person, carol: Visitor, page: str) -> None:
    before = of_bob(tmp_path)
    ids = {"account_id": str(bob.id), "account": "bob", "owner": "bob", "username": "bob"}
    assert BOBS not in carol.get(page, query_string=ids).text
    carol.post_form(page, {**ids, "name": "x", "scope_send": "1", "sender_email": "a@example.org", "tokens": "1"})
    assert of_bob(tmp_path) == before


def test_the_end_of_a_token_or_an_account_is_the_end_of_what_is_under_way(app: Flask, bob: Person) -> None:
    token = api_tokens.every(bob.id)[0]
    text, made = api_tokens.create(bob.id, "in use", scopes=OF_ACCOUNTS)
    script, person = visit(app), visit(app)
    person.sign_in("bob")
    headers = {"Authorization": f"Bearer {text}"}
    assert script.get("/api/messages", headers=headers).status_code == 200
    api_tokens.revoke(made.id)
    assert script.get("/api/messages", headers=headers).status_code == 401
    assert token.is_good
    text, _ = api_tokens.create(bob.id, "in use again", scopes=OF_ACCOUNTS)
    headers = {"Authorization": f"Bearer {text}"}
    administration.disable(bob.id)
    assert script.get("/api/messages", headers=headers).status_code == 401
    assert outcome_of(person.get("/account")) == SIGN_IN
    administration.enable(bob.id)
    assert script.get("/api/messages", headers=headers).status_code == 401
