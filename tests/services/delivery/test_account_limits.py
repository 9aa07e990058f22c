"""An account sends no more than it may, over all of its mail and beside that through the global server."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import event, update

from app import create_app
from database import attempt_db
from database.engine import db, reading, transaction
from database.outbox_db import Priority, State
from database.policy_db import PersonalPolicy
from database.user_db import Account
from services import email_service
from services.delivery import attempt
from services.delivery.outcome import Outcome
from services.message.draft import draft
from services.outbox import log as mail_log
from services.settings import configs, route
from services.settings.fields import parse_change
from services.settings.personal_policy import Fallback
from services.settings.personal_route import PERSONAL
from services.settings.route import RouteStep
from tests.loopback import free_port
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.own_servers import PLACES, PORT, bring, free_host
from tests.recording_server import RecordingServer
from tests.visitors import mail_through, make_alice, make_bob
from utils import clock

ANN = "ann@example.com"
ALL_MAIL = "The account’s sending limit is reached: 3 emails a minute."
BY_GLOBAL = "The account’s limit for the global server is reached: 2 emails a minute."


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "ACCOUNT_EMAILS_PER_MINUTE": "3", "FALLBACK_EMAILS_PER_MINUTE": "0"}


@pytest.fixture
def server(app: Flask) -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        place = {
            "smtp_server": running.host,
            "smtp_port": running.port,
            "use_tls": False,
            "from_email": "s@example.com",
        }
        configs.save(parse_change({**place, "failover": False}), actor="tester")
        yield running


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


@pytest.fixture
def bob(app: Flask) -> int:
    return make_bob().id


def may(account_id: int, **limits: int | None) -> None:
    """What an administrator sets for one account."""
    with transaction() as session:
        session.execute(update(Account).where(Account.id == account_id).values(**limits))


def policy(**limits: int | None) -> None:
    """What an administrator sets for all."""
    with transaction() as session:
        session.add(PersonalPolicy(hosts="", updated_at=clock.now(), **limits))


def send(times: int, account_id: int | None) -> list[bool]:
    return [email_service.send_email(ANN, "Subject", "Text", account_id=account_id) for _ in range(times)]


def deliver(account_id: int, *steps: RouteStep) -> Outcome:
    mail = draft(ANN, "Subject", "Text", kind="other", message_id_domain="example.com")
    return attempt.deliver(mail, steps, account_id)


def own_server() -> RouteStep:
    """The global server as if it were an account's own."""
    found = route.first_usable()
    assert found
    return replace(found, source=PERSONAL)


def reasons(mail_ids: list[str]) -> list[str]:
    return [mail_log.story(mail_id).mail.reason for mail_id in mail_ids]


def test_of_direct_mail_no_more_goes_than_the_account_may(server: RecordingServer, alice: int) -> None:
    assert send(5, alice) == [True] * 3 + [False] * 2
    assert len(server.mails) == 3
    with reading() as session:
        assert attempt_db.latest(session, 1)[0].reply == ALL_MAIL


def test_one_accounts_mail_takes_nothing_of_anothers_and_nothing_of_the_systems(
    server: RecordingServer, alice: int, bob: int
) -> None:
    assert send(4, alice)[-1] is False
    assert send(3, bob) == [True] * 3
    assert all(send(5, None))


def test_queued_mail_over_the_limit_waits_uncharged_and_says_which_limit_it_is(
    server: RecordingServer, alice: int
) -> None:
    mail_ids = [queued(ANN, account_id=alice) for _ in range(5)]
    drain()
    rows = [row_of(mail_id) for mail_id in mail_ids]
    assert [row.state for row in rows] == [State.SENT] * 3 + [State.DEFERRED] * 2
    assert [row.attempts for row in rows[3:]] == [0, 0]
    assert reasons(mail_ids[3:]) == [ALL_MAIL] * 2
    assert all(timedelta(0) < row.due_at - clock.now() <= timedelta(seconds=60) for row in rows[3:])


def test_queued_and_direct_mail_take_their_places_in_the_same_allowance(server: RecordingServer, alice: int) -> None:
    assert send(2, alice) == [True] * 2
    mail_ids = [queued(ANN, account_id=alice) for _ in range(2)]
    drain()
    assert [row_of(mail_id).state for mail_id in mail_ids] == [State.SENT, State.DEFERRED]
    assert send(1, alice) == [False]


@pytest.mark.parametrize(
    ("theirs", "going"),
    [
        ({"emails_per_minute": 1}, 1),
        ({"emails_per_minute": 5}, 5),
        ({"emails_per_minute": 0}, 6),
        ({"emails_per_minute": None}, 3),
        ({"emails_per_minute": 0, "emails_per_day": 2}, 2),
        ({"emails_per_day": 2}, 2),
        ({"emails_per_minute": 0, "emails_per_day": 0}, 6),
    ],
)
def test_a_limit_set_for_one_account_takes_the_place_of_everybodys(
    server: RecordingServer, alice: int, bob: int, theirs: dict[str, int | None], going: int
) -> None:
    may(alice, **theirs)
    assert send(6, alice).count(True) == going
    assert send(6, bob).count(True) == 3


