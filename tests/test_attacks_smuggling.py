"""Fields that are not the sender's to set: whatever a form, a query or a body says, only what is offered is taken."""

from typing import Final
from urllib.parse import urlencode

import pytest
from flask import Flask

from services.accounts import accounts, api_tokens
from services.accounts.api_tokens import TokenInfo
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, make_bob, visit
from utils.encryption_utils import digest

API: Final = "/api/settings/smtp"
SERVER: Final = {"name": "Primary", "smtp_server": "smtp.example.com", "from_email": "a@example.com", "use_tls": True}
FORM: Final = {
    "name": "Typed",
    "smtp_server": "smtp.example.org",
    "smtp_port": "587",
    "security": "starttls",
    "from_email": "b@example.com",
    "timeout_seconds": "10",
    "is_active": "1",
}


@pytest.fixture
def people(app: Flask) -> dict[str, Visitor]:
    """An administrator and somebody else, signed in."""
    make_alice(is_admin=True)
    make_bob()
    found = {"administrator": visit(app), "account": visit(app)}
    assert found["administrator"].sign_in("alice").status_code == 303
    assert found["account"].sign_in("bob").status_code == 303
    return found


SMUGGLED: Final = {
    "id": "1",
    "account_id": "1",
    "is_admin": "1",
    "username": "root",
    "username_key": "root",
    "email_key": "root@evil.example",
    "password_hash": "$argon2id$x",
    "session_epoch": "99",
    "created_at": "2001-01-01",
    "password_changed_at": "2001-01-01",
    "last_sign_in_at": "2001-01-01",
}


@pytest.mark.parametrize("place", ["form", "query"])
def test_fields_that_are_no_part_of_a_form_change_nothing(people: dict[str, Visitor], place: str) -> None:
    bob, before = people["account"], accounts.everybody()
    query = f"?{urlencode(SMUGGLED)}" if place == "query" else ""
    smuggled = SMUGGLED if place == "form" else {}
    own = {"email": "robert@example.com", "email_password": PASSWORD}
    assert bob.post_form(f"/account/email{query}", {**smuggled, **own}).status_code == 303
    own = {"current_password": PASSWORD, "password": NEW_PASSWORD}
    assert bob.post_form(f"/account/password{query}", {**smuggled, **own}).status_code == 303
    alice, robert = accounts.everybody()
    assert alice == before[0]
    assert robert.session_epoch == before[1].session_epoch + 1
    # The address is asked for, and counts once it is confirmed; a new password stops that.
    for kept in ("id", "username", "email", "is_admin", "created_at", "last_sign_in_at", "disabled_at"):
        assert getattr(robert, kept) == getattr(before[1], kept)


def test_who_sets_up_cannot_choose_more_than_the_form_asks(app: Flask, client: Visitor) -> None:
    code = accounts.issue_setup_code()
    person = {"code": code, "username": "alice", "email": "alice@example.com", "password": PASSWORD}
    smuggled = {name: SMUGGLED[name] for name in ("account_id", "password_hash", "session_epoch", "created_at")}
    assert client.post_form("/setup", {**smuggled, "id": "77", **person}).status_code == 303
    (alice,) = accounts.everybody()
    assert (alice.id, alice.session_epoch, alice.created_at.year > 2001) == (1, 1, True)


READ_ONLY: Final = {
    "id": 77,
    "updated_by": "Mallory",
    "created_at": "2001-01-01",
    "updated_at": "2001-01-01",
    "verified": True,
    "verified_at": "2026-01-01",
    "last_error": "x",
    "failed_over_at": "2001-01-01",
    "failed_over_to": "x",
    "has_password": True,
    "needs_reentry": False,
}
# Each way for a body into the table: with a server there already, or without.
WAYS_IN: Final = {
    "save": ("POST", API, False),
    "save over one": ("POST", API, True),
    "create": ("POST", f"{API}/configs", False),
    "change": ("PATCH", f"{API}/configs/1", True),
}


def send(client: Visitor, bearer: dict[str, str], way: str, **more: object) -> int:
    """Send a server with something added; the status of the answer."""
    method, path, is_stored = WAYS_IN[way]
    if is_stored:
        configs.create(parse_change({**SERVER, "is_active": True}))
    return client.open(path, method=method, json={**SERVER, "is_active": True, **more}, headers=bearer).status_code


