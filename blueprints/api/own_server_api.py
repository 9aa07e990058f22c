"""``/api/smtp``: the mail server that an account brings, by the specification's own names and sentences."""

from typing import Any, Final

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from blueprints import smtp_tests
from blueprints.access import account_api, actor_name, caller, calling_account, require_recent_sign_in
from blueprints.api.api_models import NoParameters
from blueprints.api.json_body import json_object, json_object_or_none
from blueprints.api.openapi import Operation
from blueprints.api.personal_models import (
    NAMES,
    OWN_SERVER_TAG,
    PERSONAL_BODY_ERRORS,
    PERSONAL_ERRORS,
    OwnServerFields,
    PersonalError,
    RefusedTest,
    SavedAnswer,
    SavedData,
    SettingsData,
    SettingsRemovedAnswer,
    StepFacts,
    TestedAnswer,
    WithDetails,
    WithSteps,
    moment,
)
from blueprints.api.query import parsed_query
from services.accounts.api_tokens import Scope
from services.checks import connection_test
from services.checks.connection_test import TestResult
from services.personal import own_server
from services.personal.own_server import Serving, Tried
from services.settings import route
from services.settings.fields import checked
from services.smtp.settings import Security, SmtpSettings
from utils.allowed_places import NOT_FOR_ACCOUNTS
from utils.errors import Fault, InvalidInput, refused_under

SAVED: Final = "SMTP settings saved successfully"
REMOVED: Final = "SMTP settings removed. System will use global SMTP settings."
TEST_SUCCEEDED: Final = "SMTP connection test successful"
TEST_FAILED: Final = "SMTP connection test failed: {}"
EXAMPLE: Final = {
    "host": "smtp.example.com",
    "port": 587,
    "secure": False,
    "user": "user@example.com",
    "pass": "password",
}

bp = Blueprint("own_server_api", __name__, url_prefix="/api/smtp")


@bp.get("/settings")
@Operation(
    summary="Get the mail server that sends for you",
    description="The password is never returned. While the global server sends for you, isGlobal is true, and the "
    "rest is null unless you are an administrator.",
    tag=OWN_SERVER_TAG,
    query=WithDetails,
    answers={200: SettingsData, 422: PersonalError, **PERSONAL_ERRORS},
)
@account_api(Scope.SETTINGS)
def get_settings() -> Response:
    """What sends for the account now."""
    wanted, account_id = parsed_query(WithDetails), calling_account()
    found = own_server.serving(account_id)
    shown = found.settings if caller().is_admin or not found.is_global else None
    details = _details(found) if wanted.details else {}
    told = _server(shown) | {"has_password": found.has_password and shown is not None}
    return _answer(SettingsData(**told, is_global=found.is_global, **details), whole=wanted.details)


@bp.post("/settings")
@Operation(
    summary="Save your own mail server",
    description="It replaces the stored one and sends for you from the next email. The password may be left out only "
    "while one is stored for the same host, port, user and mode. secure left out is true for port 465 "
    "and otherwise false, which means that STARTTLS is required; nothing is sent unencrypted. fromEmail "
    "must be the user, if that is an address, the account's own address, or one that was confirmed; left "
    "out, it is the first of these. What an administrator has fixed for the domain of the user may be "
    "left out. A session that changes a stored server must be younger than ten minutes; tokens are not "
    "asked.",
    tag=OWN_SERVER_TAG,
    query=WithDetails,
    body=OwnServerFields,
    example=EXAMPLE,
    answers={200: SavedAnswer, 409: PersonalError, **PERSONAL_BODY_ERRORS},
)
@account_api(Scope.SETTINGS)
@smtp_tests.own_saves_limited
def save_settings() -> Response:
    """Store the account's own server."""
    wanted, account_id = parsed_query(WithDetails), calling_account()
    change = checked(OwnServerFields, json_object()).change()
    own = own_server.find(account_id)
    if own and (change.touches_secrets or change.leads_elsewhere(own.row.smtp_server)):
        require_recent_sign_in()
    with refused_under(NAMES):
        row = own_server.save(account_id, change, actor=actor_name()).row
    saved = SavedData(
        host=row.smtp_server,
        port=row.smtp_port,
        secure=row.use_ssl,
        user=row.smtp_username,
        updated_at=moment(row.updated_at),
        updated_by=row.updated_by,
        **(_details(own_server.serving(account_id)) if wanted.details else {}),
    )
    return _answer(SavedAnswer(message=SAVED, settings=saved), whole=wanted.details)


