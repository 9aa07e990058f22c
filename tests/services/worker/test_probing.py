"""Servers are looked at while no mail goes through them: found down, or back, and never signed in to too often."""

import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.engine import db, transaction
from database.probe_db import ServerProbe
from services import email_service
from services.alerts import observing
from services.alerts import rules as stored_rules
from services.delivery import looking
from services.settings import configs, health, route, server_habits, state
from services.settings.fields import parse_change
from services.settings.health import HealthState, Meeting, What
from services.settings.sealing import StoredConfig
from services.smtp import habits
from services.smtp.habits import Habit
from services.smtp.patience import Span
from services.smtp.pool import pool
from services.worker import celery_tasks, probing, threads
from services.worker.probing import MOST_REFUSALS, Prober
from tests import certificates
from tests.loopback import free_port
from tests.patience import stretched, wait_until
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer, close, hang
from tests.turned_clock import Now
from utils import clock

PERIOD = 15 * 60
LONG = PERIOD * 1.3  # longer than any jitter makes it
EHLO = "250-scripted.test\n250-PIPELINING\n250-SIZE 10240000\n250-AUTH PLAIN LOGIN\n250 8BITMIME"
SIGNED_IN = {"smtp_username": "shop", "smtp_password": "pass-phrase-of-tests"}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def either(on_either: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    """An application on one database, then on the other."""
    app = create_app(on_either, instance_path=tmp_path)
    with app.app_context():
        yield app
        db.engine.dispose()
    pool.close()


def stored_at(port: int, **more: object) -> StoredConfig:
    change = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "from_email": "a@example.com"}
    stored = configs.save(parse_change(change | more))
    Prober().look()  # by which it takes its place in the period
    return stored


@pytest.fixture
def dead(app: Flask) -> StoredConfig:
    stored = stored_at(free_port())
    assert not email_service.send_email("a@example.com", "s", "b")
    return stored


def how(stored: StoredConfig) -> health.Health:
    return health.of_config(configs.get(stored.id))


def looked(prober: Prober, now: Now, seconds: float = LONG) -> bool:
    now.turn(seconds)
    return prober.look()


def scripted(ehlo: str = EHLO, port: int = 0, **answers: Answer) -> ScriptedServer:
    return ScriptedServer({"EHLO": ehlo, **answers}, port=port)


def test_one_that_is_back_is_down_no_more_and_got_no_mail(dead: StoredConfig, now: Now) -> None:
    with RecordingServer(port=dead.port) as back:
        assert looked(Prober(), now, probing.AGAIN.total_seconds())
        assert how(dead).state is HealthState.UNPROVEN
        assert back.mails == []
    assert configs.get(dead.id).row.last_error is None


def test_one_that_is_still_away_stays_down_since_it_went_and_is_looked_at_ever_less(
    dead: StoredConfig, now: Now
) -> None:
    since, prober = how(dead).since, Prober()
    assert not looked(prober, now, 30)  # a mail has met that a moment ago
    assert looked(prober, now, 31)
    assert (how(dead).is_down, how(dead).since) == (True, since)
    assert not looked(prober, now, 299)
    assert looked(prober, now, 1)


def test_a_server_that_rests_is_signed_in_to_and_left_without_a_mail(either: Flask, now: Now) -> None:
    with scripted() as server:
        stored = stored_at(server.port, **SIGNED_IN)
        assert looked(Prober(now.seconds), now)
        server.wait_until_left()
        assert server.verbs == ["EHLO", "AUTH", "NOOP", "QUIT"]
        assert how(stored).looked_at == now.moment
        assert how(stored).state is HealthState.UNPROVEN  # no mail was seen to go
        assert not looked(Prober(now.seconds), now, PERIOD * 0.75)
        assert looked(Prober(now.seconds), now)


