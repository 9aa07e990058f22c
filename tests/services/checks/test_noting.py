"""What a connection test met is known of the server that was tested, a stored one or that of `.env`."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database import outbox_db
from database.engine import reading
from database.outbox_db import State
from services import email_service
from services.checks import connection_test, noting
from services.outbox.reasons import Reason
from services.settings import configs, health, route
from services.settings.fields import parse_change
from services.settings.health import Health, HealthState
from services.settings.sealing import StoredConfig
from tests.loopback import free_port
from tests.mails import in_state
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer
from tests.visitors import mail_through
from utils import clock


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return {**environment, **mail_through(server), "DEFAULT_FROM_EMAIL": "backup@example.net"}


def save(port: int) -> StoredConfig:
    change = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "from_email": "a@example.com"}
    return configs.save(parse_change(change))


def env() -> Health:
    return health.of_step(route.without_database())


def after_test(stored: StoredConfig, to: str = "") -> Health:
    noting.note_test(stored.settings, connection_test.run(stored.settings, to=to), stored.id)
    return health.of_config(configs.get(stored.id))


def test_a_test_that_passes_proves_a_server(app: Flask, server: RecordingServer) -> None:
    assert after_test(save(server.port)).state is HealthState.WORKING


def test_a_test_that_cannot_connect_says_that_it_is_down_and_the_next_that_it_works(app: Flask) -> None:
    port = free_port()
    stored = save(port)
    found = after_test(stored)
    assert (found.state, found.reason) == (HealthState.DOWN, "Could not connect to server")
    with RecordingServer(port=port):
        assert after_test(stored).state is HealthState.WORKING


def test_a_recipient_that_is_refused_in_a_test_says_nothing_of_the_server(app: Flask) -> None:
    with ScriptedServer({"RCPT": "550 5.1.1 no such user"}) as refusing:
        assert after_test(save(refusing.port), to="nobody@example.com").state is HealthState.UNPROVEN


def test_values_that_are_not_stored_say_nothing_of_those_that_are(app: Flask, server: RecordingServer) -> None:
    stored = save(free_port())
    other = configs.preview(parse_change({"smtp_port": server.port}), stored.id)
    noting.note_test(other, connection_test.run(other), stored.id)
    assert health.of_config(configs.get(stored.id)).state is HealthState.UNPROVEN


def test_env_is_judged_by_its_tests_as_a_stored_server_is(app: Flask, server: RecordingServer) -> None:
    assert env().state is HealthState.UNPROVEN
    assert email_service.test_smtp_connection() == (True, "Connection successful")
    assert env().state is HealthState.WORKING


def test_env_is_judged_by_its_mail(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    with create_app({**environment, "EMAIL_PORT": str(port)}, instance_path=tmp_path).app_context():
        assert not email_service.send_email("a@example.com", "s", "b")
        found = env()
        assert (found.state, found.reason) == (HealthState.DOWN, "Could not connect to server")
        with RecordingServer(port=port):
            assert email_service.send_email("a@example.com", "s", "b")
        assert env().state is HealthState.WORKING


def test_mail_that_waits_for_a_server_goes_at_once_when_its_test_passes(app: Flask, server: RecordingServer) -> None:
    stored = save(server.port)
    later = clock.now() + timedelta(minutes=3)
    waiting = in_state(State.DEFERRED, due_at=later, reason=Reason.SIGN_IN.value)
    of_its_own = in_state(State.DEFERRED, due_at=later, reason=Reason.NO_RECIPIENT.value)
    after_test(stored)
    with reading() as session:
        due = {mail.mail_id: mail.due_at for mail in outbox_db.of_ids(session, [waiting, of_its_own])}
    assert due[waiting] <= clock.now()
    assert due[of_its_own] == later


def test_a_test_that_fails_hurries_nothing(app: Flask) -> None:
    stored = save(free_port())
    later = clock.now() + timedelta(minutes=3)
    waiting = in_state(State.DEFERRED, due_at=later, reason=Reason.SIGN_IN.value)
    after_test(stored)
    with reading() as session:
        assert [mail.due_at for mail in outbox_db.of_ids(session, [waiting])] == [later]