@pytest.mark.parametrize("way", WAYS_IN)
def test_read_only_keys_of_the_api_are_ignored(client: Visitor, bearer: dict[str, str], way: str) -> None:
    assert send(client, bearer, way, **READ_ONLY) == (201 if way == "create" else 200)
    shown = client.get(API, headers=bearer).get_json()["data"]
    assert {name for name, value in READ_ONLY.items() if shown[name] == value} == {"needs_reentry"}
    assert shown["updated_by"] == "ADMIN_TOKEN"


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize(
    "key",
    [
        "account_id",
        "key_id",
        "name_key",
        "binding_mac",
        "verified_fingerprint",
        "failover_told_at",
        "__class__",
        "model_fields_set",
    ],
)
def test_no_other_column_can_be_set_by_the_api(client: Visitor, bearer: dict[str, str], way: str, key: str) -> None:
    assert send(client, bearer, way, **{key: 1}) == 422
    assert [stored.row.version for stored in configs.search()] == ([1] if WAYS_IN[way][2] else [])


COLUMNS: Final = {
    "id": "77",
    "account_id": "2",
    "name_key": "mallory",
    "updated_by": "mallory",
    "created_at": "2001-01-01",
    "verified_at": "2026-01-01",
    "verified_fingerprint": "0" * 64,
    "key_id": "0" * 8,
    "binding_mac": "0" * 64,
    "last_error": "x",
    "failed_over_to": "x",
}


def assert_as_offered(stored: StoredConfig | None, version: int) -> None:
    assert stored
    row = stored.row
    assert (row.id, row.account_id, row.name, row.name_key, row.version) == (1, None, "Typed", "typed", version)
    assert (row.updated_by, row.created_at.year > 2001) == ("alice", True)
    nothing = (row.verified_at, row.verified_fingerprint, row.last_error, row.failed_over_to)
    assert nothing == (None,) * 4
    assert stored.is_usable


@pytest.mark.parametrize("place", ["form", "query"])
def test_the_form_of_a_server_cannot_set_more_than_it_shows(people: dict[str, Visitor], place: str) -> None:
    query = f"?{urlencode(COLUMNS)}" if place == "query" else ""
    typed = FORM | (COLUMNS if place == "form" else {})
    assert people["administrator"].post_form(f"/settings/smtp/new{query}", typed).status_code == 303
    assert_as_offered(configs.find_active(), 1)
    assert people["administrator"].post_form(f"/settings/smtp/1{query}", typed).status_code == 303
    assert_as_offered(configs.find_active(), 2)


@pytest.mark.parametrize("switch", ["activate", "deactivate"])
def test_a_switch_changes_nothing_else(people: dict[str, Visitor], switch: str) -> None:
    before = configs.create(parse_change({**SERVER, "is_active": switch == "deactivate"}))
    sent = FORM | COLUMNS | {"asked": "1"}  # as the page that asks sends it
    assert people["administrator"].post_form(f"/settings/smtp/1/{switch}", sent).status_code == 303
    after = configs.get(1)
    assert after.settings == before.settings
    assert (after.row.name, after.row.failover, after.row.account_id) == ("Primary", True, None)
    assert after.row.is_active is (switch == "activate")


def test_who_makes_a_token_cannot_choose_more_than_the_form_asks(people: dict[str, Visitor]) -> None:
    chosen = "sealpost_chosen-by-mallory"
    smuggled = {
        "id": "77",
        "account_id": "2",
        "owner": "bob",
        "text": chosen,
        "prefix": "mallory",
        "token_hash": digest(chosen),
        "created_at": "2001-01-01",
        "expires_at": "2999-01-01",
    }
    answer = people["administrator"].post_form(
        "/account/tokens", {**smuggled, "name": "deploy", "days": "1", "scope_send": "1"}
    )
    assert answer.status_code == 201
    assert api_tokens.find_good(chosen) is None
    (token,) = api_tokens.every()
    assert (token.id, token.owner, token.prefix.startswith("sealpost_")) == (1, "alice", True)
    assert days_of(token) == 1


def days_of(token: TokenInfo) -> int:
    assert token.expires_at
    return (token.expires_at - token.created_at).days
