"""Prometheus reads how mail goes, and nothing of whom it goes to."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from database.outbox_db import State
from services import email_service
from services.accounts import api_tokens
from services.settings import configs
from services.settings.fields import parse_change
from tests.mails import attempted, in_state, queued
from tests.recording_server import RecordingServer
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


def scraped(client: Visitor) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_it_tells_what_attempts_came_to(admin: Visitor, sending: RecordingServer) -> None:
    assert email_service.send_email("jane@example.com", "s", "b")
    attempted(outcome="permanent", reason="no_recipient", phase="recipient", server="Main (127.0.0.1:25)")
    found = scraped(admin)
    assert {dict(labels)["outcome"]: value for labels, value in found["sealpost_attempts_total"].items()} == {
        "accepted": 1,
        "permanent": 1,
    }
    assert found["sealpost_acceptance_seconds_bucket"][(("le", "+Inf"), ("server", "Main"))] == 1
    assert found["sealpost_server_up"][(("server", "Main"),)] == 1
    assert found["sealpost_ready"][()] == 1


def test_it_tells_what_waits_and_since_when(app: Flask, admin: Visitor) -> None:
    queued()
    in_state(State.DEFERRED, due_at=clock.now() - timedelta(minutes=20))
    in_state(State.SENT)
    found = scraped(admin)
    assert sum(found["sealpost_mails"].values()) == 2
    assert max(found["sealpost_oldest_due_seconds"].values()) >= 1200


def test_no_label_holds_an_address_a_host_or_a_domain(admin: Visitor, sending: RecordingServer) -> None:
    for to in ("jane@shop.example.com", "joe@other.example"):
        email_service.send_email(to, "s", "b")
    text = admin.get("/metrics").text
    labels = set(re.findall(r'"([^"]*)"', "".join(line for line in text.splitlines() if not line.startswith("#"))))
    assert not [label for label in labels if "@" in label or "example" in label or "127.0" in label]


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
