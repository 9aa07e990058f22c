"""Accounts: who is created, who is let in, what a change of password or address ends."""

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import update

from database import reset_token_db, user_db
from database.engine import reading, transaction
from database.reset_token_db import ResetToken
from database.user_db import Account
from services.accounts import accounts
from tests.visitors import NEW_PASSWORD, PASSWORD, make_alice, make_bob
from utils import clock
from utils.errors import InvalidInput, NotFound

pytestmark = pytest.mark.usefixtures("app")


def refused(username: str = "carol", email: str = "carol@example.com", password: str = PASSWORD) -> set[str]:
    with pytest.raises(InvalidInput) as refusal:
        accounts.create(username, email, password)
    return set(refusal.value.errors)


@pytest.mark.parametrize("login", ["alice", "ALICE", " alice ", "alice@example.com", "Alice@EXAMPLE.com"])
def test_one_signs_in_by_user_name_or_address_in_any_case(login: str) -> None:
    alice = make_alice()
    person = accounts.authenticate(login, PASSWORD)
    assert person is not None
    assert person.id == alice.id


@pytest.mark.parametrize(
    "login", ["", "bob", "bob@example.com", "alice@example.com, bob@example.com", "a\x00lice", "@", "a" * 70_000]
)
def test_who_has_no_account_is_not_let_in(login: str) -> None:
    make_alice()
    assert accounts.authenticate(login, PASSWORD) is None


@pytest.mark.parametrize("password", ["", PASSWORD + " ", " " + PASSWORD, PASSWORD.upper(), "x" * 60_000, "\ud800"])
def test_a_wrong_password_is_not_let_in(password: str) -> None:
    make_alice()
    assert accounts.authenticate("alice", password) is None


def test_a_full_width_address_does_not_name_a_second_account() -> None:
    make_alice()
    assert refused(username="carol", email="ALICE@example.com") == {"email"}


@pytest.mark.parametrize("username", ["alice", "ALICE", "ａlice"])
def test_two_spellings_of_a_user_name_are_one(username: str) -> None:
    make_alice()
    assert refused(username=username) == {"username"}


@pytest.mark.parametrize(
    "username",
    [
        "",
        " carol",
        "carol ",
        "ca\nrol",
        "ca\x00rol",
        "carol\u202e",
        "carol\u200b",
        "c@rol",
        "c＠rol",
        "c" * 65,
        "\ufdfa" * 30,
    ],
)
def test_an_unfit_user_name_is_refused(username: str) -> None:
    assert refused(username=username) == {"username"}


@pytest.mark.parametrize("email", ["", "carol", "a@x.example, b@x.example", "carol@example.com\r\nBcc: x@y.example"])
def test_an_unfit_address_is_refused(email: str) -> None:
    assert refused(email=email) == {"email"}


def test_all_unfit_fields_are_named_at_once() -> None:
    assert refused("", "carol", "short") == {"username", "email", "password"}


def test_a_refused_account_leaves_no_row() -> None:
    refused(password="short")
    assert accounts.everybody() == []


def test_an_account_may_have_a_plus_address() -> None:
    accounts.create("carol", "carol+work@example.com", PASSWORD)
    assert accounts.authenticate("carol+work@example.com", PASSWORD)
    assert accounts.authenticate("carol@example.com", PASSWORD) is None


def test_a_right_password_alone_is_no_sign_in_yet() -> None:
    make_alice()
    person = accounts.authenticate("alice", PASSWORD)
    assert person is not None
    assert person.last_sign_in_at is None


def test_signing_in_renews_a_hash_of_other_parameters() -> None:
    alice = make_alice()
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with transaction() as session:
        session.execute(update(Account).where(Account.id == alice.id).values(password_hash=old))
    assert accounts.authenticate("alice", PASSWORD)
    with reading() as session:
        account = user_db.find(session, alice.id)
    assert account is not None
    assert account.password_hash != old
    assert accounts.authenticate("alice", PASSWORD)


