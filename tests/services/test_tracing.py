"""An email is of the trace in which it was queued; spans are made where OpenTelemetry is installed and configured."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from app import create_app
from database.engine import db, reading
from database.outbox_db import OutboxMail
from services import email_service, tracing
from services.settings import configs
from services.settings.fields import parse_change
from tests.conftest import ADMIN_TOKEN
from tests.otlp_collector import OtlpCollector, facts_of
from tests.outbox import drain
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.running import ROOT

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "kept"),
    {
        GOOD: GOOD,
        f" {GOOD}\t": GOOD,
        f"00-{TRACE}-{SPAN}-00": f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-03": f"00-{TRACE}-{SPAN}-03",
        f"00-{TRACE}-{SPAN}-ff": f"00-{TRACE}-{SPAN}-03",  # flags that nobody has defined yet are not handed on
        f"01-{TRACE}-{SPAN}-01": GOOD,  # a later version, by what is known of it
        f"cc-{TRACE}-{SPAN}-01-what-it-may-be": GOOD,
        f"cc-{TRACE}-{SPAN}-01.what": None,
        f"cc-{TRACE}-{SPAN}-011": None,
        f"ff-{TRACE}-{SPAN}-01": None,
        f"00-{TRACE}-{SPAN}-01-": None,
        f"00-{TRACE}-{SPAN}-01-more": None,
        f"00-{TRACE}-{SPAN}-1": None,
        f"0-{TRACE}-{SPAN}-01": None,
        f"00-{TRACE.upper()}-{SPAN}-01": None,
        f"00-{TRACE[:-1]}-{SPAN}-01": None,
        f"00-{TRACE}0-{SPAN}-01": None,
        f"00-{TRACE[:-1]}g-{SPAN}-01": None,
        f"00-{'0' * 32}-{SPAN}-01": None,
        f"00-{TRACE}-{'0' * 16}-01": None,
        f"00-{TRACE}-{SPAN}-0x": None,
        f"00-{TRACE}-{SPAN}-٠١": None,
        f"00_{TRACE}_{SPAN}_01": None,
        f"{GOOD}, {GOOD}": None,
        f"{GOOD}\n": None,
        "": None,
        None: None,
    }.items(),
)
def test_a_traceparent_is_read_as_the_specification_says_and_a_bad_one_is_none(
    header: str | None, kept: str | None
) -> None:
    assert tracing.parsed(header) == kept


def stored(mail_id: str) -> str | None:
    with reading() as session:
        return session.scalar(select(OutboxMail.traceparent).where(OutboxMail.mail_id == mail_id))


@pytest.mark.parametrize(("header", "kept"), [(GOOD, GOOD), (f"00-{'0' * 32}-{SPAN}-01", None), (None, None)])
def test_a_call_over_http_is_of_the_trace_of_its_header(app: Flask, header: str | None, kept: str | None) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} | ({"traceparent": header} if header else {})
    mails = {"messages": [{"to": to, "subject": "s", "text": "t"} for to in ("a@example.com", "b@example.com")]}
    answer = app.test_client().post("/api/messages/send-email", json=mails, headers=headers)
    assert answer.status_code == 202, answer.text
    assert [stored(each["id"]) for each in answer.get_json()["messages"]] == [kept, kept]


def test_a_python_caller_names_its_trace_and_a_bad_one_is_no_error(app: Flask) -> None:
    for given, kept in ((GOOD, GOOD), ("nonsense", None), (None, None)):
        assert stored(email_service.queue_email("a@example.com", "s", "b", traceparent=given)) == kept


def test_nothing_of_opentelemetry_is_imported_where_no_collector_is_named(tmp_path: Path) -> None:
    script = (
        "import sys; from app import create_app; from services import email_service\n"
        "from flask_migrate import upgrade\n"
        f"app = create_app({{'APP_KEY': 'k3y-f0r-t3sts-QmxyZ1vJ8sWd0aBnL7uRt5eHc', 'APP_ENV': 'development',"
        f" 'DATABASE_URL': 'sqlite:///{tmp_path / 'own.db'}'}}, instance_path={str(tmp_path)!r})\n"
        "with app.app_context():\n"
        "    upgrade()\n"
        "    for send in (email_service.queue_email, email_service.send_email): send('a@example.com', 's', 'b')\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as collector:
        yield collector


@pytest.fixture
def traced(
    environment: dict[str, str], tmp_path: Path, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    app = create_app(environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, instance_path=tmp_path)
    with app.app_context():
        yield app
        db.engine.dispose()


def test_spans_join_the_callers_trace_from_the_promise_to_each_attempt_and_tell_of_nobody(
    traced: Flask, collector: OtlpCollector, mail_server: RecordingServer
) -> None:
    values = {"smtp_server": "127.0.0.1", "smtp_port": mail_server.port, "use_tls": False}
    config = configs.save(parse_change(values | {"name": "Main", "from_email": "shop@example.com"}))
    mail_id = email_service.queue_email("jane@example.com", "The subject", "The b0dy", traceparent=GOOD)
    drain()
    email_service.send_email("joe@example.com", "The subject", "The b0dy")
    queue, send, direct = sorted(collector.wait_for(3), key=lambda span: span.start_time_unix_nano)
    assert (queue.name, send.name, direct.name) == ("sealpost.queue", "sealpost.send", "sealpost.send")
    assert (queue.trace_id.hex(), queue.parent_span_id.hex()) == (TRACE, SPAN)
    assert (send.trace_id, send.parent_span_id) == (queue.trace_id, queue.span_id)
    assert direct.parent_span_id == b"" and direct.trace_id != queue.trace_id
    assert stored(mail_id) == f"00-{TRACE}-{queue.span_id.hex()}-01"
    told = {"messaging.system": "sealpost", "messaging.message.id": mail_id}
    assert facts_of(queue) == told | {"messaging.operation.type": "create", "sealpost.priority": "normal"}
    assert facts_of(send) == told | {
        "messaging.operation.type": "send",
        "sealpost.server.id": f"config:{config.row.id}",
        "sealpost.outcome": "accepted",
        "sealpost.attempt": 1,
    }
    assert send.end_time_unix_nano >= send.start_time_unix_nano >= queue.start_time_unix_nano
    assert collector.services == {"sealpost"}
    assert not [
        word for word in (b"jane", b"joe", b"shop", b"subject", b"b0dy", b"127.0.0.1") if word in collector.said
    ]


def test_an_attempt_that_failed_is_an_error_with_its_number_and_reason(traced: Flask, collector: OtlpCollector) -> None:
    with RecordingServer() as gone:
        values = {"smtp_server": "127.0.0.1", "smtp_port": gone.port, "use_tls": False}
    configs.save(parse_change(values | {"name": "Gone", "from_email": "shop@example.com"}))
    assert not email_service.send_email("jane@example.com", "s", "b")
    (span,) = collector.wait_for(1)
    assert span.status.code == 2 and not span.status.message
    assert facts_of(span)["sealpost.outcome"] == "temporary"
    assert facts_of(span)["error.type"] == "connect"
