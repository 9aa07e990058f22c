"""Another address for an account: only once a link that was mailed there is followed."""

import re
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from database.address_change_db import AddressChange
from database.engine import reading, transaction
from services.accounts import accounts, address_change, administration, password_reset
from services.settings import own_rows, route
from tests.outbox import answer_requests, drain
from tests.own_servers import bring
from tests.own_servers import row_of as server_of
from tests.recording_server import RecordedMail, RecordingServer
from tests.visitors import (
    NEW_PASSWORD,
    PASSWORD,
    link_in,
    mail_through,
    make_alice,
    make_bob,
    subject_of,
    text_of,
)
from utils.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("app")
NEW = "new.address@example.net"


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def mailed_to(server: RecordingServer, address: str) -> list[RecordedMail]:
    return [mail for mail in server.mails if mail.recipients == (address,)]


def token_for(server: RecordingServer, address: str = NEW) -> str:
    """The token of the newest link that was mailed there."""
    drain()
    found = re.search(r"http://localhost:5000/confirm-address\?token=([\w-]+)", text_of(mailed_to(server, address)[-1]))
    assert found, "no link"
    return found[1]


def address_of(account_id: int) -> str:
    person = accounts.find(account_id)
    assert person is not None
    return person.email


def age_changes(by: timedelta) -> None:
    with transaction() as session:
        for row in session.scalars(select(AddressChange)):
            row.created_at -= by
            row.expires_at -= by