def test_a_changed_password_replaces_the_old_one() -> None:
    alice = make_alice()
    accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert accounts.authenticate("alice", PASSWORD) is None
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_a_changed_password_raises_the_session_epoch() -> None:
    alice = make_alice()
    changed = accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert changed.session_epoch == alice.session_epoch + 1


def test_a_password_is_not_changed_without_the_old_one() -> None:
    alice = make_alice()
    with pytest.raises(InvalidInput) as refusal:
        accounts.change_password(alice.id, "not the password", NEW_PASSWORD)
    assert set(refusal.value.errors) == {"current_password"}
    assert accounts.authenticate("alice", PASSWORD)


def give_link(account_id: int) -> str:
    now = clock.now()
    with transaction() as session:
        link = ResetToken(account_id=account_id, token_hash="0" * 64, created_at=now)
        link.expires_at = now.replace(year=now.year + 1)
        session.add(link)
    return "0" * 64


def is_good(token_hash: str) -> bool:
    with reading() as session:
        return reset_token_db.find_good(session, token_hash, clock.now()) is not None


def test_changing_the_password_voids_reset_links() -> None:
    alice = make_alice()
    link = give_link(alice.id)
    accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert not is_good(link)


def test_changing_another_account_leaves_reset_links_alone() -> None:
    link = give_link(make_alice().id)
    accounts.change_password(make_bob().id, PASSWORD, NEW_PASSWORD)
    assert is_good(link)


def test_a_setup_code_makes_the_first_administrator() -> None:
    code = accounts.issue_setup_code()
    assert code is not None
    assert accounts.create_first_administrator(code, "alice", "alice@example.com", PASSWORD).is_admin


def test_a_setup_code_may_be_typed_in_lower_case_without_dashes() -> None:
    code = accounts.issue_setup_code() or ""
    typed = code.lower().replace("-", " ")
    assert accounts.create_first_administrator(typed, "alice", "alice@example.com", PASSWORD)


@pytest.mark.parametrize("code", ["", "-----", "AAAAA-AAAAA-AAAAA-AAAAA", "\ud800"])
def test_a_wrong_setup_code_makes_nobody(code: str) -> None:
    accounts.issue_setup_code()
    with pytest.raises(InvalidInput) as refusal:
        accounts.create_first_administrator(code, "alice", "alice@example.com", PASSWORD)
    assert set(refusal.value.errors) == {"code"}
    assert not accounts.has_accounts()


def test_every_start_of_the_server_prints_a_code_that_works() -> None:
    first = accounts.issue_setup_code() or ""
    assert first != accounts.issue_setup_code()
    assert accounts.create_first_administrator(first, "alice", "alice@example.com", PASSWORD)


def test_only_the_newest_twenty_setup_codes_are_kept() -> None:
    codes = [accounts.issue_setup_code() or "" for _ in range(21)]
    with pytest.raises(InvalidInput):
        accounts.create_first_administrator(codes[0], "alice", "alice@example.com", PASSWORD)
    assert accounts.create_first_administrator(codes[1], "alice", "alice@example.com", PASSWORD)


def test_a_setup_code_is_stored_as_a_hash() -> None:
    code = accounts.issue_setup_code() or ""
    with reading() as session:
        stored = user_db.setup_code_hashes(session)
    assert code.replace("-", "") not in str(stored)
    assert len(stored[0]) == 64


def test_there_is_no_setup_after_the_first_administrator() -> None:
    code = accounts.issue_setup_code() or ""
    make_alice(is_admin=True)
    with pytest.raises(NotFound):
        accounts.create_first_administrator(code, "bob", "bob@example.com", PASSWORD)
    assert accounts.issue_setup_code() is None


def test_the_first_administrator_voids_every_code() -> None:
    accounts.issue_setup_code()
    make_alice(is_admin=True)
    with reading() as session:
        assert user_db.setup_code_hashes(session) == []


def test_an_ordinary_account_does_not_end_the_setup() -> None:
    make_alice()
    assert accounts.issue_setup_code() is not None


def test_a_password_hash_never_leaves_the_service(app: Flask) -> None:
    assert "argon2" not in repr(make_alice())
