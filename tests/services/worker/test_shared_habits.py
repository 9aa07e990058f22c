"""What is learnt of a server serves worker, `send_email` and test alike, in every process, and can be read."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from click.testing import Result
from flask import Flask

from database.outbox_db import OutboxMail, State
from services import email_service
from services.checks import connection_test
from services.settings import configs, server_habits
from services.settings.fields import parse_change
from services.smtp import habits
from services.smtp.habits import Habit, habits_of
from services.smtp.pool import pool
from tests.mails import queued
from tests.odd_servers import Hearing, OddServer, first_of_a_segment, last_of_a_segment, not_behind_the_dot
from tests.outbox import drain, row_of
from utils.errors import Phase

MARKS = "MAIL FROM:<ceo@victim.example>\nRCPT TO:<target@victim.example>\nDATA\nSubject: Pay\n\nNow.\n.\n"


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running
        pool.close()


def odd(servers: ExitStack, server: OddServer) -> OddServer:
    """A server that the active configuration names."""
    servers.enter_context(server)
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 2}), actor="tester")
    return server


def rows(mail_ids: list[str]) -> list[OutboxMail]:
    return [row_of(mail_id) for mail_id in mail_ids]


def test_of_500_queued_mails_none_is_charged_twice_where_nothing_may_come_behind_the_dot(servers: ExitStack) -> None:
    server = odd(servers, OddServer(not_behind_the_dot))
    mail_ids = [queued(f"m{number}@example.com") for number in range(500)]
    drain()
    assert {(row.state, row.attempts) for row in rows(mail_ids)} == {(State.SENT, 1)}
    assert sorted(server.recipients) == sorted(f"m{number}@example.com" for number in range(500))
    assert server.connected <= 8


@pytest.mark.parametrize("hearing", [first_of_a_segment, last_of_a_segment])
def test_a_queued_mail_is_sent_with_one_attempt_where_commands_are_only_heard_singly(
    servers: ExitStack, hearing: Hearing
) -> None:
    odd(servers, OddServer(hearing, chunking=True))
    mail_ids = [queued(f"m{number}@example.com") for number in range(9)]
    drain()
    assert {(row.state, row.attempts) for row in rows(mail_ids)} == {(State.SENT, 1)}


def test_queued_mail_to_an_unknown_recipient_smuggles_nothing_and_takes_no_other_along(servers: ExitStack) -> None:
    server = odd(servers, OddServer(chunking=True, swallows=False, unknown={"bad@example.com"}))
    good = [queued(f"m{number}@example.com") for number in range(6)]
    bad = email_service.queue_email("bad@example.com", "x", MARKS)
    good += [queued(f"n{number}@example.com") for number in range(6)]
    drain()
    assert {row.state for row in rows(good)} == {State.SENT}
    assert row_of(bad).state == State.FAILED
    assert not any("victim" in line for line in server.commands)


@pytest.mark.parametrize("hearing", [first_of_a_segment, last_of_a_segment, not_behind_the_dot])
def test_send_email_gets_through_at_once(servers: ExitStack, hearing: Hearing) -> None:
    odd(servers, OddServer(hearing, chunking=True))
    assert [email_service.send_email(f"m{number}@example.com", "Hello", "Hello") for number in range(3)] == [True] * 3


def test_a_test_message_gets_through_as_well(servers: ExitStack) -> None:
    odd(servers, OddServer(first_of_a_segment))
    active = configs.find_active()
    assert active is not None
    assert active.settings is not None
    assert connection_test.run(active.settings, to="ann@example.com").ok


def test_another_process_knows_what_one_has_learnt(servers: ExitStack) -> None:
    server = odd(servers, OddServer(last_of_a_segment))
    assert email_service.send_email("ann@example.com", "Hello", "Hello")
    pool.close()
    habits.forget_all()
    assert server_habits.recall(server.host, server.port).lacks(Habit.PIPELINING)
    before = server.connected
    assert email_service.send_email("bob@example.com", "Hello", "Hello")
    assert server.connected == before + 1


def test_a_habit_stands_in_the_log_line_of_an_attempt(servers: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    odd(servers, OddServer(last_of_a_segment))
    with caplog.at_level("INFO"):
        email_service.send_email("ann@example.com", "Hello", "Hello")
    (line,) = (str(record.msg) for record in caplog.records if "email_attempt" in str(record.msg))
    assert "accepts one command at a time" in line


def test_the_test_says_what_is_known(servers: ExitStack) -> None:
    server = odd(servers, OddServer())
    habits_of(server.host, server.port).learn(Habit.BEHIND_DOT, False)
    habits_of(server.host, server.port).learn(Habit.MOST_RECIPIENTS, 3)
    active = configs.find_active()
    assert active is not None
    assert active.settings is not None
    (hello,) = (step for step in connection_test.run(active.settings).steps if step.name is Phase.EHLO)
    known = "accepts nothing after the end of a message, accepts 3 recipients of one email at a time"
    assert hello.fact.endswith(f"Known: {known}")


def test_the_command_shows_what_is_known(servers: ExitStack, app: Flask) -> None:
    server = odd(servers, OddServer(last_of_a_segment))
    email_service.send_email("ann@example.com", "Hello", "Hello")
    habits.forget_all()
    run: Callable[..., Result] = app.test_cli_runner().invoke
    assert "It accepts one command at a time." in run(args=["smtp", "show", "Primary"]).output
    assert habits_of(server.host, server.port).lines()