def test_nothing_changes_until_the_link_is_followed(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    assert address_of(alice.id) == "alice@example.com"
    assert address_change.confirm(token_for(mail_server))
    assert address_of(alice.id) == NEW


def test_a_reset_link_goes_to_the_old_address_until_then_and_to_the_new_one_after(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    token = token_for(mail_server)
    password_reset.request_reset(NEW)
    answer_requests()
    assert len(mailed_to(mail_server, NEW)) == 1
    address_change.confirm(token)
    password_reset.request_reset(NEW)
    answer_requests()
    assert link_in(mailed_to(mail_server, NEW)[-1])


def test_the_old_address_is_told_when_it_is_asked_for_and_when_it_is_done(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    address_change.confirm(token_for(mail_server))
    drain()
    told = mailed_to(mail_server, "alice@example.com")
    assert [subject_of(mail) for mail in told] == [
        "A new address for your OpenAlgo account",
        "Your OpenAlgo email address was changed",
    ]
    assert all("n***@example.net" in text_of(mail) and "token=" not in text_of(mail) for mail in told)


def test_a_link_works_once(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    token = token_for(mail_server)
    assert address_change.confirm(token)
    assert not address_change.confirm(token)


def test_looking_at_a_link_uses_nothing_up(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    token = token_for(mail_server)
    found = [address_change.find_valid(token) for _ in range(3)]
    assert [(pending.username, pending.email) for pending in found if pending] == [("alice", NEW)] * 3
    assert address_change.confirm(token)


@pytest.mark.parametrize(("minutes", "is_good"), [(24 * 60 - 1, True), (24 * 60, False), (24 * 60 + 1, False)])
def test_a_link_is_good_for_a_day(mail_server: RecordingServer, minutes: int, is_good: bool) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    token = token_for(mail_server)
    age_changes(timedelta(minutes=minutes))
    assert address_change.confirm(token) is is_good
    assert address_of(alice.id) == (NEW if is_good else "alice@example.com")


@pytest.mark.parametrize("token", ["", "-", "x" * 5000, "\x00", "' OR 1=1 --", "\ud800"])
def test_a_made_up_link_is_not_good(mail_server: RecordingServer, token: str) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    assert address_change.find_valid(token) is None
    assert not address_change.confirm(token)


def test_of_two_addresses_that_were_asked_for_the_later_can_be_confirmed(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, "first@example.net")
    first = token_for(mail_server, "first@example.net")
    address_change.ask(alice.id, PASSWORD, NEW)
    assert not address_change.confirm(first)
    assert address_change.confirm(token_for(mail_server))


def test_a_link_whose_address_was_replaced_is_not_mailed_any_more(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, "first@example.net")
    address_change.ask(alice.id, PASSWORD, NEW)
    drain()
    assert mailed_to(mail_server, "first@example.net") == []


def test_whoever_withdraws_keeps_the_address(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    token = token_for(mail_server)
    address_change.withdraw(alice.id)
    assert address_change.pending(alice.id) is None
    assert not address_change.confirm(token)


def test_a_new_password_stops_the_change(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    token = token_for(mail_server)
    password_reset.request_reset("alice@example.com")
    answer_requests()
    assert password_reset.redeem(link_in(mailed_to(mail_server, "alice@example.com")[-1])[1], NEW_PASSWORD)
    assert not address_change.confirm(token)


def test_a_disabled_account_gets_no_other_address(mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    bob = make_bob()
    address_change.ask(bob.id, PASSWORD, NEW)
    token = token_for(mail_server)
    administration.disable(bob.id)
    assert not address_change.confirm(token)
    administration.enable(bob.id)
    assert not address_change.confirm(token)


def test_a_confirmed_address_voids_the_links_that_went_to_the_old_one(mail_server: RecordingServer) -> None:
    alice = make_alice()
    password_reset.request_reset("alice@example.com")
    answer_requests()
    reset = link_in(mail_server.mails[-1])[1]
    address_change.ask(alice.id, PASSWORD, NEW)
    assert password_reset.find_valid(reset)
    address_change.confirm(token_for(mail_server))
    assert not password_reset.find_valid(reset)


def test_an_address_is_not_asked_for_without_the_password(mail_server: RecordingServer) -> None:
    alice = make_alice()
    with pytest.raises(InvalidInput) as refusal:
        address_change.ask(alice.id, "not the password", NEW)
    assert set(refusal.value.errors) == {"email_password"}
    drain()
    assert mail_server.mails == []


@pytest.mark.parametrize("email", ["BOB@example.com", "alice@example.com", "", "new", "a@x.example, b@x.example"])
def test_an_address_that_cannot_be_is_refused(email: str) -> None:
    alice = make_alice()
    make_bob()
    with pytest.raises(InvalidInput) as refusal:
        address_change.ask(alice.id, PASSWORD, email)
    assert set(refusal.value.errors) == {"email"}
    assert address_change.pending(alice.id) is None


def test_another_spelling_of_the_own_address_can_be_confirmed(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, "Alice@example.com")
    assert address_change.confirm(token_for(mail_server, "Alice@example.com"))
    assert address_of(alice.id) == "Alice@example.com"


def test_of_two_accounts_that_ask_for_one_address_the_first_to_confirm_has_it(mail_server: RecordingServer) -> None:
    alice, bob = make_alice(), make_bob()
    address_change.ask(alice.id, PASSWORD, NEW)
    hers = token_for(mail_server)
    address_change.ask(bob.id, PASSWORD, NEW)
    his = token_for(mail_server)
    assert address_change.confirm(his)
    with pytest.raises(InvalidInput):
        address_change.confirm(hers)
    assert (address_of(alice.id), address_of(bob.id)) == ("alice@example.com", NEW)


def test_what_nobody_confirmed_is_forgotten_after_a_day() -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    age_changes(timedelta(hours=49))
    address_change.tidy()
    with reading() as session:
        assert session.scalars(select(AddressChange)).all() == []


def test_the_database_holds_no_token(mail_server: RecordingServer, tmp_path: Path) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    token = token_for(mail_server)
    with sqlite3.connect(tmp_path / "test.db") as connection:
        assert token not in "\n".join(connection.iterdump())
    connection.close()


def test_the_accounts_own_server_is_not_used_until_it_is_looked_at_and_the_owner_is_told(
    mail_server: RecordingServer,
) -> None:
    alice, bob = make_alice(), make_bob()
    theirs = {each.id: bring(each.id, "smtp.accounts.example", 587) for each in (alice, bob)}
    address_change.ask(alice.id, PASSWORD, NEW)
    assert address_change.confirm(token_for(mail_server))
    drain()
    row = server_of(theirs[alice.id])
    assert (row.is_active, row.inactive_reason) == (False, "address_changed")
    assert server_of(theirs[bob.id]).is_active
    assert "/account/smtp" in text_of(mailed_to(mail_server, NEW)[-1])
    assert next(route.steps(alice.id)).reason == own_rows.INACTIVE["address_changed"]


def test_an_account_without_a_server_is_told_nothing_of_one(mail_server: RecordingServer) -> None:
    alice = make_alice()
    address_change.ask(alice.id, PASSWORD, NEW)
    assert address_change.confirm(token_for(mail_server))
    drain()
    assert len(mailed_to(mail_server, NEW)) == 1
