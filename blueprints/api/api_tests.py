"""The connection test of the administration API: what is tested, and the answer at its end or step by step."""

from functools import partial
from typing import Any, Final

from flask.typing import ResponseReturnValue
from flask_login import current_user

from blueprints import smtp_tests
from blueprints.api.api_models import BODY_ERRORS, TAG, SmtpTest, TestAnswer
from blueprints.api.json_body import json_object_or_none
from blueprints.api.openapi import ErrorAnswer, Operation
from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.diagnosis.diagnosis import NOT_CONFIGURED
from services.settings import configs, route
from services.settings.fields import checked
from services.settings.sealing import StoredConfig
from utils.errors import InvalidInput, NotFound

DELIVER: Final = "To deliver it anyway, send deliver_suppressed: true."
# Both routes that test are documented alike, but for what they test.
testing = partial(
    Operation,
    description="Request application/x-ndjson to get each step as it happens. Empty lines keep the connection alive.",
    tag=TAG,
    body=SmtpTest,
    body_required=False,
    answers={200: TestAnswer, 404: ErrorAnswer, **BODY_ERRORS},
    streams=True,
)


def answer(stored: StoredConfig | None) -> ResponseReturnValue:
    """Test the stored configuration, or with a body that merged over it; without either there is nothing to test."""
    return _answer(stored, json_object_or_none())


def answer_active() -> ResponseReturnValue:
    """Test the active configuration, or with a body what saving it there would give."""
    body = json_object_or_none()
    stored = configs.find_active()
    if stored is None and body is not None:
        stored = configs.find_saved_over(checked(SmtpTest, body))
    return _answer(stored, body)


def _answer(stored: StoredConfig | None, body: dict[str, object] | None) -> ResponseReturnValue:
    config_id = stored.row.id if stored else None
    prepared = _plan(stored, body)
    told = partial(_told, connect=smtp_tests.connect_url(stored))
    if smtp_tests.wants_stream():
        return smtp_tests.streamed(prepared, config_id, told)
    result = smtp_tests.run_and_note(prepared, config_id)
    return told(result), 200 if result.ok else 422


def _plan(stored: StoredConfig | None, body: dict[str, object] | None) -> TestPlan:
    own_address = current_user.email if current_user.is_authenticated else ""
    if body is not None:
        change = checked(SmtpTest, body)
        if change.to:
            smtp_tests.check_delivery("to", DELIVER, is_confirmed=change.deliver_suppressed)
        settings = configs.preview(change, stored.row.id if stored else None)
        server = route.step_of(stored) if stored else None
        return connection_test.plan(settings, to=change.to, rcpt=change.rcpt, also=own_address, server=server)
    if not stored:
        raise NotFound(NOT_CONFIGURED)
    if not stored.is_usable:
        raise InvalidInput(stored.errors)
    return connection_test.plan(stored.settings, rcpt=own_address, server=route.step_of(stored))


def _told(result: TestResult, connect: str) -> dict[str, Any]:
    data = smtp_tests.course(result) | smtp_tests.failure(result, connect)
    if result.message_id:
        data |= {"queue_id": result.queue_id, "message_id": result.message_id}
    return {"status": "success" if result.ok else "error", "message": result.headline, "data": data}
