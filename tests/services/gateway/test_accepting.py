"""What becomes of what is handed over: whose From, which limits, one transaction for many, and 451 where it fails."""

import smtplib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from app import create_app
from database import sender_db
from database.engine import db, transaction
from services.accounts import administration, api_tokens
from services.gateway import accepting, from_rules, uses
from services.gateway.accepting import Handed
from services.gateway.from_rules import ForeignFrom
from services.gateway.uses import UseState, Visit
from tests.gateway import MAIL, RunningGateway, Talk, drafts, original, queued, token_of
from tests.patience import PATIENCE, wait_until
from tests.services.gateway.conftest import Alice
from tests.visitors import make_alice, make_bob
from utils import clock

NOT_YOURS = "550 5.7.1 Your account may not send from the From address."


def from_line(line: bytes) -> bytes:
    return MAIL.replace(b"From: alice@example.com\r\n", line)


def signed_in(gateway: RunningGateway, login: str, token: str) -> Talk:
    talk = gateway.talk()
    talk.hello()
    assert talk.sign_in(login, token).startswith("235")
    return talk


def test_an_account_sends_from_its_own_address_and_those_that_it_has_confirmed(talk: Talk, alice: Alice) -> None:
    assert talk.hand_over(from_line(b"From: Shop <shop@example.org>\r\n")).startswith(NOT_YOURS)
    with transaction() as session:
        row = sender_db.AccountSender(
            account_id=alice.id, email="shop@example.org", email_key="shop@example.org",
            created_at=clock.now(), confirmed_at=clock.now(),
        )  # fmt: skip
        session.add(row)
    assert talk.hand_over(from_line(b"From: Shop <Shop@Example.org>\r\n")).startswith("250")
    assert talk.hand_over(from_line(b'from : "Alice, A." \r\n <ALICE@example.com>\r\n')).startswith("250")
    assert [draft.sender for draft in drafts()] == ["Shop@example.org", "ALICE@example.com"]


def test_a_from_that_is_none_or_several_is_refused_as_not_the_accounts(talk: Talk) -> None:
    for line in (
        b"", b"From: \r\n", b"From: alice@example.com, eve@example.com\r\n", b"From: nobody\r\n",
        b"From: alice@example.com\r\nFrom: eve@example.com\r\n", b"From: alice@example.com <eve@example.com\r\n",
    ):  # fmt: skip
        assert talk.hand_over(from_line(line))[:9] == "550 5.7.1", line
    for line in (b"From: alice@example.com <eve@example.com>\r\n", b"From: eve@example.com (alice@example.com)\r\n"):
        assert talk.hand_over(from_line(line))[:9] == "550 5.7.1", line
    assert queued() == []


def test_an_account_that_chose_so_has_its_mail_sent_from_the_servers_address(talk: Talk, alice: Alice) -> None:
    assert from_rules.chosen(alice.id) is ForeignFrom.REFUSE
    from_rules.choose(alice.id, ForeignFrom.REWRITE)
    for line in (b"From: root@localhost\r\n", b""):
        assert talk.hand_over(from_line(line)).startswith("250")
    assert [(draft.sender, draft.reply_to) for draft in drafts()] == [("", ""), ("", "")]


def test_a_refusal_stands_with_the_token_until_a_mail_is_taken(talk: Talk, alice: Alice) -> None:
    (token,) = api_tokens.every(alice.id)

    def state() -> UseState:
        return uses.by_token([token.id])[token.id].state

    wait_until(lambda: state() is UseState.CONNECTED)
    talk.hand_over(from_line(b"From: eve@example.com\r\n"))
    wait_until(lambda: state() is UseState.REFUSED)
    assert uses.by_token([token.id])[token.id].refusal.startswith("Your account may not send")
    talk.hand_over()
    use = uses.by_token([token.id])[token.id]
    assert (use.state, use.mails, use.last_mail_id) == (UseState.CAME, 1, queued()[0].mail_id)


