"""Who watches, what it tells, and what it does while a channel, the clock or the database is not well."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from app import create_app
from database import alert_db, oauth_db
from database.alert_db import NoticeState
from database.engine import db, reading, transaction
from services.alerts import channels, notifying, observing, rules, showing, watching
from services.alerts.observing import Sightings
from services.alerts.rules import RuleInForce, RuleName
from services.alerts.states import Sighting
from services.alerts.watching import Watcher
from services.settings import configs, health
from services.settings.fields import parse_change
from services.settings.health import Meeting, What
from services.worker import celery_tasks, pulse
from tests import certificates, signed_in_by_token
from tests.loopback import free_port
from tests.mails import REFUSAL, attempted, queued
from tests.oauth_provider import OAuthProviderServer
from tests.patience import PATIENCE, wait_until
from tests.recording_server import RecordingServer
from tests.turned_clock import Now
from tests.visitors import subject_of
from tests.web_hook import WebHook
from utils import clock, late

Troubles = Sightings
TROUBLE = Sighting(headline="It is broken.", remedy="Mend it.")


class Seconds:
    """The clock that nobody sets, turned by the test."""

    def __init__(self, now: Now) -> None:
        self.passed = 1000.0
        self._now = now

    def __call__(self) -> float:
        return self.passed

    def set_clock(self, seconds: float) -> None:
        """Set the time of day."""
        self._now.turn(seconds)

    def turn(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.passed += seconds
        self._now.turn(seconds)


@pytest.fixture
def seconds(now: Now) -> Seconds:
    return Seconds(now)


@pytest.fixture
def troubles() -> Troubles:
    """What is found, by a watcher that asks this instead of the rules."""
    return {}


@pytest.fixture
def watcher(app: Flask, seconds: Seconds, troubles: Troubles) -> Watcher:
    return one(seconds, troubles)


def one(seconds: Seconds, troubles: Troubles) -> Watcher:
    return watching.here(seconds, lambda _: dict(troubles))


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with WebHook() as running:
        channels.save({"kind": "webhook", "url": running.url})
        yield running


def told(hook: WebHook) -> list[str]:
    return [call.json["data"]["state"] for call in hook.calls]


def look(watcher: Watcher, seconds: Seconds, times: int = 1, pause: float = 30.0) -> None:
    for _ in range(times):
        seconds.turn(pause)
        watcher.look()


def test_of_two_processes_one_watches_and_the_other_takes_over_once_it_is_gone(
    on_either: dict[str, str], tmp_path: Path
) -> None:
    app = create_app(on_either, instance_path=tmp_path)
    with app.app_context():
        with transaction() as session:
            session.execute(text("DELETE FROM pulse"))
        now = clock.now()
        later = now + watching.LEASE

        def takes(name: str, moment_later: float) -> bool:
            at = now + timedelta(seconds=moment_later)
            with transaction() as session:
                return alert_db.take_lease(session, "alerts", name, at, at + watching.LEASE)

        assert [takes("a", 0), takes("b", 1), takes("a", 30), takes("b", 89)] == [True, False, True, False]
        assert takes("b", 90.5)
        assert not takes("a", 91)
        assert takes("a", -7200)  # a clock that was set back makes no lease last for hours
        with transaction() as session:
            alert_db.give_lease_back(session, "alerts", "a")
        assert takes("b", -7199)
        assert later > now
        db.engine.dispose()


def test_an_alert_is_told_once_by_one_of_two_and_goes_on_after_a_restart(
    app: Flask, hook: WebHook, troubles: Troubles, seconds: Seconds
) -> None:
    first, second = one(seconds, troubles), one(seconds, troubles)
    troubles[RuleName.NO_MAIL, ""] = TROUBLE
    for _ in range(6):
        look(first, seconds)
        second.look()
    assert told(hook) == []
    seconds.turn(120.0)  # the first is gone, and the second takes over
    for _ in range(10):
        look(second, seconds)
    assert told(hook) == ["firing"]
    third = one(seconds, troubles)
    seconds.turn(120.0)
    look(third, seconds, 20)
    assert told(hook) == ["firing"]
    troubles.clear()
    look(third, seconds, 20)
    assert told(hook) == ["firing", "resolved"]
    assert hook.calls[1].json["data"]["since"] == hook.calls[0].json["data"]["since"]


@pytest.mark.parametrize("jump", [7200.0, -7200.0, 86400.0 * 400])
def test_a_clock_that_jumps_fires_nothing_and_resolves_nothing(
    watcher: Watcher, hook: WebHook, troubles: Troubles, seconds: Seconds, jump: float
) -> None:
    found = {(rule, ""): TROUBLE for rule in (RuleName.WAITING, RuleName.REFUSALS, RuleName.ENDINGS)}
    look(watcher, seconds, 2)
    seconds.set_clock(jump)
    troubles |= found  # which hours that never were have made
    look(watcher, seconds, 5)
    assert told(hook) == []
    troubles.clear()
    seconds.set_clock(-jump)
    look(watcher, seconds)
    look(watcher, seconds, 1, 3700.0)
    troubles |= found
    look(watcher, seconds, 4)
    assert told(hook) == ["firing"] * 3
    seconds.set_clock(jump)
    troubles.clear()
    look(watcher, seconds, 5)
    assert told(hook) == ["firing"] * 3
    look(watcher, seconds, 4, 3700.0)
    assert told(hook) == ["firing"] * 3 + ["resolved"] * 3


def test_a_clock_that_was_set_back_while_nothing_ran_is_seen_at_the_start(
    app: Flask, hook: WebHook, troubles: Troubles, seconds: Seconds
) -> None:
    look(one(seconds, troubles), seconds)
    seconds.set_clock(-7200.0)
    troubles[RuleName.ENDINGS, "env"] = TROUBLE
    look(one(seconds, troubles), seconds, 4)
    assert told(hook) == []


def test_a_channel_that_fails_for_an_hour_is_told_afterwards_and_only_once(
    watcher: Watcher, hook: WebHook, troubles: Troubles, seconds: Seconds
) -> None:
    hook.status = 500
    troubles[RuleName.SERVER, "env"] = TROUBLE
    look(watcher, seconds, 8)
    look(watcher, seconds, 18, 200.0)
    tries = len(hook.calls)
    assert 5 <= tries <= 12
    assert len({call.headers["webhook-id"] for call in hook.calls}) == 1
    assert "The server failed (500)" in channels.get(1).trouble
    hook.status = 200
    look(watcher, seconds, 3, 900.0)
    assert len(hook.calls) == tries + 1
    assert (channels.get(1).trouble, showing.now().notices[0].state) == ("", "sent")


def test_of_an_alert_that_is_over_before_it_was_told_only_the_end_is_told(
    watcher: Watcher, hook: WebHook, troubles: Troubles, seconds: Seconds
) -> None:
    hook.status = 503
    troubles[RuleName.SERVER, "env"] = TROUBLE
    look(watcher, seconds, 10)
    troubles.clear()
    look(watcher, seconds, 10)
    hook.status, before = 200, len(hook.calls)
    look(watcher, seconds, 4, 300.0)
    assert told(hook)[before:] == ["resolved"]
    assert {notice.state for notice in showing.now().notices} == {"replaced", "sent"}


def test_a_silent_channel_holds_up_no_other(
    watcher: Watcher,
    hook: WebHook,
    troubles: Troubles,
    seconds: Seconds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.alerts.reaching.SECONDS", 0.3)
    with WebHook() as other:
        channels.save({"kind": "slack", "url": other.url})
        hook.is_silent = True
        troubles[RuleName.SERVER, "env"] = TROUBLE
        look(watcher, seconds, 8)
        assert len(other.calls) == 1
        assert "It is broken." in other.calls[0].json["text"]


def test_a_channel_that_was_turned_off_is_told_nothing_and_what_waited_for_it_is_settled(
    watcher: Watcher, hook: WebHook, troubles: Troubles, seconds: Seconds
) -> None:
    hook.status = 500
    troubles[RuleName.SERVER, "env"] = TROUBLE
    look(watcher, seconds, 8)
    before = len(hook.calls)
    channels.switch(1, is_on=False)
    look(watcher, seconds, 10)
    assert len(hook.calls) == before
    assert showing.now().notices[0].trouble == notifying.TURNED_OFF


def test_a_rule_that_was_turned_off_is_forgotten_without_a_word(
    watcher: Watcher, hook: WebHook, troubles: Troubles, seconds: Seconds
) -> None:
    troubles[RuleName.SERVER, "env"] = TROUBLE
    look(watcher, seconds, 10)
    rules.save({"server": {"is_on": False}})
    troubles.clear()
    look(watcher, seconds, 10)
    assert (told(hook), showing.now().alerts) == (["firing"], [])


def test_while_the_database_is_away_it_is_told_from_memory_and_once_when_it_is_back(
    app: Flask, watcher: Watcher, hook: WebHook, seconds: Seconds
) -> None:
    with WebHook() as ping:
        channels.save({"kind": "ping", "url": ping.url})
        other = one(seconds, {})
        look(watcher, seconds)
        other.look()
        with database_away():
            for _ in range(8):
                look(watcher, seconds)
                other.look()
            assert told(hook) == ["firing"]
            assert hook.calls[0].json["data"]["rule"] == "storage"
            assert ping.calls[-1].json["state"] == "storage_failing"
            assert len(ping.calls) >= 4
        # Whichever takes it up: it is told once that it is over, by the one that has told of it.
        for _ in range(5):
            seconds.turn(60.0)
            other.look()
            watcher.look()
        assert told(hook) == ["firing", "resolved"]
        assert showing.now().firing == []


def test_what_could_not_be_told_while_the_database_was_away_is_told_later(
    app: Flask, watcher: Watcher, hook: WebHook, seconds: Seconds
) -> None:
    look(watcher, seconds)
    hook.status = 500
    with database_away():
        look(watcher, seconds, 6)
    assert len(hook.calls) >= 2
    hook.status = 200
    look(watcher, seconds, 5)
    assert told(hook)[-1] == "resolved"


@contextmanager
def database_away() -> Iterator[None]:
    """Nothing can be begun on any connection."""

    def refuse(_connection: object) -> None:
        raise OperationalError("BEGIN", None, Exception("could not connect to server"))

    event.listen(db.engine, "begin", refuse)
    try:
        yield
    finally:
        event.remove(db.engine, "begin", refuse)


def test_a_ping_goes_each_minute_with_what_fires_in_it(watcher: Watcher, troubles: Troubles, seconds: Seconds) -> None:
    with WebHook() as ping:
        channels.save({"kind": "ping", "url": ping.url})
        look(watcher, seconds, 20, 15.0)
        assert 4 <= len(ping.calls) <= 6
        assert ping.calls[-1].json["state"] == "ok"
        troubles[RuleName.SERVER, "env"] = TROUBLE
        look(watcher, seconds, 8)
        last = json.loads(ping.calls[-1].body)
        assert (last["state"], last["firing"][0]["rule"]) == ("alerting", "server")
        assert showing.now().notices == []


def test_each_rule_finds_its_trouble_and_nothing_where_there_is_none(app: Flask, now: Now) -> None:
    settings = {"smtp_server": "127.0.0.1", "smtp_port": 9, "use_tls": False, "from_email": "a@example.com"}
    stored = configs.save(parse_change({**settings, "name": "Shop"}))
    in_force = {rule.name: rule for rule in rules.every()}
    assert observing.look(in_force) == {}
    for _ in range(45):
        attempted()
    for _ in range(4):
        attempted(**REFUSAL)
    assert observing.look(in_force) == {}  # too few
    attempted(**REFUSAL)
    assert observing.look(in_force) == {}  # ten percent are not over ten
    attempted(**REFUSAL)
    assert list(observing.look(in_force)) == [(RuleName.REFUSALS, "")]
    now.turn(3700)
    assert observing.look(in_force) == {}
    queued()
    now.turn(1000)
    found = observing.look(in_force)
    assert set(found) == {(RuleName.WAITING, ""), (RuleName.WORKER, "")}
    pulse.beat()
    with transaction() as session:
        step = next(observing._steps())
        broken = Meeting(what=What.FAILED, reason="down", is_broken=True)
        health.note(session, step.owner, stored.row.id, step.fingerprint, [broken])
    found = observing.look(in_force)
    assert {RuleName.SERVER, RuleName.NO_MAIL} <= {name for name, _ in found}
    assert "1 email is waiting" in found[RuleName.NO_MAIL, ""].headline
    now.turn(200)
    assert "No worker has run since" in observing.look(in_force)[RuleName.WORKER, ""].headline


def test_a_disk_that_takes_nothing_is_seen(tmp_path: Path) -> None:
    assert observing.disk_fault(tmp_path) is None
    fault = observing.disk_fault(Path("/proc/sealpost"))  # where not even root can make a file
    assert fault
    assert "The disk cannot be written to" in fault.headline


def test_a_folder_that_is_made_once_it_is_needed_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    assert observing.disk_fault(tmp_path / "instance") is None  # which nothing has made beside PostgreSQL


def test_old_messages_are_deleted_and_those_that_wait_stay(
    watcher: Watcher, hook: WebHook, troubles: Troubles, seconds: Seconds
) -> None:
    troubles[RuleName.SERVER, "env"] = TROUBLE
    look(watcher, seconds, 10)
    hook.status = 500
    troubles[RuleName.NO_MAIL, ""] = TROUBLE
    look(watcher, seconds, 12)
    seconds.turn(31 * 86400)
    notifying.tidy()
    with reading() as session:
        left = [row.state for row in alert_db.latest_notices(session, 10)]
    assert left == [NoticeState.WAITING]


def test_a_database_that_says_nothing_at_all_is_told_of_too(app: Flask, hook: WebHook) -> None:
    rules.save({"storage": {"amount": 1}})
    passed = iter(range(0, 10**9, 30))  # each look at it is half a minute later
    watcher, silent = Watcher(Path(app.instance_path), lambda: float(next(passed))), threading.Event()
    watcher.look()

    def hang(_connection: object) -> None:
        silent.wait(PATIENCE)

    event.listen(db.engine, "begin", hang)
    watch = watching.AlertWatch(app, watcher, 0.05).start()
    try:
        wait_until(lambda: told(hook) == ["firing"])
        silent.set()
        wait_until(lambda: told(hook) == ["firing", "resolved"])
    finally:
        silent.set()
        watch.stop()
        event.remove(db.engine, "begin", hang)


def test_a_rule_that_breaks_spoils_no_other(app: Flask, hook: WebHook, seconds: Seconds) -> None:
    def find(asked: Mapping[RuleName, RuleInForce]) -> Sightings:
        if RuleName.REFUSALS in asked:
            raise ZeroDivisionError
        return {(RuleName.SERVER, "env"): TROUBLE} if RuleName.SERVER in asked else {}

    look(watching.here(seconds, find), seconds, 10)
    assert told(hook) == ["firing"]


def test_what_ends_soon_and_a_server_that_needs_a_new_sign_in_are_found(app: Flask) -> None:
    in_force = {rule.name: rule for rule in rules.every()}
    own = certificates.client_pair("shop.example.com", days=9)
    identity = {"client_certificate": own.certificate, "client_key": own.key}
    settings = {"smtp_server": "127.0.0.1", "from_email": "a@example.com", "name": "Partner", **identity}
    configs.save(parse_change(settings))
    found = observing.look(in_force)
    assert list(found) == [(RuleName.ENDINGS, "config:1")]
    assert found[RuleName.ENDINGS, "config:1"].headline.startswith("Partner: ")
    rules.save({"endings": {"amount": 5}})
    assert observing.look({rule.name: rule for rule in rules.every()}) == {}
    configs.deactivate(1)
    assert observing.look(in_force) == {}
    with OAuthProviderServer(certificates.good_context("localhost")) as provider:
        config = signed_in_by_token.connected(provider, free_port())
        with transaction() as session:
            row = oauth_db.find(session, config.row.id)
            assert row
            row.needs_sign_in = True
    found = observing.look(in_force)
    assert [(name, each.headline.endswith("needs a new sign-in.")) for (name, _), each in found.items()] == [
        (RuleName.SERVER, True)
    ]


def test_celerys_beat_has_a_look_where_no_web_process_does(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app(environment | {"CELERY_BROKER_URL": "amqp://guest@127.0.0.1:1//"}, instance_path=tmp_path)
    celery = celery_tasks.make_celery(app)
    late.load("services.alerts.tasks")
    name = celery.conf.beat_schedule["alerts"]["task"]
    celery.tasks[name]()
    celery.tasks[name]()
    with app.app_context():
        with reading() as session:
            pulse_of_it = alert_db.pulse(session, watching.NAME)
        assert pulse_of_it
        assert pulse_of_it.lease_until is None  # whichever process gets the next task may take it up
        watcher = watching.here()
        watcher.look()
        celery.tasks[name]()  # which leaves it to the process that watches
        with reading() as session:
            held = alert_db.pulse(session, watching.NAME)
        assert held
        assert held.lease_until


def test_a_disk_that_is_full_is_told_of_though_nothing_can_be_written_down(
    app: Flask, hook: WebHook, seconds: Seconds, tmp_path: Path
) -> None:
    folder = tmp_path / "instance"
    folder.mkdir()
    watcher = Watcher(folder, seconds, lambda _: {})
    look(watcher, seconds)
    folder.rename(tmp_path / "gone")
    folder.symlink_to("/proc/self")  # a folder in which nobody can make a file
    look(watcher, seconds, 2)
    with database_away():  # from just before it would be told
        look(watcher, seconds, 2)
    look(watcher, seconds)
    assert told(hook) == ["firing"]
    assert "The disk cannot be written to" in hook.calls[0].json["data"]["headline"]
    assert [alert.rule for alert in showing.now().firing] == ["storage"]
    folder.unlink()
    (tmp_path / "gone").rename(folder)
    look(watcher, seconds, 4)
    assert told(hook) == ["firing", "resolved"]
    assert showing.now().alerts == []


def test_while_the_database_is_away_email_through_another_server_arrives_too(
    app: Flask, watcher: Watcher, seconds: Seconds, server: RecordingServer
) -> None:
    other = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "a@example.com"}
    stored = configs.create(parse_change({**other, "name": "Other", "is_active": False}))
    channels.save({"kind": "mail", "config_id": str(stored.row.id), "recipients": "ops@example.com"})
    with WebHook() as hook:
        channels.save({"kind": "webhook", "url": hook.url})
        look(watcher, seconds)
        with database_away():
            look(watcher, seconds, 5)
        assert told(hook) == ["firing"]
    assert "The database does not respond" in subject_of(server.wait_for_mail()[0])
