"""A server that is down is looked at again by itself, so that one for which no mail waits is found to be back."""

from datetime import timedelta

import pytest
from flask import Flask

from database.engine import transaction
from database.health_db import ServerHealth
from services import email_service
from services.settings import configs, health
from services.settings.fields import parse_change
from services.settings.health import HealthState
from services.settings.sealing import StoredConfig
from services.worker import probing
from tests.loopback import free_port
from tests.recording_server import RecordingServer
from utils import clock


@pytest.fixture
def dead(app: Flask) -> StoredConfig:
    change = {"smtp_server": "127.0.0.1", "smtp_port": free_port(), "use_tls": False, "from_email": "a@example.com"}
    stored = configs.save(parse_change(change))
    assert not email_service.send_email("a@example.com", "s", "b")
    return stored


def last_failed(stored: StoredConfig, ago: timedelta) -> None:
    with transaction() as session:
        row = session.get(ServerHealth, health.owner_of(stored.id))
        assert row
        row.failed_at = clock.now() - ago


def test_one_that_is_back_is_down_no_more_and_got_no_mail(dead: StoredConfig) -> None:
    last_failed(dead, probing.AGAIN)
    with RecordingServer(port=dead.port) as back:
        probing.look_again()
        assert health.of_config(configs.get(dead.id)).state is HealthState.UNPROVEN
        assert back.mails == []
    assert configs.get(dead.id).row.last_error is None


def test_one_that_is_still_away_stays_down_since_it_went(dead: StoredConfig) -> None:
    since = health.of_config(dead).since
    last_failed(dead, probing.AGAIN)
    probing.look_again()
    found = health.of_config(dead)
    assert (found.is_down, found.since) == (True, since)
    assert found.last_failure
    assert clock.now() - found.last_failure < probing.AGAIN


def test_one_that_was_tried_a_moment_ago_is_left_alone(dead: StoredConfig) -> None:
    with RecordingServer(port=dead.port):
        probing.look_again()
    assert health.of_config(dead).is_down
