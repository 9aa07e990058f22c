"""``/api/settings/smtp``: the administration API of the specification, which works on the active configuration."""

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from blueprints import smtp_tests
from blueprints.access import actor_name, admin_api, require_recent_sign_in
from blueprints.api import api_tests
from blueprints.api.api_models import (
    BODY_ERRORS,
    ERRORS,
    EXAMPLE,
    TAG,
    ConfigAnswer,
    DoneAnswer,
)
from blueprints.api.json_body import json_object
from blueprints.api.openapi import ErrorAnswer, Operation
from services.diagnosis.diagnosis import NOT_CONFIGURED
from services.settings import config_trail, configs
from services.settings.fields import SmtpChange, parse_change
from services.settings.shown import public_dict
from utils.errors import NotFound

bp = Blueprint("settings_api", __name__)


@bp.get("/api/settings/smtp")
@Operation(
    summary="Get the active configuration, masked",
    tag=TAG,
    answers={200: ConfigAnswer, 404: ErrorAnswer, **ERRORS},
)
@admin_api
def get_smtp() -> Response:
    """The active configuration without its password."""
    stored = configs.find_active()
    if not stored:
        raise NotFound(NOT_CONFIGURED)
    config_trail.note_viewed(stored.row)
    return jsonify({"status": "success", "data": public_dict(stored)})


@bp.post("/api/settings/smtp")
@Operation(
    summary="Save the active configuration",
    description="Merges over the active configuration. Without one: with no smtp_server, over the one that was "
    "active last (404 if none was); otherwise over that one only if server, port and user name are its "
    "own, or else a new one is created, named Primary, Primary 2 and so on unless you pass a name. It is "
    "then active unless is_active is false. A stored password is kept only for the same server, port, "
    "encryption and user name. A session that changes the server or a password must be younger than ten minutes; "
    "tokens are not asked.",
    tag=TAG,
    body=SmtpChange,
    example=EXAMPLE,
    answers={200: DoneAnswer, 404: ErrorAnswer, 409: ErrorAnswer, **BODY_ERRORS},
)
@admin_api
def save_smtp() -> Response:
    """Merge a change over the active configuration."""
    change = parse_change(json_object())
    active = configs.find_active()
    is_other = change.touches_secrets or change.leads_elsewhere(active.row.smtp_server if active else "")
    if is_other and configs.search():  # the first server is no change of one
        require_recent_sign_in()
    configs.save(change, actor=actor_name())
    return jsonify({"status": "success", "message": "SMTP configuration saved"})


@bp.post("/api/settings/smtp/test")
@api_tests.testing(
    summary="Test the active configuration, or unsaved settings",
    example={**EXAMPLE, "to": "admin@example.com"},
)
@admin_api
@smtp_tests.limited
def test_smtp() -> ResponseReturnValue:
    """Test, and answer when it is over or step by step."""
    return api_tests.answer_active()


test_smtp.__test__ = False  # type: ignore[attr-defined]
