"""Prometheus reads how mail goes, and nothing of whom it goes to."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from database import alert_db
from database.alert_db import AlertState
from database.engine import db, transaction
from database.outbox_db import State
from services import email_service
from services.accounts import api_tokens
from services.alerts.rules import RuleName
from services.outbox.reasons import Reason
from services.settings import configs, health, sealing
from services.settings.fields import parse_change
from services.settings.health import Meeting, What
from services.smtp.habits import Habit, habits_of
from services.suppression import entries
from services.worker import pulse
from tests.mails import attempted, in_state, queued
from tests.recording_server import RecordingServer
from tests.turned_clock import Now
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils import clock


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"METRICS_ADDRESSES": "192.0.2.7, 2001:db8::/32"}


@pytest.fixture
def sending(app: Flask, mail_server: RecordingServer) -> Iterator[RecordingServer]:
    values = {
        "smtp_server": "127.0.0.1",
        "smtp_port": mail_server.port,
        "use_tls": False,
        "from_email": "a@example.com",
    }
    configs.save(parse_change(values | {"name": "Main"}))
    yield mail_server


Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scraped(client: Visitor) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def of(found: Samples, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric that are not zero, by these labels."""
    return {tuple(dict(names)[label] for label in labels): value for names, value in found[name].items() if value}


def test_it_tells_what_attempts_came_to(admin: Visitor, sending: RecordingServer) -> None:
    assert email_service.send_email("jane@example.com", "s", "b")
    refused: dict[str, Any] = {"outcome": "permanent", "reason": "no_recipient", "phase": "recipient"}
    attempted(queued(), **refused, ms=2500, server="Main (127.0.0.1:25)")
    attempted(outcome="temporary", reason="connect", phase="connect", server="Main (127.0.0.1:25)", ms=50)
    found = scraped(admin)
    assert of(found, "sealpost_mails_total", "state", "priority") == {
        ("sent", "direct"): 1,
        ("failed", "normal"): 1,
        ("failed", "direct"): 1,
    }
    outcomes = {("accepted",): 1, ("permanent",): 1, ("temporary",): 1}
    assert of(found, "sealpost_attempts_total", "outcome") == outcomes
    assert of(found, "sealpost_failures_total", "reason") == {("no_recipient",): 1, ("connect",): 1}
    assert of(found, "sealpost_attempt_seconds_count", "phase") == {
        ("accepted",): 1,
        ("recipient",): 1,
        ("connect",): 1,
    }
    took = found["sealpost_attempt_seconds_bucket"]
    within = {at: took[(("config", "Main"), ("le", at), ("phase", "recipient"))] for at in ("1.0", "3.0", "+Inf")}
    assert within == {"1.0": 0, "3.0": 1, "+Inf": 1}
    assert found["sealpost_attempt_seconds_sum"][(("config", "Main"), ("phase", "recipient"))] == 2.5
    assert found["sealpost_acceptance_seconds_bucket"][(("config", "Main"), ("le", "+Inf"))] == 1
    assert found["sealpost_config_up"][(("config", "Main"),)] == 1
    assert found["sealpost_ready"][()] == found["sealpost_database_up"][()] == 1


def test_it_tells_what_waits_and_since_when(app: Flask, admin: Visitor) -> None:
    queued()
    in_state(State.DEFERRED, due_at=clock.now() - timedelta(minutes=20))
    in_state(State.SENT)
    found = scraped(admin)
    assert of(found, "sealpost_queue_depth", "state") == {("queued",): 1, ("deferred",): 1}
    assert max(found["sealpost_oldest_due_seconds"].values()) >= 1200


def labels_in(text: str) -> set[str]:
    return set(re.findall(r'="([^"]*)"', "".join(line for line in text.splitlines() if not line.startswith("#"))))


def test_no_label_holds_an_address_a_host_or_a_domain_be_it_a_servers_name(
    admin: Visitor, sending: RecordingServer
) -> None:
    for to in ("jane@shop.example.com", "joe@other.example"):
        email_service.send_email(to, "s", "b")
    named = ["smtp.example.com", "ann@example.com", "192.0.2.7", "[2001:db8::1]", "Shop（shop。example）", "localhost"]
    values = {"smtp_server": "127.0.0.1", "smtp_port": sending.port, "use_tls": False, "from_email": "a@example.com"}
    for name in named:
        configs.create(parse_change(values | {"name": name}))
        attempted(server=f"{name} (smtp.example.com:587)")
    attempted(server="mail.deleted.example (mail.deleted.example:587)")
    attempted(server="Renamed (mail.deleted.example:587)")
    found = labels_in(admin.get("/metrics").text)
    assert not [label for label in found if re.search(r"[@：。]|example|192|2001|localhost|127", label)]
    assert {"Main", "Renamed", "other"} <= found
    assert len([label for label in found if label.startswith("server ")]) == len(named)


