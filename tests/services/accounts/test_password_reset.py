"""Forgotten passwords, from the request that is only written down to the token that works once."""

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from database.engine import reading, transaction
from database.outbox_db import OutboxMail, Priority, State
from database.reset_request_db import ResetRequest
from database.reset_token_db import ResetToken
from services.accounts import accounts, password_reset
from services.outbox.reasons import Reason
from tests.outbox import answer_requests, drain
from tests.recording_server import RecordingServer
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
from utils import clock
from utils.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def ask(mail_server: RecordingServer, address: str = "alice@example.com") -> str:
    """Ask for a reset, let the worker answer, and return the token from the mail."""
    before = len(mail_server.mails)
    password_reset.request_reset(address)
    answer_requests()
    assert len(mail_server.mails) == before + 1
    return link_in(mail_server.mails[-1])[1]


def age_requests(by: timedelta) -> None:
    with transaction() as session:
        for row in session.scalars(select(ResetRequest)):
            row.created_at -= by


def make_mail_due() -> None:
    with transaction() as session:
        session.execute(update(OutboxMail).values(due_at=clock.now()))


def age_tokens(by: timedelta) -> None:
    with transaction() as session:
        for row in session.scalars(select(ResetToken)):
            row.created_at -= by
            row.expires_at -= by


def requests() -> list[ResetRequest]:
    with reading() as session:
        return list(session.scalars(select(ResetRequest).order_by(ResetRequest.id)))


def test_the_link_goes_to_the_stored_address(mail_server: RecordingServer) -> None:
    make_alice()
    ask(mail_server, "ALICE@Example.com")
    assert mail_server.mails[0].recipients == ("alice@example.com",)


def test_the_link_starts_with_base_url(mail_server: RecordingServer) -> None:
    make_alice()
    ask(mail_server)
    assert link_in(mail_server.mails[0])[0] == "http://localhost:5000"


def test_an_unknown_address_gets_no_mail(mail_server: RecordingServer) -> None:
    make_alice()
    password_reset.request_reset("nobody@example.com")
    assert answer_requests() == 1
    assert mail_server.mails == []


def test_a_plus_address_is_another_address(mail_server: RecordingServer) -> None:
    accounts.create("alice", "alice+app@example.com", PASSWORD)
    password_reset.request_reset("alice@example.com")
    answer_requests()
    assert mail_server.mails == []
    ask(mail_server, "alice+app@example.com")
    assert mail_server.mails[0].recipients == ("alice+app@example.com",)


