"""The only server dies at night and 300 emails wait: told in time, understood and mended by command, and told over."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.engine import db
from services.delivery.circuit import Circuits
from services.outbox import log
from services.smtp.pool import pool
from tests.outage import LOOK, MAILS, NEW_PASSWORD, night
from tests.turned_clock import Now
from utils import clock


@pytest.fixture
def either(on_either: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Flask, Now]]:
    """An application on one database, then on the other, and its time."""
    app, turned = create_app(on_either, instance_path=tmp_path), Now()
    monkeypatch.setattr(clock, "now", turned)
    app.extensions["sealpost_circuits"] = Circuits(turned.seconds)
    with app.app_context():
        yield app, turned
        db.engine.dispose()
    pool.close()


def test_the_story_of_a_night_from_the_first_alert_to_the_last_email(either: tuple[Flask, Now]) -> None:
    app, now = either
    command = app.test_cli_runner().invoke
    with night(now) as story:
        story.begin()
        died_at = now.moment
        story.queue_all()
        story.pass_time(360, LOOK)
        assert story.told.count(("no_mail", "firing")) == 1
        first = next(call for call in story.ntfy.calls if f"{MAILS} emails are waiting" in call.json["message"])
        assert (first.path, first.json["topic"], first.headers["authorization"]) == ("/", "night", "Bearer tk_abc")
        story.pass_time(6 * 3600, 3 * 3600)
        assert sorted(story.told) == [("no_mail", "firing"), ("server", "firing")]
        with story.server(NEW_PASSWORD) as server:
            story.pass_time(3600, 3600)  # it is back, and asks for another password
            assert server.mails == []
            told = command(args=["mail", "status"])
            assert told.exit_code != 0
            assert f"since {clock.readable(died_at)[:15]}" in told.output
            assert f"{MAILS} emails" in told.output
            tested = command(args=["smtp", "test", "Primary"])
            assert tested.exit_code != 0
            assert re.search("password", tested.output)
            changed = command(args=["smtp", "edit", "Primary", "--password-stdin"], input=NEW_PASSWORD)
            assert changed.exit_code == 0, changed.output
            assert command(args=["smtp", "test", "Primary"]).exit_code == 0
            story.pass_time(600)
            assert len(server.mails) == MAILS
        assert log.counts() == {}
        assert story.is_resolved
        assert command(args=["mail", "status"]).exit_code == 0