def test_every_server_is_told_of_and_which_ones_mail_goes_through(admin: Visitor, sending: RecordingServer) -> None:
    spare = {"name": "Spare", "smtp_server": "127.0.0.1", "smtp_port": sending.port, "from_email": "a@example.com"}
    spare_id = configs.create(parse_change(spare | {"use_tls": False})).row.id
    with transaction() as session:
        met = Meeting(what=What.FAILED, reason=Reason.LINK_LOST, is_broken=True)
        fingerprint = sealing.fingerprint(configs.get(spare_id).settings)
        health.note(session, health.owner_of(spare_id), spare_id, fingerprint, [met])
    found = scraped(admin)
    assert of(found, "sealpost_config_active", "config") == {("Main",): 1}
    assert of(found, "sealpost_config_up", "config") == {("Main",): 1}
    assert of(found, "sealpost_circuit_open", "config") == {("Spare",): 1}


def test_what_was_suppressed_is_counted_by_why_once(app: Flask, admin: Visitor, sending: RecordingServer) -> None:
    entries.add("gone@example.com")
    assert not email_service.send_email("gone@example.com", "s", "b")
    in_state(State.SUPPRESSED, reason=Reason.LISTED_COMPLAINT.value, settled_at=clock.now())
    found = scraped(admin)
    assert of(found, "sealpost_suppressed_total", "reason") == {("listed_manual",): 1, ("listed_complaint",): 1}
    assert of(found, "sealpost_mails_total", "state") == {}


def test_it_tells_when_a_worker_lived_and_which_alerts_fire(app: Flask, admin: Visitor) -> None:
    assert "sealpost_worker_heartbeat_seconds" not in scraped(admin)
    with transaction() as session:
        alert_db.beat(session, pulse.WORKER, clock.now() - timedelta(seconds=90))
        now = clock.now()
        for subject, state in (("config:1", "firing"), ("config:2", "firing"), ("config:3", "pending")):
            session.add(AlertState(rule="server", subject=subject, state=state, since=now, seen_at=now))
    found = scraped(admin)
    assert 90 <= found["sealpost_worker_heartbeat_seconds"][()] < 100
    assert of(found, "sealpost_alerts_firing", "rule") == {("server",): 2}
    assert len(found["sealpost_alerts_firing"]) == len(RuleName)


def test_it_tells_for_how_long_certificates_tokens_and_secrets_are_good(
    app: Flask, admin: Visitor, sending: RecordingServer
) -> None:
    day = (clock.now() + timedelta(days=10)).date()
    habits_of("127.0.0.1", sending.port).learn(Habit.CERTIFICATE, day.isoformat())
    found = scraped(admin)["sealpost_certificate_expires_seconds"]
    seconds = found[(("config", "Main"), ("what", "server_certificate"))]
    assert 9 * 86400 <= seconds <= 10 * 86400


def test_counters_begin_anew_with_the_month_so_that_nothing_old_makes_them_fall(
    app: Flask, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Now()
    now.moment = now.moment.replace(month=3, day=1, hour=0, minute=5)
    attempted(started_at=now.moment - timedelta(minutes=10))
    attempted(started_at=now.moment - timedelta(minutes=1))
    monkeypatch.setattr(clock, "now", now)
    assert of(scraped(admin), "sealpost_attempts_total", "outcome") == {("accepted",): 1}


def test_a_database_that_is_away_is_told_and_nothing_fails(app: Flask, bearer: dict[str, str]) -> None:
    client = visit(app)
    db.engine.dispose()
    with closing(sqlite3.connect(db.engine.url.database or "")) as connection:
        connection.execute("ALTER TABLE email_outbox RENAME TO elsewhere")
    for ask in ({"headers": bearer}, {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}):
        answer = client.get("/metrics", **ask)
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        assert (answer.status_code, lines) == (200, ["sealpost_database_up 0.0", "sealpost_ready 0.0"])


def test_it_is_for_administrators_tokens_of_that_scope_and_named_addresses(app: Flask, client: Visitor) -> None:
    ada = make_alice(is_admin=True)
    joe = make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    good, _ = api_tokens.create(ada.id, "prometheus", None, ("metrics",))
    other, _ = api_tokens.create(joe.id, "send", None, ("send",))
    asked = {
        "nobody": client.get("/metrics").status_code,
        "metrics": client.get("/metrics", headers={"Authorization": f"Bearer {good}"}).status_code,
        "send": client.get("/metrics", headers={"Authorization": f"Bearer {other}"}).status_code,
        "named": client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code,
        "in a network": client.get("/metrics", environ_base={"REMOTE_ADDR": "2001:db8::1"}).status_code,
        "next to it": client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.8"}).status_code,
        "no administrator": bob.get("/metrics").status_code,
    }
    assert asked == {
        "nobody": 401, "metrics": 200, "send": 403, "named": 200, "in a network": 200, "next to it": 401,
        "no administrator": 403,
    }  # fmt: skip


def test_a_token_for_figures_reads_nothing_else(app: Flask, client: Visitor) -> None:
    text, _ = api_tokens.create(make_alice(is_admin=True).id, "prometheus", None, ("metrics",))
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get("/api/smtp/settings", headers=headers).status_code == 403
