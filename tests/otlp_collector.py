"""A collector of OpenTelemetry's traces that keeps what it is sent, over OTLP with HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.patience import wait_until


class OtlpCollector:
    """Serves at ``url`` while it is entered; ``spans`` are those that came, the first one first."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self.said = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.said += body
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {item.key: item.value.string_value for item in each.resource.attributes}
            self.services.add(named["service.name"])
            self.spans += [span for scope in each.scope_spans for span in scope.spans]

    def wait_for(self, count: int) -> list[Any]:
        """The spans, once so many have come."""
        wait_until(lambda: len(self.spans) >= count, f"{count} spans")
        return self.spans


def facts_of(span: Any) -> dict[str, Any]:
    """The attributes of a span."""
    values = {item.key: item.value for item in span.attributes}
    return {name: getattr(value, value.WhichOneof("value")) for name, value in values.items()}
