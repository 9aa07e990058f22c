"""API tokens: how they are made, kept, used and ended, and what ends them all."""

import hashlib
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from app import create_app
from database.api_token_db import ApiToken
from database.engine import transaction
from database.user_db import Account
from services import audit
from services.accounts import accounts, address_change, administration, api_tokens, password_reset, sessions
from services.accounts.api_tokens import Scope
from tests.outbox import answer_requests
from tests.recording_server import RecordingServer
from tests.secret_scanner import found_in
from tests.visitors import NEW_PASSWORD, PASSWORD, link_in, mail_through, make_alice, make_bob
from utils import clock
from utils.errors import InvalidInput, NotFound

pytestmark = pytest.mark.usefixtures("app")


def make_token(days: int | None = None, name: str = "deploy") -> str:
    """A token of Alice, an administrator."""
    alice = next((person for person in accounts.everybody() if person.username == "alice"), None)
    return api_tokens.create((alice or make_alice(is_admin=True)).id, name, days)[0]


def change_tokens(**values: object) -> None:
    with transaction() as session:
        session.execute(update(ApiToken).values(**values))


def change_accounts(**values: object) -> None:
    with transaction() as session:
        session.execute(update(Account).values(**values))


def recorded(action: str) -> list[str]:
    return [event.subject for event in audit.events(action=action)]


def test_a_token_names_its_administrator() -> None:
    found = api_tokens.find_good(make_token())
    assert found is not None
    assert (found.owner, found.name) == ("alice", "deploy")


def test_a_token_has_a_prefix_for_secret_scanners_and_256_random_bits() -> None:
    first, second = make_token(), make_token()
    assert first != second
    assert first.startswith("sealpost_")
    assert len(first) == len("sealpost_") + 43


def test_only_the_digest_and_the_first_characters_are_stored(tmp_path: Path) -> None:
    text = make_token()
    with sqlite3.connect(tmp_path / "test.db") as connection:
        dump = "\n".join(connection.iterdump()).encode()
    connection.close()
    assert found_in(dump, {"token": [text], "its random part": [text.removeprefix("sealpost_")]}) == set()
    assert hashlib.sha256(text.encode()).hexdigest().encode() in dump


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "sealpost_",
        lambda text: text[:15],
        lambda text: text[:-1],
        lambda text: text + "x",
        lambda text: f" {text}",
        lambda text: text.removeprefix("sealpost_"),
        lambda text: text.swapcase(),
        lambda text: hashlib.sha256(text.encode()).hexdigest(),
        lambda text: "sealpost_" + hashlib.sha256(text.encode()).hexdigest(),
        lambda text: "sealpost_\ud800",
        lambda text: "sealpost_" + "%" * 50_000,
    ],
)
def test_what_is_not_quite_the_token_is_nobody(change: Callable[[str], str]) -> None:
    assert api_tokens.find_good(change(make_token())) is None


def test_a_token_ends_on_its_day() -> None:
    text = make_token(days=1)
    assert api_tokens.find_good(text)
    change_tokens(expires_at=clock.now())
    assert api_tokens.find_good(text) is None
    assert not api_tokens.every()[0].is_good


def test_a_revoked_token_is_nobody() -> None:
    text = make_token()
    api_tokens.revoke(api_tokens.every()[0].id)
    assert api_tokens.find_good(text) is None


def test_a_token_is_revoked_once() -> None:
    make_token()
    token_id = api_tokens.every()[0].id
    assert api_tokens.revoke(token_id).revoked_at
    for unknown in (token_id, token_id + 1):
        with pytest.raises(NotFound):
            api_tokens.revoke(unknown)
    assert len(recorded("token_revoked")) == 1


def test_a_token_is_nobody_once_its_owner_is_no_administrator() -> None:
    text = make_token()
    change_accounts(is_admin=False)
    assert api_tokens.find_good(text) is None


def test_who_is_no_administrator_gets_no_token_of_that_scope() -> None:
    bob = make_bob()
    for scopes in ([], ["admin"], ["send", "admin"], ["everything"], ["send", ""], ["SEND"]):
        with pytest.raises(InvalidInput) as refusal:
            api_tokens.create(bob.id, "deploy", scopes=scopes)
        assert set(refusal.value.errors) == {"scopes"}
    with pytest.raises(NotFound):
        api_tokens.create(4711, "deploy")
    assert api_tokens.every() == []
    assert recorded("token_created") == []


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ADMIN])
def test_a_token_is_good_for_its_scopes_alone(scope: Scope) -> None:
    text, _ = api_tokens.create(make_bob(is_admin=True).id, "script", scopes=[scope])
    found = api_tokens.find_good(text)
    assert found is not None
    assert [each for each in Scope if found.allows(each)] == [scope]


def test_the_office_goes_with_its_tokens_and_leaves_the_others() -> None:
    make_alice(is_admin=True)
    bob = make_bob(is_admin=True)
    texts = [
        api_tokens.create(bob.id, "script", scopes=scopes)[0] for scopes in (["admin"], ["send", "admin"], ["send"])
    ]
    administration.demote(bob.id)
    administration.promote(bob.id)
    assert [api_tokens.find_good(text) is not None for text in texts] == [False, False, True]


def test_a_promoted_accounts_tokens_stay_as_they_were_made() -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    text, _ = api_tokens.create(bob.id, "script", scopes=["send"])
    administration.promote(bob.id)
    found = api_tokens.find_good(text)
    assert found is not None
    assert not found.allows(Scope.ADMIN)


