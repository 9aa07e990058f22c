"""Traces (W3C Trace Context): whose trace an email was queued in goes along in its row, over processes and days.

Spans are made only where OTEL_EXPORTER_OTLP_ENDPOINT is set and OpenTelemetry is installed; without, nothing of it is
ever imported. None holds an address, a subject or a server's words.
"""

import atexit
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from database import attempt_db, outbox_db
from database.attempt_db import AttemptRow
from database.engine import reading
from utils import late
from utils.env_utils import get_settings
from utils.log_utils import logged

log = structlog.get_logger(__name__)

HEADER: Final = "traceparent"
FLUSH_SECONDS: Final = 1.0  # of the end of a process, for what was not exported yet
_FIELD: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FLAGS: Final = 0b11  # sampled, and random: the others must be zero when it is handed on
_NANOSECONDS: Final = 10**9
_WENT: Final = ("accepted", "suppressed")

_given: ContextVar[str | None] = ContextVar("sealpost_traceparent", default=None)


def parsed(header: object) -> str | None:
    """A ``traceparent`` as the row has it, of version 00; None for one that the specification says to ignore.

    One of a later version may have more behind its four fields (W3C Trace Context, 3.2.4 and 4).
    """
    found = _FIELD.fullmatch(header.strip(" \t")) if isinstance(header, str) else None
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return f"00-{trace_id}-{parent_id}-{int(flags, 16) & _FLAGS:02x}"


@contextmanager
def within(header: object) -> Iterator[None]:
    """What is queued in this block is of the trace that a caller's header names; without a good one, of none."""
    token = _given.set(parsed(header))
    try:
        yield
    finally:
        _given.reset(token)


def current() -> str | None:
    """The trace that the caller is in: by its own OpenTelemetry if it has any, or else by what it has sent."""
    api = late.loaded("opentelemetry.trace")
    span = api.get_current_span().get_span_context() if api else None
    return _written(span) if span and span.is_valid else _given.get()


@contextmanager
def queueing(mail_id: str, priority: str, header: object = None) -> Iterator[str | None]:
    """Make the span of a promise, if spans are made; gives what its row is to hold, so that attempts join it."""
    parent = parsed(header) or current()
    tracer = _tracer(get_settings().otlp_endpoint)
    if tracer is None:
        yield parent
        return
    trace = late.load("opentelemetry.trace")
    facts = {"messaging.system": "sealpost", "messaging.operation.type": "create", "messaging.message.id": mail_id}
    with tracer.start_as_current_span(
        "sealpost.queue",
        context=_context(trace, parent),
        kind=trace.SpanKind.PRODUCER,
        attributes=facts | {"sealpost.priority": priority},
        record_exception=False,  # its text may hold what the caller gave
        set_status_on_exception=False,
    ) as span:
        yield _written(span.get_span_context())


def sent(rows: Sequence[AttemptRow]) -> None:
    """Make the spans of these attempts, which are over, if spans are made. Never raises."""
    tracer = _tracer(get_settings().otlp_endpoint) if rows else None
    if tracer is None:
        return
    with logged(log.error, "spans_not_made", SQLAlchemyError):
        queued = sorted({row["mail_id"] for row in rows if row["mail_id"]})
        with reading() as session:
            parents, tried = outbox_db.traceparents(session, queued), attempt_db.tried(session, queued)
        numbers = Counter({mail_id: each.tries for mail_id, each in tried.items()})
        numbers.subtract(row["mail_id"] or "" for row in rows)
        for row in rows:
            mail_id = row["mail_id"] or ""
            numbers[mail_id] += 1
            parent = parents.get(mail_id) if mail_id else current()
            _make(tracer, row, parent, numbers[mail_id] if mail_id else 1)


def _make(tracer: Any, row: AttemptRow, parent: str | None, number: int) -> None:  # noqa: ANN401
    trace = late.load("opentelemetry.trace")
    start = int(row["started_at"].timestamp() * _NANOSECONDS)
    server = f"config:{row['config_id']}" if row["config_id"] is not None else "env" if row["server"] else "none"
    facts: dict[str, str | int] = {
        "messaging.system": "sealpost",
        "messaging.operation.type": "send",
        "sealpost.server.id": server,
        "sealpost.outcome": row["outcome"],
        "sealpost.attempt": number,
    }
    told = {"messaging.message.id": row["mail_id"], "sealpost.phase": row["phase"], "error.type": row["reason"]}
    span = tracer.start_span(
        "sealpost.send",
        context=_context(trace, parent),
        kind=trace.SpanKind.CLIENT,
        attributes=facts | {name: str(value) for name, value in told.items() if value},
        start_time=start,
    )
    if row["outcome"] not in _WENT:
        span.set_status(trace.StatusCode.ERROR)
    span.end(start + row["ms"] * 1_000_000)


def _written(span: Any) -> str:  # noqa: ANN401 - a SpanContext
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags) & _FLAGS:02x}"


def _context(trace: Any, parent: str | None) -> Any:  # noqa: ANN401 - OpenTelemetry's
    """What a span is told of its parent; of none, that it has none, whatever else is under way."""
    context = late.load("opentelemetry.context").Context()
    if parent is None:
        return context
    _, trace_id, span_id, flags = parent.split("-")
    remote = trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), context)


@cache
def _tracer(endpoint: str) -> Any:  # noqa: ANN401 - None, or OpenTelemetry's
    """What makes spans in this process: the application's own provider, if it has set one up, or one of ours."""
    if not endpoint:
        return None
    try:
        trace, sdk = late.load("opentelemetry.trace"), late.load("opentelemetry.sdk.trace")
        provider = trace.get_tracer_provider()
        if not isinstance(provider, sdk.TracerProvider):
            provider = _provider(sdk, endpoint)
    except ImportError:
        log.warning("no_traces", reason="OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed.")
        return None
    return provider.get_tracer("sealpost")


def _provider(sdk: Any, endpoint: str) -> Any:  # noqa: ANN401
    exporter = late.load("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    batches = late.load("opentelemetry.sdk.trace.export")
    provider = sdk.TracerProvider(
        resource=_resource(late.load("opentelemetry.sdk.resources")),
        shutdown_on_exit=False,  # it may wait for half a minute
    )
    url = f"{endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(batches.BatchSpanProcessor(exporter.OTLPSpanExporter(endpoint=url)))
    atexit.register(_flush, provider)
    return provider


def _resource(resources: Any) -> Any:  # noqa: ANN401
    """What the spans are of: as OTEL_SERVICE_NAME has it, or “sealpost”."""
    named = resources.OTELResourceDetector().detect().attributes.get("service.name")
    return resources.Resource.create({"service.name": named or "sealpost"})


def _flush(provider: Any) -> None:  # noqa: ANN401
    """Export what is left, as far as that is quick."""
    last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    last.start()
    last.join(FLUSH_SECONDS)
