"""The only server dies at night and 300 emails wait: webhook and ntfy are told in time, and once that it is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.engine import db, transaction
from services.alerts import channels, watching
from services.alerts.watching import Watcher
from services.delivery.circuit import Circuits
from services.message.draft import draft
from services.outbox import log, promise
from services.outbox.promise import Terms
from services.settings import configs
from services.settings.fields import parse_change
from tests.loopback import free_port
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.turned_clock import Now
from tests.web_hook import WebHook
from utils import clock

MAILS = 300
LOOK = watching.LOOK_SECONDS


@pytest.fixture
def either(on_either: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Flask, Now]]:
    """An application on one database, then on the other, and its time."""
    app, turned = create_app(on_either, instance_path=tmp_path), Now()
    monkeypatch.setattr(clock, "now", turned)
    app.extensions["sealpost_circuits"] = Circuits(turned.seconds)
    with app.app_context():
        yield app, turned
        db.engine.dispose()


def rules_told(hook: WebHook) -> list[tuple[str, str]]:
    return [(call.json["data"]["rule"], call.json["data"]["state"]) for call in hook.calls]


def looked(watcher: Watcher, now: Now, seconds: float, pause: float = 60.0) -> None:
    """Look every so many seconds, for so long; queued mail is tried beforehand, and each minute."""
    for passed in range(0, int(seconds), int(pause)):
        if passed % 60 == 0:
            drain()
        now.turn(pause)
        watcher.look()


def queue_all() -> None:
    with transaction() as session:
        for number in range(MAILS):
            mail = draft(f"a{number}@example.com", "Hello", "It is on its way.", message_id_domain="example.com")
            promise.enqueue(mail, Terms(), session)


def test_webhook_and_ntfy_are_told_of_an_outage_within_six_minutes_and_once_that_it_is_over(
    either: tuple[Flask, Now],
) -> None:
    _, now = either
    port = free_port()
    settings = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "from_email": "shop@example.com"}
    configs.save(parse_change(settings | {"name": "Primary"}))
    with WebHook() as hook, WebHook() as ntfy:
        channels.save({"kind": "webhook", "url": hook.url, "secret": "a-secret-of-24-characters"})
        channels.save({"kind": "ntfy", "url": f"http://127.0.0.1:{ntfy.port}/night", "token": "tk_abc"})
        watcher = watching.here(now.seconds)
        watcher.look()
        queue_all()
        looked(watcher, now, 360, LOOK)
        assert ("no_mail", "firing") in rules_told(hook)
        assert rules_told(hook).count(("no_mail", "firing")) == 1
        first = next(call for call in ntfy.calls if "300 emails are waiting" in call.json["message"])
        assert (first.path, first.json["topic"], first.headers["authorization"]) == ("/", "night", "Bearer tk_abc")
        looked(watcher, now, 600)
        assert [state for _, state in rules_told(hook)].count("resolved") == 0
        assert sorted(rules_told(hook)) == [("no_mail", "firing"), ("server", "firing")]
        with RecordingServer(port=port):
            looked(watcher, now, 900)
        assert log.counts() == {}
        assert sorted(rules_told(hook)) == sorted(
            (rule, state) for rule in ("no_mail", "server") for state in ("firing", "resolved")
        )
        assert len(ntfy.calls) == len(hook.calls)