@pytest.mark.parametrize("end", [administration.disable, administration.delete])
def test_a_disabled_or_deleted_account_has_no_token(end: Callable[[int], object]) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    text, _ = api_tokens.create(bob.id, "script", scopes=["send"])
    end(bob.id)
    assert api_tokens.find_good(text) is None


@pytest.mark.parametrize("name", ["", " ", "a\r\nb", "a\x1b[31m", "a\u202eb", "\ud800", "x" * 65, "x" * 10_240])
def test_an_unfit_name_is_refused(name: str) -> None:
    alice = make_alice(is_admin=True)
    with pytest.raises(InvalidInput) as refusal:
        api_tokens.create(alice.id, name)
    assert set(refusal.value.errors) == {"name"}


@pytest.mark.parametrize("days", [0, -1, 3651, 10**12])
def test_an_unfit_life_is_refused(days: int) -> None:
    alice = make_alice(is_admin=True)
    with pytest.raises(InvalidInput) as refusal:
        api_tokens.create(alice.id, "deploy", days)
    assert set(refusal.value.errors) == {"days"}


def test_the_use_of_a_token_is_noted_by_the_minute() -> None:
    text, now = make_token(), clock.now()
    assert api_tokens.every()[0].last_used_at is None
    api_tokens.find_good(text)
    first = api_tokens.every()[0].last_used_at
    assert first is not None
    assert first >= now
    api_tokens.find_good(text)
    assert api_tokens.every()[0].last_used_at == first
    change_tokens(last_used_at=now - timedelta(minutes=2))
    api_tokens.find_good(text)
    noted = api_tokens.every()[0].last_used_at
    assert noted is not None
    assert noted >= first


def test_a_token_is_good_where_its_use_cannot_be_noted(tmp_path: Path) -> None:
    text = make_token()
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON api_token BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )
    connection.close()
    assert api_tokens.find_good(text)
    assert api_tokens.every()[0].last_used_at is None


def test_making_and_ending_a_token_is_recorded_without_it() -> None:
    text = make_token()
    api_tokens.revoke(api_tokens.every()[0].id)
    subject = f"token deploy ({text[:15]}…) of alice"
    assert (recorded("token_created"), recorded("token_revoked")) == ([subject], [subject])


def test_the_longest_names_are_recorded_whole() -> None:
    owner = accounts.create("a" * 64, "a@example.com", PASSWORD, is_admin=True)
    api_tokens.create(owner.id, "t" * 64)
    assert recorded("token_created")[0].endswith("…) of " + "a" * 64)


def test_a_changed_password_ends_every_token_of_its_account_and_of_no_other() -> None:
    mine, too = make_token(), make_token(days=1, name="backup")
    others = api_tokens.create(make_bob(is_admin=True).id, "deploy")[0]
    accounts.change_password(accounts.everybody()[0].id, PASSWORD, NEW_PASSWORD)
    assert [api_tokens.find_good(text) is None for text in (mine, too, others)] == [True, True, False]
    assert {subject.partition(" (")[0] for subject in recorded("token_revoked")} == {"token deploy", "token backup"}


def test_a_password_given_by_an_operator_ends_the_tokens() -> None:
    text = make_token()
    accounts.reset_password("alice", NEW_PASSWORD)
    assert api_tokens.find_good(text) is None


def test_a_password_changed_by_link_ends_the_tokens(environment: dict[str, str], tmp_path: Path) -> None:
    text = make_token()
    with (
        RecordingServer() as server,
        create_app(environment | mail_through(server), instance_path=tmp_path).app_context(),
    ):
        password_reset.request_reset("alice@example.com")
        answer_requests()
        assert password_reset.redeem(link_in(server.mails[0])[1], NEW_PASSWORD)
    assert api_tokens.find_good(text) is None


def test_a_refused_change_of_password_ends_no_token() -> None:
    text, alice = make_token(), accounts.everybody()[0]
    for current, new in (("wrong", NEW_PASSWORD), (PASSWORD, "short")):
        with pytest.raises(InvalidInput):
            accounts.change_password(alice.id, current, new)
    assert not password_reset.redeem("no token", NEW_PASSWORD)
    assert api_tokens.find_good(text)


def test_tokens_end_with_the_new_password_or_neither(tmp_path: Path) -> None:
    text, alice = make_token(), accounts.everybody()[0]
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE OF revoked_at ON api_token "
            "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )
    connection.close()
    with pytest.raises(Exception, match="database or disk is full"):
        accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert accounts.authenticate("alice", PASSWORD)
    assert api_tokens.find_good(text)
    assert recorded("password_changed") == []


def test_a_token_that_was_revoked_before_keeps_its_moment() -> None:
    make_token()
    before = api_tokens.revoke(api_tokens.every()[0].id).revoked_at
    accounts.reset_password("alice", NEW_PASSWORD)
    assert api_tokens.every()[0].revoked_at == before
    assert len(recorded("token_revoked")) == 1


def test_other_changes_of_an_account_leave_its_tokens_alone() -> None:
    text, alice = make_token(), accounts.everybody()[0]
    sessions.end_all(alice.id)
    address_change.ask(alice.id, PASSWORD, "new@example.com")
    assert api_tokens.find_good(text)