def test_the_active_server_and_the_one_of_env_are_looked_at_one_after_the_other(
    environment: dict[str, str], tmp_path: Path, now: Now
) -> None:
    with RecordingServer() as first, RecordingServer() as second:
        given = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(second.port), "EMAIL_USE_TLS": "false"}
        app = create_app(environment | given | {"DEFAULT_FROM_EMAIL": "a@example.com"}, instance_path=tmp_path)
        with app.app_context():
            stored_at(first.port)
            prober = Prober(now.seconds)
            assert not prober.look()
            now.turn(LONG)
            assert [prober.look(), bool(first.data), bool(second.data)] == [True, True, False]
            assert [prober.look(), bool(second.data)] == [True, True]
            assert not prober.look()
            found = state.describe(has_configs=True).env.health
            assert found
            assert found.looked_at == now.moment


def test_mail_that_gets_out_is_a_look_and_a_failed_one_is_too(app: Flask, now: Now) -> None:
    with RecordingServer() as server:
        stored_at(server.port)
        prober = Prober(now.seconds)
        for _ in range(3):  # the second is no news, and still a look
            now.turn(500)
            assert email_service.send_email("b@example.com", "s", "b")
            now.turn(300)
            assert not prober.look()
        pool.close()
        heard = bytes(server.data)
        assert looked(prober, now)
        assert bytes(server.data) != heard
        assert len(server.mails) == 3


@pytest.mark.parametrize("minutes", ["0", "1440"])
def test_probe_minutes_are_as_set_and_0_is_never(
    environment: dict[str, str], tmp_path: Path, now: Now, minutes: str
) -> None:
    app = create_app(environment | {"PROBE_MINUTES": minutes}, instance_path=tmp_path)
    with app.app_context(), RecordingServer() as server:
        stored_at(server.port)
        prober = Prober(now.seconds)
        assert [looked(prober, now) for _ in range(4)] == [False] * 4
        assert looked(prober, now, 86400 * 1.3) is (minutes != "0")


@pytest.mark.parametrize("wrong", ["-1", "1441", "fifteen", "15 min", "1.5", "١٥"])
def test_a_wrong_number_of_minutes_stops_the_start_and_is_named(environment: dict[str, str], wrong: str) -> None:
    with pytest.raises(ValueError, match="PROBE_MINUTES"):
        create_app(environment | {"PROBE_MINUTES": wrong})


def test_a_copy_of_production_that_sends_nothing_connects_to_no_server(
    environment: dict[str, str], tmp_path: Path, now: Now
) -> None:
    app = create_app(environment | {"MAIL_SUPPRESS_SEND": "true"}, instance_path=tmp_path)
    with app.app_context(), RecordingServer() as server:
        stored_at(server.port)
        assert [looked(Prober(now.seconds), now) for _ in range(3)] == [False] * 3


def test_a_refused_sign_in_is_tried_after_half_an_hour_two_hours_and_then_once_a_day_and_never_a_tenth_time(
    app: Flask, now: Now
) -> None:
    with scripted(AUTH="535 5.7.8 bad credentials") as server:
        stored = stored_at(server.port, auth_method="PLAIN", **SIGNED_IN)
        prober = Prober(now.seconds)
        assert looked(prober, now)
        for hours in (0.5, 2, *[24] * 6):
            assert not looked(prober, now, hours * 3600 - 1)
            assert looked(prober, now, hours * 3600 * 0.25)
        assert [looked(prober, now, 7 * 86400) for _ in range(8)] == [False] * 8
        assert server.verbs.count("AUTH") == MOST_REFUSALS
        assert how(stored).is_down
        assert how(stored).reason == "Authentication failed"
        # What ends that: a test by a person, or other settings.
        with transaction() as session:
            step = route.step_of(stored)
            met = Meeting(what=What.WENT, is_test=True)
            health.note(session, step.owner, step.config_id, step.fingerprint, [met])
        assert looked(prober, now)
        configs.update(stored.id, parse_change({"smtp_password": "another-of-tests"}))
        assert looked(prober, now, 60)
        assert server.verbs.count("AUTH") == MOST_REFUSALS + 2