@bp.delete("/settings")
@Operation(
    summary="Remove your own mail server",
    description="Its sealed password is deleted too. The global server sends for you from the next email.",
    tag=OWN_SERVER_TAG,
    answers={200: SettingsRemovedAnswer, 422: PersonalError, 503: PersonalError, **PERSONAL_ERRORS},
)
@account_api(Scope.SETTINGS)
def delete_settings() -> Response:
    """Forget the account's own server; whoever has none is told the same."""
    parsed_query(NoParameters)
    own_server.delete(calling_account())
    return _answer(SettingsRemovedAnswer(message=REMOVED))


@bp.post("/test")
@Operation(
    summary="Test your own mail server, or unsaved settings",
    description="Without a body, the stored server is tested. With one, its fields are tested together with the "
    "stored rest. No email is sent. At most five tests a minute and twenty an hour, two at once "
    "(administrators: twenty a minute).",
    tag=OWN_SERVER_TAG,
    query=WithSteps,
    body=OwnServerFields,
    body_required=False,
    example=EXAMPLE,
    answers={200: TestedAnswer, 404: PersonalError, **PERSONAL_BODY_ERRORS, 422: RefusedTest},
)
@account_api(Scope.SETTINGS)
@smtp_tests.own_limited
def test_settings() -> ResponseReturnValue:
    """Test, and answer when it is over."""
    wanted, account_id = parsed_query(WithSteps), calling_account()
    body = json_object_or_none()
    change = None if body is None else checked(OwnServerFields, body).change()
    try:
        with refused_under(NAMES):
            tried = own_server.preview(account_id, change)
    except InvalidInput as refused:
        if refused.errors != {"host": [NOT_FOR_ACCOUNTS]}:
            raise
        return _failed(NOT_FOR_ACCOUNTS)
    result = _tested(tried)
    if tried.settings.is_personal and result.error and result.error.fault is Fault.ADDRESS_REFUSED:
        # As one that is refused before there is a test: nobody finds out by it what there is in our network.
        return _failed(NOT_FOR_ACCOUNTS)
    return _told(result, with_steps=wanted.steps)


test_settings.__test__ = False  # type: ignore[attr-defined]


def _answer(data: BaseModel, *, whole: bool = False) -> Response:
    """What the specification has; what is told beside it only if ``whole``."""
    return jsonify(data.model_dump(mode="json", by_alias=True, exclude_unset=not whole))


def _server(settings: SmtpSettings | None) -> dict[str, Any]:
    if settings is None:
        return {"host": None, "port": None, "secure": None, "user": None}
    return {
        "host": settings.host,
        "port": settings.port,
        "secure": settings.security is Security.TLS,
        "user": settings.username,
    }


def _details(found: Serving) -> dict[str, Any]:
    told: dict[str, Any] = {"status": found.status, "reason": found.reason}
    if found.own is None:
        return told
    row = found.own.row
    return told | {
        "by_token": found.own.settings.is_by_token,
        "needs_sign_in": found.needs_sign_in,
        "last_error": row.last_error,
        "verified_at": moment(row.verified_at) if row.verified_at and found.own.is_verified else None,
        "from_email": row.from_email,
        "from_name": row.from_name,
        "reply_to": row.reply_to,
        "version": row.version,
    }


def _tested(tried: Tried) -> TestResult:
    server = route.step_of(tried.stored) if tried.stored else None
    prepared = connection_test.plan(tried.settings, rcpt=tried.address, server=server)
    return smtp_tests.run_and_note(prepared, tried.stored.row.id if tried.stored else None)


def _told(result: TestResult, *, with_steps: bool) -> ResponseReturnValue:
    """The result in our own words."""
    steps = {"steps": [StepFacts(**smtp_tests.step_dict(step)) for step in result.steps]} if with_steps else {}
    if result.ok:
        return _answer(TestedAnswer(success=True, message=TEST_SUCCEEDED, **steps))
    return _failed(result.message, **steps)


def _failed(reason: str, **steps: Any) -> ResponseReturnValue:  # noqa: ANN401
    return _answer(RefusedTest(success=False, error=TEST_FAILED.format(reason), **steps)), 422