@pytest.mark.parametrize(
    "typed",
    ["al\u0131ce@example.com", "al\u0130ce@example.com", "alice@ex\u0251mple.com", "\u0430lice@example.com"],
)
def test_a_look_alike_that_is_an_address_reaches_nobody_else(mail_server: RecordingServer, typed: str) -> None:
    make_alice()
    password_reset.request_reset(typed)
    answer_requests()
    assert mail_server.mails == []


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "alice",
        "alice@example.com, mallory@example.net",
        "alice@example.com;mallory@example.net",
        "alice@example.com mallory@example.net",
        "alice@example.com\r\nBcc: mallory@example.net",
        "alice@example.com\x00",
        '"alice@example.com x"@example.net',
        "<alice@example.com>",
        "\u212aate@example.com",
        "alice@example\uff0ecom",
        "a\u017fmith@example.com",
        "a" * 250 + "@example.com",
        "[alice@example.com]",
    ],
)
def test_what_is_no_address_is_refused_and_leaves_no_row(typed: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        password_reset.request_reset(typed)
    assert set(refusal.value.errors) == {"email"}
    assert requests() == []


def test_a_token_changes_the_password(mail_server: RecordingServer) -> None:
    make_alice()
    assert password_reset.redeem(ask(mail_server), NEW_PASSWORD)
    assert accounts.authenticate("alice", NEW_PASSWORD)
    assert accounts.authenticate("alice", PASSWORD) is None


def test_a_token_works_once(mail_server: RecordingServer) -> None:
    make_alice()
    token = ask(mail_server)
    assert password_reset.redeem(token, NEW_PASSWORD)
    assert not password_reset.redeem(token, "another password altogether")
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_a_token_for_one_account_does_not_touch_another(mail_server: RecordingServer) -> None:
    make_alice()
    make_bob()
    password_reset.redeem(ask(mail_server, "alice@example.com"), NEW_PASSWORD)
    assert accounts.authenticate("bob", PASSWORD)
    assert accounts.authenticate("bob", NEW_PASSWORD) is None


def test_a_token_ends_after_sixty_minutes(mail_server: RecordingServer) -> None:
    make_alice()
    token = ask(mail_server)
    age_tokens(timedelta(minutes=60))
    assert password_reset.find_valid(token) is None
    assert not password_reset.redeem(token, NEW_PASSWORD)
    assert accounts.authenticate("alice", PASSWORD)


def test_a_token_is_good_until_then(mail_server: RecordingServer) -> None:
    make_alice()
    token = ask(mail_server)
    age_tokens(timedelta(minutes=59))
    assert password_reset.redeem(token, NEW_PASSWORD)


def test_a_second_request_leaves_the_first_link_good(mail_server: RecordingServer) -> None:
    make_alice()
    first, second = ask(mail_server), ask(mail_server)
    assert password_reset.find_valid(first)
    assert password_reset.find_valid(second)


@pytest.mark.parametrize("used", [0, 1, 2])
def test_of_all_links_of_an_account_one_can_be_used(mail_server: RecordingServer, used: int) -> None:
    make_alice()
    links = [ask(mail_server) for _ in range(3)]
    assert password_reset.redeem(links[used], NEW_PASSWORD)
    assert not any(password_reset.find_valid(link) for link in links)
    assert not any(password_reset.redeem(link, "another password altogether") for link in links)
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_each_link_ends_after_its_own_hour(mail_server: RecordingServer) -> None:
    make_alice()
    first = ask(mail_server)
    age_tokens(timedelta(minutes=30))
    second = ask(mail_server)
    age_tokens(timedelta(minutes=30))
    assert not password_reset.find_valid(first)
    assert password_reset.redeem(second, NEW_PASSWORD)


@pytest.mark.parametrize("token", ["", "x", "x" * 5000, "\x00", "' OR 1=1 --", "é", "\ud800"])
def test_a_made_up_token_is_not_good(mail_server: RecordingServer, token: str) -> None:
    make_alice()
    ask(mail_server)
    assert password_reset.find_valid(token) is None
    assert not password_reset.redeem(token, NEW_PASSWORD)


def test_looking_at_a_token_does_not_use_it_up(mail_server: RecordingServer) -> None:
    alice = make_alice()
    token = ask(mail_server)
    found = [password_reset.find_valid(token) for _ in range(5)]
    assert [link.account_id for link in found if link] == [alice.id] * 5
    assert password_reset.redeem(token, NEW_PASSWORD)


def test_a_refused_password_leaves_the_token_good(mail_server: RecordingServer) -> None:
    make_alice()
    token = ask(mail_server)
    with pytest.raises(InvalidInput) as refusal:
        password_reset.redeem(token, "password1234")
    assert set(refusal.value.errors) == {"password"}
    assert password_reset.redeem(token, NEW_PASSWORD)


def test_a_changed_password_voids_the_token(mail_server: RecordingServer) -> None:
    alice = make_alice()
    token = ask(mail_server)
    accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert not password_reset.redeem(token, "another password altogether")


def test_a_reset_ends_every_session(mail_server: RecordingServer) -> None:
    alice = make_alice()
    password_reset.redeem(ask(mail_server), NEW_PASSWORD)
    after = accounts.find(alice.id)
    assert after is not None
    assert after.session_epoch > alice.session_epoch


def test_a_reset_is_followed_by_a_notice_without_a_token(mail_server: RecordingServer) -> None:
    make_alice()
    password_reset.redeem(ask(mail_server), NEW_PASSWORD)
    drain()
    notice = mail_server.mails[-1]
    assert notice.recipients == ("alice@example.com",)
    assert "password was changed" in subject_of(notice)
    assert "http://localhost:5000/forgot-password" in text_of(notice)
    assert "token=" not in text_of(notice)


def test_the_database_holds_neither_the_token_nor_the_address_afterwards(
    mail_server: RecordingServer, tmp_path: Path
) -> None:
    make_alice()
    token = ask(mail_server)
    password_reset.request_reset("nobody.we.know@example.com")
    answer_requests()
    with sqlite3.connect(tmp_path / "test.db") as connection:
        everything = "\n".join(connection.iterdump())
    connection.close()
    assert token not in everything
    assert "nobody.we.know" not in everything


def test_a_token_has_256_bits(mail_server: RecordingServer) -> None:
    make_alice()
    assert len(ask(mail_server)) >= 43


def test_an_account_gets_three_mails_an_hour_and_then_silence(mail_server: RecordingServer) -> None:
    make_alice()
    for _ in range(3):
        ask(mail_server)
    newest = link_in(mail_server.mails[-1])[1]
    password_reset.request_reset("alice@example.com")
    assert answer_requests() == 1
    assert len(mail_server.mails) == 3
    assert password_reset.redeem(newest, NEW_PASSWORD)


def test_the_limit_of_one_account_is_not_that_of_another(mail_server: RecordingServer) -> None:
    make_alice()
    make_bob()
    for _ in range(3):
        ask(mail_server, "alice@example.com")
    ask(mail_server, "bob@example.com")


def test_an_hour_later_there_is_mail_again(mail_server: RecordingServer) -> None:
    make_alice()
    for _ in range(3):
        ask(mail_server)
    age_requests(timedelta(minutes=61))
    ask(mail_server)


def test_a_request_that_was_answered_is_deleted_after_a_day(mail_server: RecordingServer) -> None:
    make_alice()
    ask(mail_server)
    password_reset.tidy()
    assert len(requests()) == 1
    age_requests(timedelta(hours=25))
    password_reset.tidy()
    assert requests() == []


def test_a_token_row_is_deleted_a_day_after_it_expired(mail_server: RecordingServer) -> None:
    make_alice()
    ask(mail_server)
    age_tokens(timedelta(hours=26))
    password_reset.tidy()
    with reading() as session:
        assert session.scalars(select(ResetToken)).all() == []


def test_the_mail_goes_out_once_the_server_takes_it(mail_server: RecordingServer) -> None:
    make_alice()
    mail_server._refuse["alice@example.com"] = "450 try later"
    password_reset.request_reset("alice@example.com")
    answer_requests()
    assert mail_server.mails == []
    mail_server._refuse.clear()
    make_mail_due()
    drain()
    assert password_reset.redeem(link_in(mail_server.mails[0])[1], NEW_PASSWORD)


def test_a_reset_mail_dies_with_its_token(mail_server: RecordingServer) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    password_reset.process_requests()
    with reading() as session:
        token, mail = session.scalars(select(ResetToken)).one(), session.scalars(select(OutboxMail)).one()
    assert mail.expires_at == token.expires_at
    assert mail.priority == Priority.SECURITY


def test_a_mail_that_waits_is_withdrawn_when_another_link_is_used(mail_server: RecordingServer) -> None:
    make_alice()
    token = ask(mail_server)
    password_reset.request_reset("alice@example.com")
    password_reset.process_requests()
    password_reset.redeem(token, NEW_PASSWORD)
    with reading() as session:
        withdrawn = session.scalars(select(OutboxMail).where(OutboxMail.state == State.CANCELLED)).one()
    assert (withdrawn.content, withdrawn.reason) == (None, Reason.LINK_VOID)


def test_a_mail_that_waits_is_withdrawn_when_the_password_is_changed(mail_server: RecordingServer) -> None:
    alice = make_alice()
    password_reset.request_reset("alice@example.com")
    password_reset.process_requests()
    accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    drain()
    assert ["was changed" in subject_of(mail) for mail in mail_server.mails] == [True]


def test_a_request_that_nobody_answered_within_an_hour_is_given_up(mail_server: RecordingServer) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    age_requests(timedelta(minutes=60))
    answer_requests()
    assert mail_server.mails == []
    assert [(row.state, row.address) for row in requests()] == [("done", "")]


def test_token_mail_and_answer_come_together_or_not_at_all(mail_server: RecordingServer) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    with transaction() as session:
        session.execute(text("ALTER TABLE email_outbox RENAME TO hidden"))
    with pytest.raises(DBAPIError):
        password_reset.process_requests()
    with transaction() as session:
        session.execute(text("ALTER TABLE hidden RENAME TO email_outbox"))
    with reading() as session:
        assert session.scalars(select(ResetToken)).all() == []
    assert [(row.state, row.account_id) for row in requests()] == [("waiting", None)]
    answer_requests()
    assert len(mail_server.mails) == 1


def test_a_changed_password_and_its_notice_come_together_or_not_at_all(mail_server: RecordingServer) -> None:
    alice = make_alice()
    with transaction() as session:
        session.execute(text("ALTER TABLE email_outbox RENAME TO hidden"))
    with pytest.raises(DBAPIError):
        accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert accounts.authenticate("alice", PASSWORD)


def test_a_listener_hears_of_a_request_once_it_is_written_down() -> None:
    heard: list[str] = []

    def listener() -> None:
        heard.extend(row.state for row in requests())

    password_reset.new_request.add(listener)
    password_reset.request_reset("alice@example.com")
    password_reset.new_request.remove(listener)
    password_reset.request_reset("alice@example.com")
    assert heard == ["waiting"]
