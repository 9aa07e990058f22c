"""What others get wrong about sending: refusals of several kinds at once, retries, brokers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery
from flask import Flask

from app import create_app
from database.outbox_db import State
from services import email_service
from services.outbox.reasons import Reason
from services.settings import configs
from services.settings.fields import parse_change
from services.worker import celery_tasks
from tests.loopback import free_port
from tests.mails import change, queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer
from tests.visitors import mail_through
from utils import clock

ANN, BOB = "ann@example.com", "bob@example.com"
GONE, FULL, GREY, RELAY = "550 5.1.1 nobody", "552 5.2.2 full", "450 4.2.0 greylisted", "550 5.7.1 relay denied"


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def scripted(servers: ExitStack, **script: Answer | list[Answer]) -> ScriptedServer:
    """A server with this script, that the active configuration names."""
    server = servers.enter_context(ScriptedServer(script))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change(place), actor="tester")
    return server


def states(mail_id: str) -> list[str]:
    """Of a mail's recipients."""
    return [recipient["state"] for recipient in row_of(mail_id).recipients]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (GONE, FULL, ["refused", "deferred"]),
        (FULL, GONE, ["deferred", "refused"]),
        (GONE, GREY, ["refused", "deferred"]),
        (GONE, RELAY, ["refused", "deferred"]),
        (GREY, FULL, ["deferred", "deferred"]),
    ],
)
def test_where_nobody_is_accepted_each_recipient_is_still_judged_alone(
    servers: ExitStack, first: str, second: str, kept: list[str]
) -> None:
    server = scripted(servers, RCPT=[first, second, "250 2.1.5 ok"])
    mail_id = queued(ANN, BOB)
    drain()
    assert (row_of(mail_id).state, states(mail_id)) == (State.DEFERRED, kept)
    change(mail_id, due_at=clock.now())
    drain()
    assert row_of(mail_id).state == State.SENT
    again = [command for command in server.commands if command.startswith("RCPT")][2:]
    assert len(again) == kept.count("deferred")


def test_a_refusal_of_our_account_refuses_no_recipient_and_costs_no_attempt(servers: ExitStack) -> None:
    scripted(servers, RCPT=RELAY)
    mail_id = queued(ANN, BOB)
    drain()
    row = row_of(mail_id)
    assert (row.state, row.attempts, states(mail_id)) == (State.DEFERRED, 0, ["pending", "pending"])


def test_a_retry_sends_the_same_octets(servers: ExitStack) -> None:
    server = scripted(servers, MESSAGE=["451 4.3.0 later", "250 2.0.0 ok"])
    mail_id = queued(ANN)
    drain()
    change(mail_id, due_at=clock.now())
    drain()
    first, second = server.messages
    assert first == second
    assert row_of(mail_id).message_id.encode() in first


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.mark.parametrize("own", [True, False], ids=["the mail's", "the server's"])
def test_a_reply_to_that_the_server_cannot_carry_is_refused_and_one_in_a_unicode_domain_is_none(
    servers: ExitStack, own: bool
) -> None:
    server = scripted(servers, EHLO="250-scripted.test\n250 8BITMIME")
    if own:
        first = email_service.queue_email(ANN, "s", "b", reply_to="Jörg <jörg@example.com>")
        second = email_service.queue_email(ANN, "s", "b", reply_to=["Jörg <joerg@bücher.example>", "b@example.com"])
        drain()
    else:
        configs.save(parse_change({"reply_to": "jörg@example.com"}), actor="tester")
        first = queued(ANN)
        drain()
        configs.save(parse_change({"reply_to": "joerg@bücher.example"}), actor="tester")
        second = queued(ANN)
        drain()
    assert (row_of(first).state, row_of(first).reason) == (State.FAILED, Reason.NO_SMTPUTF8)
    assert row_of(second).state == State.SENT
    (message,) = server.messages
    assert b"bcher-kva.example" in message
    assert message.isascii()


@pytest.fixture
def celery(environment: dict[str, str], server: RecordingServer, tmp_path: Path) -> Iterator[Celery]:
    """An application whose broker is away, so that every hint is lost; the tasks are called by hand."""
    broker = {"CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"}
    app = create_app(environment | broker | mail_through(server), instance_path=tmp_path)
    with app.app_context():
        yield celery_tasks.make_celery(app)


def test_a_task_sends_what_is_due_though_the_broker_is_away(celery: Celery, server: RecordingServer) -> None:
    mail_ids = [queued(ANN) for _ in range(20)]
    celery_tasks.drain()
    assert {row_of(mail_id).state for mail_id in mail_ids} == {State.SENT}
    assert len(server.mails) == len(mail_ids)


def test_a_message_of_the_broker_that_comes_twice_sends_nothing_twice(celery: Celery, server: RecordingServer) -> None:
    mail_ids = [queued(ANN) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: celery_tasks.drain(), range(4)))
    celery_tasks.drain()
    assert {row_of(mail_id).state for mail_id in mail_ids} == {State.SENT}
    assert len(server.mails) == len(mail_ids)


def test_what_a_lost_message_of_the_broker_left_is_found_by_the_sweep(celery: Celery, server: RecordingServer) -> None:
    mail_id = queued(ANN)
    past = clock.now() - timedelta(seconds=1)
    change(mail_id, state=State.LEASED, lease_until=past, lease_token="t", attempts=1)
    celery_tasks.sweep()
    celery_tasks.drain()
    assert row_of(mail_id).state == State.SENT
    assert len(server.mails) == 1
