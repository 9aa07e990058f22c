"""What is sent at once takes its places in the same allowances as what is queued, and is told when there is none."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database import attempt_db
from database.attempt_db import EmailAttempt
from database.engine import db, reading
from database.outbox_db import State
from services import email_service
from services.checks import connection_test
from services.outbox import log as mail_log
from services.outbox.reasons import Reason
from services.settings import configs, route
from services.settings.fields import parse_change
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.redis_server import RedisServer
from tests.server_form import run_test
from tests.statements import heard
from tests.visitors import Visitor, mail_through

REASON = Reason.THROTTLED.text


@pytest.fixture
def backup() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], backup: RecordingServer) -> dict[str, str]:
    return {**environment, **mail_through(backup), "DEFAULT_FROM_EMAIL": "backup@example.net"}


def set_up(server: RecordingServer, **more: object) -> None:
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "failover": False, **more}), actor="tester")


def send(times: int = 1, to: str | list[str] = "ann@example.com") -> list[bool]:
    return [email_service.send_email(to, "Subject", "Text") for _ in range(times)]


def attempts() -> list[EmailAttempt]:
    """The first one first."""
    with reading() as session:
        return attempt_db.latest(session, 100)[::-1]


def test_of_six_direct_mails_no_more_go_than_two_a_minute(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=2)
    assert send(6) == [True, True, False, False, False, False]
    assert len(server.mails) == 2


def test_the_environments_limit_holds_as_well(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    with create_app({**environment, "EMAILS_PER_MINUTE": "10"}, instance_path=tmp_path).app_context():
        set_up(server)
        assert send(12).count(True) == len(server.mails) == 8


@pytest.mark.parametrize("limit", ["emails_per_minute", "emails_per_day"])
def test_each_limit_of_a_configuration_holds(app: Flask, server: RecordingServer, limit: str) -> None:
    set_up(server, **{limit: 5})
    assert send(6) == [True] * 4 + [False] * 2


def test_the_fallback_is_limited_too_and_counts_apart_from_the_server_it_stands_in_for(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer, backup: RecordingServer
) -> None:
    with create_app({**environment, "EMAILS_PER_MINUTE": "2"}, instance_path=tmp_path).app_context():
        set_up(server)
        assert send(3) == [True, True, False]
        active = configs.find_active()
        assert active
        configs.deactivate(active.row.id)
        assert send(3) == [True, True, False]
        mail_id = queued("ann@example.com")
        drain()
        assert (row_of(mail_id).state, row_of(mail_id).reason) == (State.DEFERRED, Reason.THROTTLED)
    assert (len(server.mails), len(backup.mails)) == (2, 2)


def test_the_reason_stands_in_the_log_and_in_the_attempts_row(
    app: Flask, server: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    set_up(server, emails_per_minute=1)
    send()
    caplog.set_level(logging.INFO)
    assert send() == [False]
    *_, line = (record.msg for record in caplog.records if "email_attempt" in str(record.msg))
    row = attempts()[-1]
    assert "'outcome': 'throttled'" in str(line)
    assert REASON in str(line)
    assert (row.outcome, row.reply, row.code, row.config_id) == ("throttled", REASON, None, 1)


def test_the_limit_is_told_on_the_page_and_is_no_answer_of_the_server(server: RecordingServer, admin: Visitor) -> None:
    set_up(server, emails_per_minute=1)
    send(2)
    newest = mail_log.direct()[0][0]
    assert newest.look.word == "Over the limit"
    assert newest.reply == ""
    page = admin.get("/emails?from=direct").text
    assert f"<strong>{REASON}</strong> Send it later, or queue it" in page
    assert "The server&#39;s answer: </span><code>The sending" not in page


def test_queued_mail_waits_for_what_was_sent_directly(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=5)
    assert all(send(4))
    mail_id = queued()
    drain()
    assert (row_of(mail_id).state, row_of(mail_id).reason) == (State.DEFERRED, Reason.THROTTLED)


def test_a_direct_mail_does_not_go_in_the_place_of_queued_ones(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=5)
    ids = [queued() for _ in range(4)]
    drain()
    assert {row_of(mail_id).state for mail_id in ids} == {State.SENT}
    assert send() == [False]


def test_an_order_notification_is_refused_and_does_not_raise(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=1)
    assert [email_service.send_order_notification("ann@example.com", {}) for _ in range(2)] == [True, False]
    assert attempts()[-1].kind == "order_notification"


def test_a_reset_mail_goes_over_the_limit_and_is_counted(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=5)
    assert all(email_service.send_password_reset_email("ann@example.com", "token") for _ in range(7))
    assert send() == [False]
    assert len(server.mails) == 7


def test_a_reset_mail_goes_although_others_have_used_the_limit_up(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=1)
    assert send(2) == [True, False]
    assert email_service.send_password_reset_email("ann@example.com", "token")


def test_a_connection_test_is_counted(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=1)
    assert email_service.test_smtp_connection() == (True, "Connection successful")
    assert send() == [False]


def test_a_connection_test_is_never_refused(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=1)
    send(2)
    assert [email_service.test_smtp_connection()[0] for _ in range(3)] == [True] * 3


def test_a_test_email_counts_to_its_recipients_domain(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    with create_app({**environment, "EMAILS_PER_MINUTE_PER_DOMAIN": "1"}, instance_path=tmp_path).app_context():
        set_up(server)
        step = next(route.steps())
        assert step.settings
        assert connection_test.run(step.settings, to="ann@example.com", server=step).ok
        assert send() == [False]
        assert send(to="ann@example.org") == [True]


@pytest.mark.parametrize("arguments", ["test", "test 1", "validate", "validate --test-email=ann@example.com"])
def test_a_test_by_command_is_counted(app: Flask, server: RecordingServer, arguments: str) -> None:
    set_up(server, emails_per_minute=1)
    app.test_cli_runner().invoke(args=["smtp", *arguments.split()])
    assert send() == [False]


@pytest.mark.parametrize("body", [None, {}, {"from_name": "Shop"}, {"to": "ann@example.com"}])
def test_a_test_by_the_api_is_counted(
    server: RecordingServer, client: Visitor, bearer: dict[str, str], body: dict[str, str] | None
) -> None:
    set_up(server, emails_per_minute=1)
    assert client.post("/api/settings/smtp/test", json=body, headers=bearer).status_code == 200
    assert send() == [False]


@pytest.mark.parametrize("fields", [{"saved": "1"}, {}])
def test_a_test_on_the_page_is_counted(server: RecordingServer, admin: Visitor, fields: dict[str, str]) -> None:
    set_up(server, emails_per_minute=1)
    assert run_test(admin, server, **fields).status_code == 200
    assert send() == [False]


def test_a_test_of_another_host_in_the_form_is_none_of_this_server(app: Flask, server: RecordingServer) -> None:
    set_up(server, emails_per_minute=1)
    step = next(route.steps())
    settings = configs.preview(parse_change({"smtp_server": "localhost"}), step.config_id)
    connection_test.plan(settings, server=step)
    assert send() == [True]


def test_over_the_limit_a_next_server_with_room_takes_over(
    app: Flask, server: RecordingServer, backup: RecordingServer
) -> None:
    set_up(server, emails_per_minute=1, failover=True)
    assert send(2) == [True, True]
    assert (len(server.mails), len(backup.mails)) == (1, 1)
    assert [row.outcome for row in attempts()] == ["accepted", "throttled", "accepted"]
    assert b"Reply-To: s@example.com" in backup.mails[0].content


def test_that_a_server_has_had_enough_is_no_failure_of_it(
    admin: Visitor, server: RecordingServer, backup: RecordingServer
) -> None:
    set_up(server, emails_per_minute=1, failover=True)
    send(2)
    stored = configs.get(1).row
    assert (stored.last_error, stored.failed_over_at) == (None, None)
    assert mail_log.mails()[0] == []  # no notice that it was down


def test_over_the_limits_of_both_servers_a_mail_is_refused_with_a_row_for_each(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    with create_app({**environment, "EMAILS_PER_MINUTE": "1"}, instance_path=tmp_path).app_context():
        set_up(server, failover=True)
        assert send(3) == [True, True, False]
        assert [row.outcome for row in attempts()[-2:]] == ["throttled", "throttled"]


def test_without_failover_no_other_server_takes_over(
    app: Flask, server: RecordingServer, backup: RecordingServer
) -> None:
    set_up(server, emails_per_minute=1)
    assert send(2) == [True, False]
    assert backup.mails == []


def test_a_mail_to_many_is_one_mail_and_one_to_each_domain(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    limits = {"EMAILS_PER_MINUTE": "5", "EMAILS_PER_MINUTE_PER_DOMAIN": "1"}
    with create_app({**environment, **limits}, instance_path=tmp_path).app_context():
        set_up(server)
        assert send(to=["ann@example.com", "bob@example.com", "cy@example.org"]) == [True]
        assert send(to="dan@example.com") == [False]
        assert send(2, to="eve@example.net") == [True, False]


def test_what_is_only_recorded_or_suppressed_takes_no_place(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    with create_app(environment, instance_path=tmp_path).app_context():
        set_up(server, emails_per_minute=1)
        with email_service.record_messages() as recorded:
            assert send(3) == [True] * 3
        assert len(recorded) == 3
        assert send() == [True]


def test_processes_count_their_direct_mails_together_in_redis(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    redis = RedisServer()
    redis.start()
    try:
        shared = {**environment, "RATELIMIT_STORAGE_URI": redis.url}
        apps = [create_app(shared, instance_path=tmp_path) for _ in range(2)]
        with apps[0].app_context():
            set_up(server, emails_per_minute=5)
            assert email_service.send_password_reset_email("ann@example.com", "token")
        told = []
        for each in apps * 3:
            with each.app_context():
                told += send()
        assert told == [True] * 3 + [False] * 3
    finally:
        redis.stop()


def test_the_limit_is_kept_on_either_database(
    on_either: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    with create_app(on_either, instance_path=tmp_path).app_context():
        set_up(server, emails_per_minute=1)
        assert send(2) == [True, False]
        assert attempts()[-1].outcome == "throttled"
        db.engine.dispose()


def test_limits_cost_no_statement_more(app: Flask, server: RecordingServer) -> None:
    def said() -> list[str]:
        statements: list[str] = []
        with heard(db.engine, lambda statement, _parameters: statements.append(statement)):
            assert send() == [True]
        return statements

    set_up(server)
    send(2)
    without = said()
    set_up(server, emails_per_minute=100, version=configs.get(1).row.version)
    send(2)
    assert said() == without
