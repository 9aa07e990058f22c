"""Slow servers: a worker has RFC 5321's patience, a caller the time-out's; none holds everybody, nor a stop."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from database.outbox_db import OutboxMail, State
from services import email_service
from services.delivery import attempt, held_servers
from services.diagnosis.diagnosis import diagnose
from services.diagnosis.picture import Picture
from services.outbox.reasons import Reason
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp import patience
from services.smtp.patience import RFC_5321, Queueing, Span
from services.smtp.settings import Security, SmtpSettings
from services.worker import groups, lease, threads
from services.worker.lease import GROUP_SECONDS, Pace
from tests.mails import queued
from tests.outbox import row_of
from tests.patience import PATIENCE, pace, stretched, wait_until
from tests.recording_server import RecordingServer
from tests.scripted_server import Connection, ScriptedServer, hang, late, pause
from tests.visitors import mail_through
from utils import clock
from utils.errors import DeliveryError, Fault, Phase

ANN = "ann@example.com"
LATER = 1.3  # seconds, more than the field of the settings says below
PLAIN = "250 scripted.test"


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def active(running: ExitStack, script: dict[str, Any], **change: Any) -> ScriptedServer:
    silent = running.enter_context(ScriptedServer(script))
    place = {"smtp_server": silent.host, "smtp_port": silent.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 1, "failover": False, **change}), actor="tester")
    return silent


def worked_off(span: Span) -> None:
    """Deliver one group in this time."""
    group = groups.claim_group("test", Pace())
    assert group
    groups.work_off(replace(group, span=span), Pace())


def settings(**changes: Any) -> SmtpSettings:
    place: dict[str, Any] = {"host": "mail.example.com", "port": 587, "security": Security.STARTTLS}
    return SmtpSettings(**{**place, "from_email": "s@example.com", **changes})


@pytest.mark.parametrize(
    "verbs", [("GREETING", "RCPT"), ("EHLO", "MAIL"), ("DATA", "MESSAGE")], ids=["opening", "sender", "message"]
)
def test_a_worker_waits_longer_than_the_time_out_says(servers: ExitStack, verbs: tuple[str, ...]) -> None:
    answers = {"GREETING": "220 a.test", "EHLO": PLAIN, "DATA": "354 go ahead"}
    active(servers, {"EHLO": PLAIN} | {verb: (pause(LATER), answers.get(verb, "250 ok")) for verb in verbs})
    mail_id = queued(ANN)
    worked_off(Span(GROUP_SECONDS))
    assert row_of(mail_id).state == State.SENT


def test_a_worker_has_the_times_of_rfc_5321() -> None:
    waits = {phase: RFC_5321.of(phase) for phase in Phase}
    assert {waits[phase] for phase in (Phase.GREETING, Phase.EHLO, Phase.ENCRYPTION, Phase.SIGN_IN)} == {300}
    assert (waits[Phase.SENDER], waits[Phase.RECIPIENT], waits[Phase.DATA]) == (300, 300, 120)
    assert (RFC_5321.block, RFC_5321.receipt) == (180, 600)


def test_a_caller_waits_as_long_as_the_time_out_says_and_no_hidden_total_cuts_that_short(servers: ExitStack) -> None:
    slow = {"GREETING": late("220 a.test", LATER), "RCPT": late("250 ok", LATER)}
    active(servers, slow, timeout_seconds=1)
    assert email_service.send_email(ANN, "s", "b") is False
    active(servers, slow, timeout_seconds=math.ceil(LATER + stretched(0.5)))
    assert email_service.send_email(ANN, "s", "b") is True


@pytest.mark.parametrize(("field", "total"), [(1, 20), (10, 80), (13, 104), (20, 120), (60, 120)])
def test_the_whole_of_a_callers_conversation_has_room_for_slow_steps(app: Flask, field: int, total: float) -> None:
    policy = attempt.policy_for(settings(timeout_seconds=field))
    assert policy.patience
    assert (policy.patience.of(Phase.RECIPIENT), policy.total_seconds) == (field, total)


def test_how_patient_one_is_makes_no_other_connection(app: Flask) -> None:
    ours = settings()
    assert attempt.policy_for(ours) == attempt.patient_policy(ours, Span(5))


def test_after_its_time_the_rest_of_a_group_is_given_back_uncharged(servers: ExitStack) -> None:
    server = active(servers, {"EHLO": PLAIN, "RCPT": late("250 ok", stretched(0.3))})
    mail_ids = [queued(ANN) for _ in range(8)]
    worked_off(Span(stretched(1.0)))
    rows = [row_of(mail_id) for mail_id in mail_ids]
    left = [row for row in rows if row.state == State.DEFERRED]
    assert 0 < len(server.messages) == len(rows) - len(left) < len(rows)
    assert {(row.attempts, row.uncertain, row.reason) for row in left} == {(0, 0, Reason.GIVEN_BACK)}
    assert all(row.due_at <= clock.now() for row in left)


def test_a_receipt_is_waited_for_even_after_the_groups_time(servers: ExitStack) -> None:
    active(servers, {"EHLO": PLAIN, "MESSAGE": late("250 ok", stretched(1.0))})
    mail_id = queued(ANN)
    worked_off(Span(stretched(0.5)))
    assert row_of(mail_id).state == State.SENT


def test_a_group_whose_time_is_over_before_it_begins_says_nothing(servers: ExitStack) -> None:
    server = active(servers, {})
    mail_id = queued(ANN)
    worked_off(Span(0.0))
    assert (row_of(mail_id).reason, server.connections) == (Reason.GIVEN_BACK, [])


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_stop_waits_for_no_silent_server_and_what_it_did_not_take_is_due_at_once(
    app: Flask, servers: ExitStack, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(patience, "STOP_SILENCE", stretched(0.2))
    reached = threading.Event()

    def hang_here(connection: Connection) -> None:
        reached.set()
        hang(connection)

    active(servers, {"EHLO": PLAIN, verb: hang_here})
    mail_id = queued(ANN)
    started = threads.start(app)
    assert reached.wait(PATIENCE)
    started.stop(seconds=PATIENCE)
    assert not [thread for thread in threading.enumerate() if thread.name == "mail-sender"]
    row = row_of(mail_id)
    assert (row.state, row.attempts, row.uncertain, row.lease_token) == (State.DEFERRED, 0, 0, None)
    assert row.due_at <= clock.now()


def test_a_stop_does_not_wait_for_ever_for_a_receipt_and_tells_that_nobody_knows(
    app: Flask, servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "STOP_SILENCE", stretched(0.2))
    monkeypatch.setattr(lease, "RECEIPT_SECONDS", stretched(0.5))
    silent = active(servers, {"MESSAGE": hang})
    mail_id = queued(ANN)
    started = threads.start(app)
    wait_until(lambda: bool(silent.messages))
    started.stop(seconds=PATIENCE)
    assert not started.is_alive()
    assert row_of(mail_id).state == State.UNCERTAIN


def test_a_server_that_answers_late_is_still_heard_at_a_stop(app: Flask, servers: ExitStack) -> None:
    slow = active(servers, {"MESSAGE": late("250 ok", 1.0)})
    mail_id = queued(ANN)
    started = threads.start(app)
    wait_until(lambda: bool(slow.messages))
    started.stop()
    assert row_of(mail_id).state == State.SENT


def test_a_silent_server_holds_those_who_wait_for_it_and_other_mail_goes_through_others(
    app: Flask, server: RecordingServer, servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_servers, "HELD_AFTER", stretched(0.3))
    monkeypatch.setattr(threads, "SWEEP_SECONDS", stretched(0.2))
    active(servers, {"GREETING": hang}, failover=True)
    for _ in range(3 * 8):
        queued(ANN)
    started = threads.start(app, senders=2)
    try:
        assert len(server.wait_for_mail(8)) >= 8
    finally:
        servers.close()
        started.stop()


def test_mail_that_a_silent_greeting_holds_goes_another_way(
    app: Flask, server: RecordingServer, servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_servers, "HELD_AFTER", stretched(0.3))
    monkeypatch.setattr(threads, "SWEEP_SECONDS", stretched(0.2))
    active(servers, {"GREETING": hang}, failover=True)
    mail_ids = [queued(ANN) for _ in range(3 * 8)]
    started = threads.start(app, senders=2)
    try:
        server.wait_for_mail(len(mail_ids))
        wait_until(lambda: {row_of(mail_id).state for mail_id in mail_ids} == {State.SENT})
        assert {row_of(mail_id).attempts for mail_id in mail_ids} == {1}
    finally:
        servers.close()
        started.stop()


def test_a_silent_server_keeps_one_sender_and_a_late_greeting_is_of_use(
    app: Flask, servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_servers, "HELD_AFTER", stretched(0.3))
    monkeypatch.setattr(held_servers, "LOOK_AGAIN", stretched(0.2))
    monkeypatch.setattr(threads, "SWEEP_SECONDS", stretched(0.2))
    slow = active(servers, {"GREETING": late("220 at last", stretched(1.5))})
    mail_ids = [queued(ANN) for _ in range(2 * 8)]
    started = threads.start(app, senders=2)
    try:
        wait_until(lambda: {row_of(mail_id).state for mail_id in mail_ids} == {State.SENT})
        assert {row_of(mail_id).attempts for mail_id in mail_ids} == {1}
        assert len(slow.connections) <= 3
    finally:
        servers.close()
        started.stop()


@pytest.mark.parametrize("count", [3, 5])
def test_many_silent_servers_hold_a_few_senders_only(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_servers, "HELD_AFTER", 0.0)
    waits = held_servers.Waits()
    with ExitStack() as stack:
        spans = [Span(60) for _ in range(count)]
        for number, span in enumerate(spans):
            stack.enter_context(waits.at(f"config:{number}", span, is_security=False))
            stack.enter_context(span.covers(Queueing()))
        assert len(waits.surplus()) == count - held_servers.MOST_HELD


def test_mail_of_new_settings_goes_while_every_sender_waits_for_the_former_server(
    app: Flask, servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_servers, "HELD_AFTER", stretched(0.3))
    monkeypatch.setattr(threads, "SWEEP_SECONDS", stretched(0.2))
    silent = active(servers, {"MAIL": hang})
    for _ in range(2 * 8):
        queued(ANN)
    started = threads.start(app, senders=2)
    try:
        wait_until(lambda: silent.verbs.count("MAIL") == 2)
        good = servers.enter_context(RecordingServer())
        place = {"smtp_server": good.host, "smtp_port": good.port, "use_tls": False, "from_email": "s@example.com"}
        configs.create(parse_change({**place, "name": "Good", "is_active": True}), actor="tester")
        queued("new@example.com")
        wait_until(lambda: ("new@example.com",) in [mail.recipients for mail in good.mails])
    finally:
        servers.close()
        started.stop()


def test_mail_for_a_server_that_holds_others_waits_uncharged(
    app: Flask, servers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_servers, "HELD_AFTER", stretched(0.3))
    silent = active(servers, {"MAIL": hang})
    queued(ANN)
    started = threads.start(app, senders=1)
    try:
        silent.wait_for("MAIL")
        time.sleep(stretched(0.4))  # the silence itself is what is looked at
        mail_id = queued(ANN)

        def found() -> OutboxMail:
            return row_of(mail_id)

        wait_until(lambda: found().state == State.DEFERRED)
        assert (found().reason, found().attempts) == (Reason.SILENT, 0)
    finally:
        servers.close()
        started.stop()


def test_leases_are_renewed_while_a_server_is_silent(app: Flask, servers: ExitStack) -> None:
    silent = active(servers, {"MAIL": hang})
    mail_id = queued(ANN)
    started = threads.start(app, pace=pace(lease=1))
    try:
        silent.wait_for("MAIL")
        first = row_of(mail_id).lease_until
        assert first
        wait_until(lambda: (row_of(mail_id).lease_until or first) > first + timedelta(seconds=1))
        assert row_of(mail_id).state == State.TRANSMITTING
    finally:
        servers.close()
        started.stop()


@pytest.mark.parametrize("port", [25, 587, 2525])
def test_the_time_out_is_named_first_where_no_greeting_came(port: int) -> None:
    error = DeliveryError(Phase.GREETING, Fault.TIMEOUT, "The server took too long.")
    found = diagnose(error, Picture(settings=settings(port=port)))
    assert (found.field, found.retryable) == ("timeout_seconds", True)
    assert found.remedy.startswith("Raise the timeout")


@pytest.mark.parametrize("phase", [Phase.EHLO, Phase.SIGN_IN, Phase.SENDER, Phase.RECIPIENT, Phase.DATA])
def test_the_time_out_is_named_first_where_another_answer_came_too_late(phase: Phase) -> None:
    found = diagnose(DeliveryError(phase, Fault.TIMEOUT, "The server took too long."), Picture(settings=settings()))
    assert (found.field, found.remedy.startswith("Raise the timeout")) == ("timeout_seconds", True)
