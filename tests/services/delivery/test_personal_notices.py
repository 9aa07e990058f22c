"""Owners are told once when their server breaks and once when it works; the system's mail goes by none of these."""

import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from database.engine import transaction
from database.policy_db import PersonalPolicy
from services import email_service
from services.accounts import administration
from services.delivery import attempt
from services.message.draft import draft
from services.outbox import owner_notices, template_mail
from services.settings import protection, route
from services.settings.personal_policy import Fallback
from services.smtp.settings import Security
from tests.outbox import drain, row_of
from tests.own_servers import PLACES, PORT, bring, change, decide, free_host
from tests.own_servers import row_of as server_of
from tests.recording_server import RecordedMail, RecordingServer
from tests.scripted_server import ScriptedServer, close
from tests.services.message.test_email_templates import VALUES
from tests.turned_clock import Now
from tests.visitors import mail_through, make_alice, make_bob, subject_of, text_of
from utils import clock

TO = "reader@example.net"


@pytest.fixture(scope="module")
def shared() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], shared: RecordingServer) -> dict[str, str]:
    shared.mails.clear()
    return {**environment, **mail_through(shared), **PLACES}


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice(is_admin=True).id


def policy(fallback: Fallback) -> None:
    with transaction() as session:
        session.add(PersonalPolicy(id=1, fallback=fallback, updated_at=clock.now()))


def send(account_id: int | None) -> bool:
    return email_service.send_email(TO, "s", "b", account_id=account_id)


def told(shared: RecordingServer) -> list[RecordedMail]:
    """What the owner got, all of which is on its way first."""
    drain()
    return [mail for mail in shared.mails if mail.recipients == ("alice@example.com",)]


def test_the_owner_is_told_once_when_it_breaks_and_once_when_it_works_again(
    alice: int, shared: RecordingServer
) -> None:
    host = free_host()
    config_id = bring(alice, host, PORT)
    assert all(send(alice) for _ in range(3))
    (broken,) = told(shared)
    assert subject_of(broken) == "OpenAlgo: your mail server cannot be used"
    assert f"{host} could not be used: Could not connect to server." in text_of(broken)
    assert "through the mail server of OpenAlgo instead, from noreply@example.com" in text_of(broken)
    assert "http://localhost:5000/account/smtp" in text_of(broken)
    assert server_of(config_id).broken_told_at
    with RecordingServer(host=host, port=PORT) as own:
        assert all(send(alice) for _ in range(3))
        assert len(own.mails) == 3
        assert [subject_of(mail) for mail in told(shared)[1:]] == ["OpenAlgo: your mail server works again"]
        assert len(own.mails) == 3
    row = server_of(config_id)
    assert (row.broken_told_at, row.last_error, row.fell_back) == (None, None, 3)


def test_queued_mail_tells_the_owner_as_well(
    alice: int, shared: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = free_host()
    bring(alice, host, PORT)
    for _ in range(3):
        email_service.queue_email(TO, "s", "b", account_id=alice)
    assert len(told(shared)) == 1
    now = Now()
    now.turn(3600)
    monkeypatch.setattr(clock, "now", now)
    with RecordingServer(host=host, port=PORT):
        email_service.queue_email(TO, "s", "b", account_id=alice)
        drain()
    assert [subject_of(mail) for mail in told(shared)[1:]] == ["OpenAlgo: your mail server works again"]


def test_what_cannot_be_opened_is_told_where_no_other_may_send(alice: int, shared: RecordingServer) -> None:
    policy(Fallback.NEVER)
    change(bring(alice, free_host(), PORT), smtp_server="127.9.9.9")
    assert not send(alice)
    email_service.queue_email(TO, "s", "b", account_id=alice)
    (broken,) = told(shared)
    assert "These settings were changed outside Sealpost" in text_of(broken)
    assert "Queued email will be sent once it works again." in text_of(broken)


def test_what_an_administrator_decides_is_no_breakage(alice: int, shared: RecordingServer) -> None:
    policy(Fallback.ALWAYS)
    config_id = bring(alice, free_host(), PORT)
    decide(alice, personal_smtp="disabled")
    assert send(alice)
    assert told(shared) == []
    assert server_of(config_id).fell_back == 1
    decide(alice, personal_smtp="global")
    assert send(alice)
    assert server_of(config_id).fell_back == 1


def test_many_who_meet_it_at_once_tell_it_once(app: Flask, alice: int, shared: RecordingServer) -> None:
    bring(alice, free_host(), PORT)
    mail = draft(TO, "s", "b", message_id_domain="example.com")
    outcome = attempt.deliver(mail, route.usable(alice), alice)
    assert outcome.is_complete

    def tell(_: int) -> None:
        with app.app_context():
            owner_notices.tell(outcome)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: contextvars.Context().run(tell, each), range(8)))
    assert len(told(shared)) == 1


