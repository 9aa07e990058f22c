"""How the steps and the result of a connection test are told: as lines of a stream, as JSON, to a page."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, request, stream_with_context

from blueprints.access import limiter
from services import connection_test, smtp_configs, smtp_diagnosis
from services.connection_test import TestPlan, TestResult
from services.smtp_client import Step
from services.smtp_settings import SmtpSettings

NDJSON = "application/x-ndjson"
# One count for page and API: a test makes this machine connect to where the caller says.
limited = limiter.shared_limit("20 per minute", scope="connection-test")


def wants_stream() -> bool:
    return NDJSON in request.headers.get("Accept", "")


def step_dict(step: Step) -> dict[str, Any]:
    return {
        "name": str(step.name),
        "label": smtp_diagnosis.PHASE_LABELS[step.name],
        "status": step.status,
        "ms": step.ms,
        "fact": step.fact,
    }


def run_and_note(prepared: TestPlan, config_id: int | None) -> TestResult:
    """Run a test to its end and note the result where it was the saved values that were tested."""
    result = [item for item in connection_test.stream(prepared) if isinstance(item, TestResult)][-1]
    note(prepared.settings, result, config_id)
    return result


def streamed(prepared: TestPlan, config_id: int | None, told: Callable[[TestResult], dict[str, Any]]) -> Response:
    """A line for each step as it happens, and a last one with the result as ``told`` puts it."""

    def lines() -> Iterator[str]:
        for item in connection_test.stream(prepared):
            if isinstance(item, TestResult):
                note(prepared.settings, item, config_id)
                yield _line({"type": "result", **told(item)})
            else:
                yield _line({"type": "step", **step_dict(item)})

    # X-Accel-Buffering: nginx would otherwise hold the steps back until the end.
    headers = {"X-Accel-Buffering": "no"}
    return Response(stream_with_context(lines()), mimetype=NDJSON, headers=headers)


def note(settings: SmtpSettings, result: TestResult, config_id: int | None) -> None:
    """Note the result on the stored configuration, if it is exactly its values that were tested."""
    smtp_configs.mark_tested(settings, None if result.ok else result.message, config_id)


def failure(result: TestResult) -> dict[str, Any]:
    """What went wrong and how to mend it; empty for a success."""
    if not result.error:
        return {}
    return {
        "phase": str(result.error.phase),
        "phase_label": smtp_diagnosis.PHASE_LABELS[result.error.phase],
        "fault": str(result.error.fault),
        "reason": result.message,
        "remedy": result.remedy,
        "field": smtp_diagnosis.field(result.error),
        "server_line": result.server_line,
    }


def _line(item: dict[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=False) + "\n"
