"""``/api/settings/smtp``: the administration API of the specification."""

from typing import Annotated, Any

from flask import Blueprint, Response, jsonify
from flask_login import current_user
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from blueprints import smtp_tests
from blueprints.access import actor_name, admin_api
from blueprints.json_body import json_object, json_object_or_none
from blueprints.openapi import ErrorAnswer, Operation, documented
from services import connection_test, smtp_configs, smtp_sealing
from services.connection_test import TestPlan, TestResult
from services.smtp_diagnosis import NOT_CONFIGURED
from services.smtp_fields import SmtpChange, checked, parse_change, parse_recipient
from services.smtp_sealing import StoredConfig
from utils.errors import InvalidInput, NotFound

bp = Blueprint("settings_api", __name__)

TAG = "SMTP settings"
EXAMPLE = {
    "smtp_server": "smtp.gmail.com",
    "smtp_port": 587,
    "smtp_username": "user@gmail.com",
    "smtp_password": "app_password",
    "from_email": "noreply@example.com",
    "from_name": "OpenAlgo",
    "use_tls": True,
    "use_ssl": False,
}


class ConfigData(BaseModel):
    """A configuration as it may be shown: the password is eight bullets or nothing."""

    model_config = ConfigDict(title="Configuration")

    id: int
    name: str
    smtp_server: str
    smtp_port: int
    smtp_username: str
    smtp_password: str
    has_password: bool
    needs_reentry: bool
    from_email: str
    from_name: str
    use_tls: bool
    use_ssl: bool
    is_active: bool
    failover: bool
    reply_to: str
    helo_hostname: str
    timeout_seconds: int
    auth_method: str
    verified: bool
    verified_at: str | None
    last_error: str | None
    version: int
    created_at: str
    updated_at: str
    updated_by: str


class ConfigAnswer(BaseModel):
    status: str
    data: ConfigData


class SavedAnswer(BaseModel):
    status: str
    message: str


class StepData(BaseModel):
    name: str
    label: str
    status: str
    ms: int
    fact: str


class TestData(BaseModel):
    __test__ = False

    steps: list[StepData]
    queue_id: str | None = None
    message_id: str | None = None


class TestAnswer(BaseModel):
    __test__ = False

    status: str
    message: str
    data: TestData


class RefusedAnswer(BaseModel):
    """Refused fields (``errors``), or a test that ran and failed (``data``)."""

    status: str
    message: str
    errors: dict[str, list[str]] | None = None
    data: dict[str, Any] | None = None


class SmtpTest(SmtpChange):
    """Values to test, merged over the saved ones and stored nowhere."""

    to: Annotated[
        str,
        PlainValidator(parse_recipient),
        WithJsonSchema({"type": "string", "maxLength": 300, "description": "Also deliver a test mail there."}),
    ] = Field(default="")


ERRORS: dict[int, type[BaseModel]] = {401: ErrorAnswer, 403: ErrorAnswer, 429: ErrorAnswer}
BODY_ERRORS: dict[int, type[BaseModel]] = {
    **ERRORS,
    400: ErrorAnswer,
    413: ErrorAnswer,
    415: ErrorAnswer,
    422: RefusedAnswer,
    503: ErrorAnswer,
}


@bp.get("/api/settings/smtp")
@documented(
    Operation(
        summary="Get the configuration, masked",
        tag=TAG,
        answers={200: ConfigAnswer, 404: ErrorAnswer, **ERRORS},
    )
)
@admin_api
def get_smtp() -> Response:
    """The stored configuration without its password."""
    stored = smtp_configs.find_active()
    if not stored:
        raise NotFound(NOT_CONFIGURED)
    return jsonify({"status": "success", "data": smtp_configs.public_dict(stored)})


@bp.post("/api/settings/smtp")
@documented(
    Operation(
        summary="Save the configuration",
        description="Merges over what is stored. A stored password is kept only for the same server, port, "
        "encryption and user name.",
        tag=TAG,
        body=SmtpChange,
        example=EXAMPLE,
        answers={200: SavedAnswer, 409: ErrorAnswer, **BODY_ERRORS},
    )
)
@admin_api
def save_smtp() -> Response:
    """Merge a change over the stored configuration."""
    smtp_configs.save(parse_change(json_object()), actor=actor_name())
    return jsonify({"status": "success", "message": "SMTP configuration saved"})


@bp.post("/api/settings/smtp/test")
@documented(
    Operation(
        summary="Test the saved configuration, or values that are stored nowhere",
        description="Ask for application/x-ndjson to hear each step as it happens.",
        tag=TAG,
        body=SmtpTest,
        body_required=False,
        example={**EXAMPLE, "to": "admin@example.com"},
        answers={200: TestAnswer, 404: ErrorAnswer, **BODY_ERRORS},
        streams=True,
    )
)
@admin_api
@smtp_tests.limited
def test_smtp() -> Response:
    """Test, and answer when it is over or step by step."""
    stored = smtp_configs.find_active()
    config_id = stored.row.id if stored else None
    prepared = _plan(stored, json_object_or_none())
    if smtp_tests.wants_stream():
        return smtp_tests.streamed(prepared, config_id, _told)
    result = smtp_tests.run_and_note(prepared, config_id)
    response = jsonify(_told(result))
    response.status_code = 200 if result.ok else 422
    return response


test_smtp.__test__ = False  # type: ignore[attr-defined]


def _plan(stored: StoredConfig | None, body: dict[str, object] | None) -> TestPlan:
    own_address = current_user.email if current_user.is_authenticated else ""
    if body is not None:
        change = checked(SmtpTest, body)
        return connection_test.plan(
            smtp_configs.preview(change, stored.row.id if stored else None), to=change.to, rcpt=own_address
        )
    if not stored:
        raise NotFound(NOT_CONFIGURED)
    if not stored.is_usable:
        raise InvalidInput({"smtp_password": [smtp_sealing.UNUSABLE[stored.condition]]})
    return connection_test.plan(stored.settings, rcpt=own_address)


def _told(result: TestResult) -> dict[str, Any]:
    data: dict[str, Any] = {
        "steps": [smtp_tests.step_dict(step) for step in result.steps],
        **smtp_tests.failure(result),
    }
    if result.message_id:
        data |= {"queue_id": result.queue_id, "message_id": result.message_id}
    return {"status": "success" if result.ok else "error", "message": result.message, "data": data}