def test_refused_sign_ins_stand_with_the_token_or_the_account(gateway: RunningGateway, alice: Alice) -> None:
    (token,) = api_tokens.every(alice.id)
    with gateway.talk() as talk:
        talk.hello()
        talk.sign_in("alice", "sealpost_wrong")
        talk.sign_in("bob", alice.token)
    wait_until(lambda: uses.refused_sign_ins(alice.id).refusal_code == 535)
    wait_until(lambda: uses.by_token([token.id])[token.id].refusal == "The token belongs to another account.")


def test_a_token_that_ends_while_connected_sends_nothing_more(talk: Talk, alice: Alice) -> None:
    assert talk.hand_over().startswith("250")
    (token,) = api_tokens.every(alice.id)
    api_tokens.revoke(token.id)
    assert talk.hand_over().startswith("535 5.7.8")
    assert len(queued()) == 1


def test_an_account_that_is_disabled_while_connected_sends_nothing_more(talk: Talk, alice: Alice) -> None:
    make_bob(is_admin=True)
    administration.disable(alice.id)
    assert talk.hand_over().startswith("535 5.7.8")
    assert queued() == []


def test_mails_that_arrive_at_once_share_a_transaction_and_one_that_is_refused_spoils_none(
    app: Flask, alice: Alice
) -> None:
    commits = 0

    def count(*_: object) -> None:
        nonlocal commits
        commits += 1

    groups: list[int] = []
    true_write = accepting.write

    def slow_write(group: Sequence[Handed], visits: Sequence[Visit] = ()) -> None:
        groups.append(len(group))
        if len(groups) == 1:
            assert all_are_there.wait(PATIENCE)
        true_write(group, visits)

    all_are_there = threading.Event()
    with pytest.MonkeyPatch.context() as patch, RunningGateway(app) as gateway:
        patch.setattr(accepting, "write", slow_write)
        talks = [signed_in(gateway, "alice", alice.token) for _ in range(9)]
        with ThreadPoolExecutor(9) as pool:
            lines = [b"From: alice@example.com\r\n"] * 8 + [b"From: eve@example.com\r\n"]
            replies = [pool.submit(talk.hand_over, from_line(line)) for talk, line in zip(talks, lines, strict=True)]
            waiting = gateway.gateway._accepting._waiting
            wait_until(lambda: groups and groups[0] + len(waiting) == 9)
            event.listen(db.engine, "commit", count)
            all_are_there.set()
            codes = sorted(each.result()[:3] for each in replies)
        event.remove(db.engine, "commit", count)
        for talk in talks:
            talk.socket.close()
    assert codes == ["250"] * 8 + ["550"]
    assert sum(groups) == 9
    assert len(groups) <= 2
    assert commits <= 4  # two groups, and at most as many writings of who was there
    assert len(queued()) == 8


@contextmanager
def locked(app: Flask) -> Iterator[None]:
    """Somebody else writes into the database and does not end."""
    path = app.config["SQLALCHEMY_DATABASE_URI"].removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_while_the_database_is_locked_a_mail_is_451_and_afterwards_it_is_taken(app: Flask, talk: Talk) -> None:
    with locked(app):
        assert talk.hand_over().startswith("451 4.3.0")
    assert queued() == []
    assert talk.hand_over().startswith("250")
    assert len(queued()) == 1


def test_on_a_full_disk_a_mail_is_451_and_nothing_of_it_is_there(app: Flask, talk: Talk) -> None:
    limits = [1]

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limits[0]}")

    event.listen(db.engine, "connect", on_connect)
    db.engine.dispose()
    try:
        assert talk.hand_over(MAIL + (b"x" * 900 + b"\r\n") * 2000).startswith("451 4.3.0")
        assert queued() == []
        limits[0] = 1_000_000
        db.engine.dispose()
        assert talk.hand_over().startswith("250")
    finally:
        event.remove(db.engine, "connect", on_connect)