def test_a_limit_a_day_is_named_as_such(server: RecordingServer, alice: int) -> None:
    may(alice, emails_per_day=1)
    mail_ids = [queued(ANN, account_id=alice) for _ in range(2)]
    drain()
    assert reasons(mail_ids[1:]) == ["The account’s sending limit is reached: 1 email a day."]


def test_another_limit_holds_from_the_next_mail_on(server: RecordingServer, alice: int) -> None:
    assert send(4, alice)[-1] is False
    may(alice, emails_per_minute=4)
    assert send(2, alice) == [True, False]
    may(alice, emails_per_minute=2)
    assert send(1, alice) == [False]


def test_what_the_page_sets_for_all_holds_where_the_environment_names_nothing(
    server: RecordingServer, alice: int
) -> None:
    policy(emails_per_minute=1, emails_per_day=2)
    assert send(4, alice).count(True) == 2


def test_the_global_server_has_a_budget_of_its_own_beside_the_accounts_own_server(
    server: RecordingServer, alice: int
) -> None:
    policy(fallback_per_day=2)
    servers = own_server(), route.first_usable()
    may(alice, emails_per_minute=0)
    global_server = servers[1]
    assert global_server
    assert [deliver(alice, servers[0]).is_complete for _ in range(4)] == [True] * 4
    assert [deliver(alice, global_server).is_complete for _ in range(3)] == [True, True, False]
    assert deliver(alice, global_server).message == BY_GLOBAL.replace("minute", "day")
    assert deliver(alice, servers[0]).is_complete


def test_a_mail_that_tries_two_servers_takes_one_place(server: RecordingServer, alice: int) -> None:
    may(alice, emails_per_minute=2)
    found = own_server()
    assert found.settings
    settings = replace(found.settings, port=free_port())
    dead = replace(found, settings=settings, config_id=None, falls_back=Fallback.ALWAYS)
    other = route.first_usable()
    assert other
    assert [deliver(alice, dead, other).is_complete for _ in range(3)] == [True, True, False]


def test_over_its_limit_an_account_does_not_turn_to_the_next_server(server: RecordingServer, alice: int) -> None:
    first = replace(own_server(), falls_back=Fallback.ALWAYS)
    for _ in range(3):
        deliver(alice, first)
    other = route.first_usable()
    assert other
    assert deliver(alice, first, other).skipped == ()
    with reading() as session:
        assert [row.outcome for row in attempt_db.latest(session, 2)] == ["throttled", "accepted"]


def test_security_mail_of_an_account_is_counted_and_never_held_up(server: RecordingServer, alice: int) -> None:
    urgent = [queued(ANN, account_id=alice, priority=Priority.SECURITY) for _ in range(4)]
    drain()
    assert {row_of(mail_id).state for mail_id in urgent} == {State.SENT}
    assert send(1, alice) == [False]


def test_administrators_are_not_told_that_an_account_sends_much(server: RecordingServer, alice: int) -> None:
    accounts_before = len(server.mails)
    send(4, alice)
    drain()
    assert len(server.mails) == accounts_before + 3


def test_mail_of_the_system_asks_the_database_for_no_limits(server: RecordingServer, alice: int) -> None:
    said: list[str] = []

    def hear(*arguments: object) -> None:
        said.append(str(arguments[2]))

    event.listen(db.engine, "before_cursor_execute", hear)
    try:
        send(1, None)
        of_system = list(said)
        send(1, alice)
    finally:
        event.remove(db.engine, "before_cursor_execute", hear)
    assert not [each for each in of_system if "personal_policy" in each or "FROM account" in each]
    assert [each for each in said if "personal_policy" in each]


def test_mail_through_accounts_own_servers_takes_no_place_of_a_domain_from_ours(
    environment: dict[str, str], tmp_path: Path
) -> None:
    variables = {**environment, **PLACES, "EMAILS_PER_MINUTE_PER_DOMAIN": "1"}
    with RecordingServer(host=free_host(), port=PORT) as own, RecordingServer() as ours:
        with create_app({**variables, **mail_through(ours)}, instance_path=tmp_path).app_context():
            upgrade()
            account_id = make_alice().id
            bring(account_id, own.host, own.port)
            assert send(2, account_id) == [True, True]
            mail_id = queued(ANN, account_id=account_id)
            drain()
            assert row_of(mail_id).state == State.SENT
            assert send(2, None) == [True, False]
        assert (len(own.mails), len(ours.mails)) == (3, 1)