def test_sign_ins_that_mail_was_refused_count_as_well(app: Flask, now: Now) -> None:
    with scripted(AUTH="535 5.7.8 bad credentials") as server:
        stored = stored_at(server.port, auth_method="PLAIN", **SIGNED_IN)
        for refusals in range(1, MOST_REFUSALS + 1):
            now.turn(3600)
            assert not email_service.send_email("a@example.com", "s", "b")
            assert how(stored).refusals == refusals
        prober = Prober(now.seconds)
        assert [looked(prober, now, 86400) for _ in range(4)] == [False] * 4
        assert server.verbs.count("AUTH") == MOST_REFUSALS


@pytest.mark.parametrize("reply", ["454 4.7.0 Temporary authentication failure", "421 4.7.0 Too many errors"])
def test_a_sign_in_that_is_put_off_is_slowed_down_too(app: Flask, now: Now, reply: str) -> None:
    with scripted(AUTH=reply) as server:
        stored_at(server.port, auth_method="PLAIN", **SIGNED_IN)
        prober = Prober(now.seconds)
        assert looked(prober, now)
        assert not looked(prober, now, 1799)
        assert looked(prober, now, 1800 * 1.3)


def test_a_clock_that_was_set_ahead_brings_no_further_sign_in(app: Flask, now: Now) -> None:
    with scripted(AUTH="535 5.7.8 bad credentials") as server:
        stored_at(server.port, auth_method="PLAIN", **SIGNED_IN)
        steady = 0.0
        prober = Prober(lambda: steady)
        steady += LONG
        assert looked(prober, now)
        for _ in range(20):  # as after a suspension: the time of day went on, and the steady clock did not
            steady += 30
            assert not looked(prober, now, 86400)


def test_a_clock_that_was_set_back_stops_no_look_and_brings_no_flood(app: Flask, now: Now) -> None:
    with RecordingServer() as server:
        stored_at(server.port)
        prober = Prober(now.seconds)
        assert looked(prober, now)
        now.turn(-86400)
        assert [looked(prober, now, 30) for _ in range(10)] == [False] * 10
        assert looked(prober, now)


def test_of_two_processes_one_looks(either: Flask, now: Now) -> None:
    with scripted() as server:
        stored_at(server.port, **SIGNED_IN)
        now.turn(LONG)
        both = threading.Barrier(2)
        found: list[bool] = []

        def look() -> None:
            with either.app_context():
                both.wait()
                found.append(Prober(now.seconds).look())

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [False, True]


def test_a_slow_server_is_left_in_time_and_is_not_called_down(
    app: Flask, now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "SECONDS", stretched(0.3))
    with scripted(AUTH=hang) as server:
        stored = stored_at(server.port, **SIGNED_IN)
        assert looked(Prober(now.seconds), now)
        assert not how(stored).has_trouble
        assert how(stored).looked_at == now.moment