class TestLimits:
    """How much of an account's mail may wait."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "ACCOUNT_WAITING_EMAILS": "3", "ACCOUNT_WAITING_MB": "1"}

    def test_over_the_limit_a_mail_is_452_with_the_time_and_one_that_never_fits_552(self, talk: Talk) -> None:
        big = MAIL + (b"x" * 900 + b"\r\n") * 1200
        assert talk.hand_over(big).startswith("552 5.3.4 Even an empty queue has no room")
        for _ in range(3):
            assert talk.hand_over().startswith("250")
        reply = talk.hand_over()
        assert reply.startswith("452 4.3.1 3 emails of yours are waiting, and at most 3 may.")
        assert reply.endswith("Try again in 1 minute.")
        assert len(queued()) == 3


class TestTrustedNetworks:
    """Networks that administrators trust send as the system."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "SUBMISSION_TRUSTED": "127.0.0.8/30"}

    def test_they_need_no_login_and_others_do(self, gateway: RunningGateway) -> None:
        with gateway.talk(source="127.0.0.9") as talk:
            talk.hello()
            assert talk.hand_over(from_line(b"From: cron@host.example\r\n")).startswith("250")
        with gateway.talk() as talk:
            talk.hello()
            assert talk.say("MAIL FROM:<a@example.com>").startswith("530")
        (row,) = queued()
        assert row.account_id is None
        assert b"with ESMTP id" in drafts()[0].rest
        assert {cidr: use.mails for cidr, use in uses.by_network().items()} == {"127.0.0.8/30": 1}


LINES = st.binary(max_size=80) | st.sampled_from([b".", b"..", b".x", b"", b"x" * 998, b"." * 998, "ü€".encode()])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8), st.integers(1, 4000))
def test_every_octet_of_a_body_goes_through(talk: Talk, lines: list[bytes], cut: int) -> None:
    clean = [line.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"") for line in lines]
    message = MAIL.replace(b"Hello.\r\n", b"".join(line + b"\r\n" for line in clean))
    reply = talk.hand_over(message)
    assert reply.startswith("250"), reply
    draft = drafts()[-1]
    assert draft.mail_id in reply
    assert original(draft, 5) == message


def test_on_postgresql_too_what_was_answered_is_there(
    environment: dict[str, str], postgresql: str, tmp_path: Path
) -> None:
    app = create_app(environment | {"DATABASE_URL": postgresql}, instance_path=tmp_path)
    with app.app_context():
        token = token_of(make_alice().id)
        with RunningGateway(app) as gateway, smtplib.SMTP("127.0.0.1", gateway.port) as client:
            client.login("alice", token)
            for _ in range(3):
                assert client.sendmail("alice@example.com", ["jane@example.org"], MAIL) == {}
        assert len(queued()) == 3
        (use,) = uses.by_token([1]).values()
        assert use.mails == 3
        db.engine.dispose()


def test_while_postgresql_is_away_a_mail_is_451_and_a_sign_in_454_and_afterwards_both_work(
    environment: dict[str, str], postgresql: str, tmp_path: Path
) -> None:
    app = create_app(environment | {"DATABASE_URL": postgresql}, instance_path=tmp_path)
    with app.app_context():
        token = token_of(make_bob().id)
        message = from_line(b"From: bob@example.com\r\n")
        with RunningGateway(app) as gateway, signed_in(gateway, "bob", token) as talk, gateway.talk() as other:
            other.hello()
            before = len(queued())
            with away(postgresql):
                assert talk.hand_over(message).startswith("451 4.3.0")
                assert other.sign_in("bob", token).startswith("454 4.7.0")
            assert talk.hand_over(message).startswith("250")
            assert other.sign_in("bob", token).startswith("235")
        assert len(queued()) == before + 1
        db.engine.dispose()


@contextmanager
def away(url: str) -> Iterator[None]:
    """The database takes no connections, and has ended those that it had."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/template1", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