def test_what_breaks_and_works_in_turns_is_mailed_now_and_then_and_shown_always(
    alice: int, shared: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, now = free_host(), Now()
    monkeypatch.setattr(clock, "now", now)
    config_id = bring(alice, host, PORT)

    def breaks_and_works() -> None:
        send(alice)
        assert server_of(config_id).broken_told_at == now.moment
        with RecordingServer(host=host, port=PORT):
            assert send(alice)
        assert server_of(config_id).broken_told_at is None

    for _ in range(3):
        breaks_and_works()
        now.turn(60)
    assert len(told(shared)) == 2
    now.turn(owner_notices.QUIET.total_seconds())
    breaks_and_works()
    assert len(told(shared)) == 4


def test_administrators_hear_nothing_of_a_server_that_is_not_theirs(alice: int, shared: RecordingServer) -> None:
    bob = make_bob().id
    bring(bob, free_host(), PORT)
    for _ in range(2):
        assert send(bob)
    drain()
    others = [mail for mail in shared.mails if mail.recipients != (TO,)]
    assert [mail.recipients for mail in others] == [("bob@example.com",)]


def test_a_disabled_owner_is_told_nothing(alice: int, shared: RecordingServer) -> None:
    bob = make_bob().id
    bring(bob, free_host(), PORT)
    outcome = attempt.deliver(draft(TO, "s", "b", message_id_domain="example.com"), route.usable(bob), bob)
    administration.disable(bob)
    owner_notices.tell(outcome)
    drain()
    assert [mail.recipients for mail in shared.mails] == [(TO,)]


@pytest.mark.parametrize("kind", VALUES)
def test_no_mail_of_the_system_goes_by_the_server_of_an_account(alice: int, shared: RecordingServer, kind: str) -> None:
    """Not even to its owner, who may be an administrator."""
    with RecordingServer(host=free_host(), port=PORT) as own:
        bring(alice, own.host, own.port)
        assert template_mail.send("alice@example.com", kind, **VALUES[kind])
        with transaction() as session:
            template_mail.queue(session, "alice@example.com", kind, None, **VALUES[kind])
        drain()
        assert (len(shared.mails), own.mails) == (2, [])


def test_a_failing_own_server_that_encrypts_gives_no_mail_to_one_that_does_not(
    alice: int, shared: RecordingServer
) -> None:
    host = free_host()
    with ScriptedServer({"EHLO": "250 plain.test"}, host=host, port=PORT):  # offers no STARTTLS
        bring(alice, host, PORT, security=Security.STARTTLS)
        assert not send(alice)
        mail_id = email_service.queue_email(TO, "s", "b", account_id=alice)
        drain()
    assert row_of(mail_id).reason == "withheld"
    assert [mail for mail in shared.mails if mail.recipients == (TO,)] == []
    _, *others = route.steps(alice)
    assert any(protection.refusal(step, [next(route.steps(alice))], is_security=False) for step in others)


def test_mail_falls_back_at_once_while_a_dead_server_is_left_alone(alice: int, shared: RecordingServer) -> None:
    """Its circuit is open: nobody connects, and what is known of it is that nobody could."""
    bring(alice, free_host(), PORT)
    mails = [email_service.queue_email(TO, "s", "b", account_id=alice) for _ in range(8)]
    for _ in range(2):
        drain()
    assert [row_of(each).state for each in mails] == ["sent"] * 8


def test_mail_waits_while_a_server_is_left_alone_for_what_it_said(alice: int, shared: RecordingServer) -> None:
    host = free_host()
    with ScriptedServer({"MAIL": "530 5.7.0 Authentication required"}, host=host, port=PORT):
        bring(alice, host, PORT)
        mails = [email_service.queue_email(TO, "s", "b", account_id=alice) for _ in range(3)]
        drain()
        more = email_service.queue_email(TO, "s", "b", account_id=alice)
        drain()
    assert [row_of(each).state for each in (*mails, more)] == ["deferred"] * 3 + ["queued"]  # its account rests
    assert [mail for mail in shared.mails if mail.recipients == (TO,)] == []


def test_one_accounts_dead_server_holds_no_other_mail_in_its_group(alice: int, shared: RecordingServer) -> None:
    policy(Fallback.NEVER)
    bob = make_bob().id
    bring(alice, free_host(), PORT)
    with RecordingServer(host=free_host(), port=PORT) as own:
        bring(bob, own.host, own.port)
        ids = {
            who: [email_service.queue_email(TO, "s", "b", account_id=who) for _ in range(2)]
            for who in (alice, bob, None)
        }
        drain()
        assert len(own.mails) == 2
    assert {who: {row_of(each).state for each in mails} for who, mails in ids.items()} == {
        alice: {"deferred"},
        bob: {"sent"},
        None: {"sent"},
    }


def test_a_mail_of_unknown_fate_waits_for_its_own_server_though_that_is_gone(
    alice: int, shared: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(Fallback.ALWAYS)
    host = free_host()
    with ScriptedServer({"MESSAGE": close}, host=host, port=PORT):
        config_id = bring(alice, host, PORT)
        mail_id = email_service.queue_email(TO, "s", "b", account_id=alice)
        drain()
    assert row_of(mail_id).pinned_to == f"config:{config_id}"
    decide(alice, personal_smtp="global")
    now = Now()
    now.turn(3600)
    monkeypatch.setattr(clock, "now", now)
    drain()
    assert (row_of(mail_id).state, row_of(mail_id).reason) == ("uncertain", "pinned")
    assert [mail for mail in shared.mails if mail.recipients == (TO,)] == []


@pytest.mark.parametrize("fallback", Fallback)
def test_over_its_own_servers_limit_mail_waits_unless_another_may_always_send(
    alice: int, shared: RecordingServer, fallback: Fallback
) -> None:
    policy(fallback)
    with RecordingServer(host=free_host(), port=PORT) as own:
        change(bring(alice, own.host, own.port), emails_per_minute=1)
        mails = [email_service.queue_email(TO, "s", "b", account_id=alice) for _ in range(2)]
        drain()
        assert send(alice) is (fallback is Fallback.ALWAYS)
        assert len(own.mails) == 1
    falls = fallback is Fallback.ALWAYS
    assert sorted(row_of(each).state for each in mails) == (["sent"] * 2 if falls else ["deferred", "sent"])
    assert len(shared.mails) == 2 * falls
