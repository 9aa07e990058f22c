"""How the steps and the result of a connection test are told: as lines of a stream, as JSON, to a page."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from flask import Response, request, stream_with_context

from blueprints.access import actor_name, limiter
from services import audit, connection_test, smtp_configs, smtp_diagnosis
from services.connection_test import TOTAL_SECONDS, TestPlan, TestResult
from services.smtp_client import Step
from services.smtp_settings import SmtpSettings
from utils.errors import TooMany

NDJSON = "application/x-ndjson"
AT_ONCE: Final = 2  # tests of one person, in this process
# One count for page and API: a test makes this machine connect to where the caller says.
limited = limiter.shared_limit("20 per minute", scope="connection-test")

_under_way: Counter[str] = Counter()
_lock = threading.Lock()


def wants_stream() -> bool:
    return NDJSON in request.headers.get("Accept", "")


def step_labels() -> list[tuple[str, str]]:
    """Name and label of each step of a test, in order."""
    return [(str(phase), smtp_diagnosis.PHASE_LABELS[phase]) for phase in connection_test.STEPS]


def step_dict(step: Step) -> dict[str, Any]:
    return {
        "name": str(step.name),
        "label": smtp_diagnosis.PHASE_LABELS[step.name],
        "status": step.status,
        "ms": step.ms,
        "fact": step.fact,
    }


def run_and_note(prepared: TestPlan, config_id: int | None) -> TestResult:
    """Run a test to its end and note the result where it was the saved values that were tested.

    Raises TooMany while the same person has AT_ONCE others under way.
    """
    with _place(actor_name()):
        result = [item for item in connection_test.stream(prepared) if isinstance(item, TestResult)][-1]
    note(prepared.settings, result, config_id)
    return result


def streamed(prepared: TestPlan, config_id: int | None, told: Callable[[TestResult], dict[str, Any]]) -> Response:
    """A line for each step as it happens, and a last one with the result as ``told`` puts it.

    Raises TooMany, before there is an answer, while the same person has AT_ONCE others under way.
    """
    actor = audit.actor()

    def finished(result: TestResult) -> dict[str, Any]:
        with audit.acting(actor):  # the request is over for Flask, so nobody acts any more
            note(prepared.settings, result, config_id)
            return {"type": "result", **told(result)}

    def lines() -> Iterator[str]:
        for item in connection_test.stream(prepared):
            yield _line(finished(item) if isinstance(item, TestResult) else {"type": "step", **step_dict(item)})

    with ExitStack() as held:
        held.enter_context(_place(actor_name()))
        # X-Accel-Buffering: nginx would otherwise hold the steps back until the end.
        headers = {"X-Accel-Buffering": "no"}
        response = Response(stream_with_context(lines()), mimetype=NDJSON, headers=headers)
        # Servers close an answer that was sent, and one whose reader has gone even before its first line.
        response.call_on_close(held.pop_all().close)
    return response


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


@contextmanager
def _place(actor: str) -> Iterator[None]:
    """One of the places that an actor has for tests under way. Raises TooMany if all are taken."""
    with _lock:
        if _under_way[actor] >= AT_ONCE:
            raise TooMany("Two of your tests are still running. Wait until one ends.", int(TOTAL_SECONDS))
        _under_way[actor] += 1
    try:
        yield
    finally:
        with _lock:
            _under_way[actor] -= 1
            if not _under_way[actor]:
                del _under_way[actor]


def _line(item: dict[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=False) + "\n"