def test_a_server_that_says_nothing_at_all_is_down_unless_it_is_known_to_be_slow(
    app: Flask, now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer({"GREETING": hang}) as server:
        known_as_slow = stored_at(server.port, timeout_seconds=30)
        monkeypatch.setattr(looking, "SECONDS", stretched(0.3))
        assert looked(Prober(now.seconds), now)
        assert not how(known_as_slow).has_trouble
        assert how(known_as_slow).looked_at == now.moment
        configs.update(known_as_slow.id, parse_change({"timeout_seconds": 5}))
        monkeypatch.setattr(looking, "SECONDS", 5.1)
        monkeypatch.setattr(probing, "Span", lambda _seconds: Span(0.3))
        assert looked(Prober(now.seconds), now)
        assert how(known_as_slow).is_down


@pytest.mark.parametrize("reply", ["421 4.7.0 Too many connections from your host", "421 Too many concurrent sessions"])
def test_a_server_whose_connections_are_all_in_use_is_not_called_down(app: Flask, now: Now, reply: str) -> None:
    with scripted(GREETING=(reply, close)) as server:
        stored = stored_at(server.port)
        assert looked(Prober(now.seconds), now)
        assert not how(stored).has_trouble


def test_where_mail_has_a_connection_open_no_second_one_is_made(app: Flask, now: Now) -> None:
    with RecordingServer() as server:
        stored_at(server.port)
        assert email_service.send_email("b@example.com", "s", "b")
        heard = bytes(server.data)
        assert looked(Prober(now.seconds), now)
        assert bytes(server.data) == heard


def test_a_server_that_leaves_after_the_sign_in_has_trouble_and_another_that_knows_no_noop_has_none(
    app: Flask, now: Now
) -> None:
    with scripted(NOOP=close) as server:
        stored = stored_at(server.port)
        assert looked(Prober(now.seconds), now)
        assert how(stored).has_trouble
    with scripted(NOOP="502 5.5.1 what?") as server:
        other = stored_at(server.port)
        assert looked(Prober(now.seconds), now)
        assert not how(other).has_trouble


def test_trouble_that_a_look_finds_comes_to_the_pages_and_alerts(app: Flask, now: Now) -> None:
    stored = stored_at(free_port(), name="Primary")
    assert looked(Prober(now.seconds), now)
    assert how(stored).is_down
    assert "has been down since" in state.describe(has_configs=True).headline
    found = observing.look({rule.name: rule for rule in stored_rules.every()})
    assert [rule.value for rule, _ in found] == ["server"]


LESS_LOGIN = EHLO.replace(" LOGIN", "")
CHANGES: Mapping[str, tuple[str, str, list[str], bool]] = {
    "a mechanism that is not needed": (EHLO, LESS_LOGIN, ["no longer offers AUTH LOGIN"], False),
    "PLAIN": (EHLO, EHLO.replace("PLAIN ", ""), ["no longer offers AUTH PLAIN"], True),
    "the only one": (LESS_LOGIN, LESS_LOGIN.replace("AUTH PLAIN", "DSN"), ["offers AUTH PLAIN", "offers DSN"], True),
    "less room": (EHLO, EHLO.replace("10240000", "512000"), ["up to 512.0 kB instead of 10.2 MB"], True),
    "less, but enough": (EHLO, EHLO.replace("10240000", "5000000"), ["up to 5.0 MB instead of 10.2 MB"], False),
    "more room": (EHLO, EHLO.replace("10240000", "20480000"), ["up to 20.5 MB instead"], False),
    "any size": (EHLO, EHLO.replace("250-SIZE 10240000\n", ""), ["no longer offers SIZE"], False),
    "no number": (EHLO, EHLO.replace(" 10240000", ""), ["messages of any size instead of 10.2 MB"], False),
    "something new": (EHLO, EHLO.replace("-PIPELINING", "-CHUNKING\n250-PIPELINING"), ["it offers CHUNKING"], False),
    "words of its own": (EHLO, EHLO.replace("-PIPELINING", "-XHACK <b>\n250-PIPELINING"), [], False),
    "the same in another order": (EHLO, EHLO.replace("PLAIN LOGIN", "LOGIN PLAIN"), [], False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_server_offers_otherwise_than_before_is_told(app: Flask, now: Now, name: str) -> None:
    before, after, told, is_loud = CHANGES[name]
    prober, port = Prober(now.seconds), free_port()
    stored = stored_at(port, **SIGNED_IN)
    with scripted(before, port):
        assert looked(prober, now)
    assert how(stored).changes == ()
    with scripted(after, port):
        assert looked(prober, now)
    found = how(stored)
    assert len(found.changes) == len(told)
    assert all(words in change.sentence for change, words in zip(found.changes, told, strict=True))
    assert bool(found.loud_changes) is is_loud
    if is_loud and not found.is_down:
        assert state.facts(configs.get(stored.id)).level == "warning"
    with scripted(before, port):
        assert looked(prober, now, 2000)
    assert how(stored).changes == ()  # as it was


def test_a_change_is_told_since_it_was_seen_first_and_for_a_week(app: Flask, now: Now) -> None:
    prober, port = Prober(now.seconds), free_port()
    stored = stored_at(port, **SIGNED_IN)
    with scripted(EHLO, port):
        assert looked(prober, now)
    with scripted(EHLO.replace("PLAIN ", ""), port):
        assert looked(prober, now)
        first = now.moment
        assert looked(prober, now)
        assert [change.at for change in how(stored).changes] == [first]
        assert clock.readable(first) in how(stored).sentence
        assert looked(prober, now, 7 * 86400)
        assert how(stored).changes == ()


def test_other_settings_begin_anew(app: Flask, now: Now) -> None:
    prober, port = Prober(now.seconds), free_port()
    stored = stored_at(port, **SIGNED_IN)
    with scripted(EHLO, port):
        assert looked(prober, now)
    configs.update(stored.id, parse_change({"from_email": "b@example.com"}))
    assert how(stored).looked_at is None
    with scripted(EHLO.replace("PLAIN ", ""), port):
        assert looked(prober, now, 60)
    assert how(stored).changes == ()
    assert how(stored).looked_at == now.moment


def test_whatever_somebody_writes_into_the_row_is_passed_over(app: Flask, now: Now) -> None:
    with scripted() as server:
        stored = stored_at(server.port)
        assert looked(Prober(now.seconds), now)
        odd = [None, 5, "x", {}, {"what": "SIZE"}, {"what": 1, "before": None, "after": None, "at": "x", "loud": 1}]
        with transaction() as session:
            row = session.get(ServerProbe, health.owner_of(stored.id))
            assert row
            row.changes = odd  # type: ignore[assignment]
        assert how(stored).changes == ()
        assert looked(Prober(now.seconds), now)


def encrypted(ehlo: str, port: int = 0) -> ScriptedServer:
    return ScriptedServer({"EHLO": ehlo}, tls=certificates.good_context("localhost"), port=port)


@pytest.fixture
def trusting(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app(environment | {"SMTP_CA_FILE": str(certificates.ca_file())}, instance_path=tmp_path)
    with app.app_context():
        yield app
    pool.close()


def test_starttls_that_is_offered_no_more_is_told_loudly_and_the_server_is_down(trusting: Flask, now: Now) -> None:
    prober, port = Prober(now.seconds), free_port()
    stored = stored_at(port, smtp_server="localhost", use_tls=True)
    with encrypted("250-scripted.test\n250 STARTTLS", port):
        assert looked(prober, now)
        assert not how(stored).has_trouble
    with encrypted("250-scripted.test\n250 8BITMIME", port):
        assert looked(prober, now)
    assert how(stored).is_down
    assert [change.is_loud for change in how(stored).changes] == [True]
    assert "no longer offers STARTTLS" in how(stored).sentence
    with encrypted("250-scripted.test\n250 STARTTLS", port):
        assert looked(prober, now)
    assert (how(stored).is_down, how(stored).changes) == (False, ())


def test_the_end_of_a_certificate_is_known_to_every_process_for_as_long_as_looks_show_it(
    trusting: Flask, now: Now
) -> None:
    prober = Prober(now.seconds)
    with encrypted("250-scripted.test\n250 STARTTLS") as server:
        stored = stored_at(server.port, smtp_server="localhost", use_tls=True)
        for _ in range(3):
            assert looked(prober, now, 3 * 86400)
        habits.forget_all()  # as another process begins
    assert server_habits.recall(stored.host, stored.port).name(Habit.CERTIFICATE)


def test_both_kinds_of_workers_look(app: Flask) -> None:
    def make_due(stored: StoredConfig) -> None:
        with transaction() as session:
            row = session.get(ServerProbe, health.owner_of(stored.id))
            assert row
            row.begun_at = clock.now() - timedelta(hours=1)

    with scripted() as server:
        stored = stored_at(server.port)
        make_due(stored)
        celery_tasks.look.run()
        assert server.verbs.count("NOOP") == 1
        make_due(stored)
        worker = threads.start(app)
        wait_until(lambda: server.verbs.count("NOOP") == 2)
        worker.stop()


def test_a_worker_that_stops_waits_for_no_look(app: Flask) -> None:
    with ScriptedServer({"EHLO": hang}) as server:
        stored = stored_at(server.port)
        with transaction() as session:
            row = session.get(ServerProbe, health.owner_of(stored.id))
            assert row
            row.begun_at = clock.now() - timedelta(hours=1)
        worker = threads.start(app)
        server.wait_for("EHLO")
        worker.stop()
        server.wait_until_left()
    assert not how(stored).has_trouble
