"""``/api/settings/smtp/configs``: every stored configuration by its id, and the switch between them."""

from functools import partial

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from blueprints import smtp_tests
from blueprints.access import actor_name, admin_api, require_recent_sign_in
from blueprints.api import api_tests
from blueprints.api.api_models import (
    BODY_ERRORS,
    CHANGE_ERRORS,
    ERRORS,
    EXAMPLE,
    STALE_TOO,
    TAG,
    ConfigAnswer,
    ConfigFilter,
    ConfigsAnswer,
    DeletedVersion,
    DoneAnswer,
    NoParameters,
    RefusedAnswer,
    Switch,
)
from blueprints.api.json_body import json_object, json_object_or_none
from blueprints.api.openapi import ErrorAnswer, Operation
from blueprints.api.query import parsed_query
from services.settings import config_trail, configs
from services.settings.fields import SmtpChange, checked, parse_change
from services.settings.sealing import StoredConfig
from services.settings.shown import public_dict, public_dicts

bp = Blueprint("configs_api", __name__, url_prefix="/api/settings/smtp/configs")

SWITCH_DESCRIPTION = "Takes effect in every process from the next email. 409 if the version is not the stored one."
_switching = partial(
    Operation,
    tag=TAG,
    body=Switch,
    body_required=False,
    example={"version": 3},
    answers={200: ConfigAnswer, **STALE_TOO, **BODY_ERRORS},
)


@bp.get("")
@Operation(
    summary="List the configurations, masked",
    description="The active one first, then by name.",
    tag=TAG,
    query=ConfigFilter,
    answers={200: ConfigsAnswer, 422: RefusedAnswer, **ERRORS},
)
@admin_api
def list_configs() -> Response:
    """The configurations that meet every condition of the query."""
    wanted = parsed_query(ConfigFilter)
    found = configs.search(wanted.q, active=wanted.active, security=wanted.security, has_error=wanted.has_error)
    return jsonify({"status": "success", "data": public_dicts(found)})


@bp.post("")
@Operation(
    summary="Create a configuration",
    description="It is inactive unless is_active is true. The name is required. A session must be younger than ten "
    "minutes if there is a configuration already; tokens are not asked.",
    tag=TAG,
    body=SmtpChange,
    example={"name": "Backup server", **EXAMPLE},
    answers={201: ConfigAnswer, 409: ErrorAnswer, **BODY_ERRORS},
)
@admin_api
def create_config() -> ResponseReturnValue:
    """Store a new configuration."""
    parsed_query(NoParameters)
    change = parse_change(json_object())
    if configs.search():  # the first server is no change of one
        require_recent_sign_in()
    return _shown(configs.create(change, actor=actor_name())), 201


@bp.get("/<int:config_id>")
@Operation(summary="Get a configuration, masked", tag=TAG, answers={200: ConfigAnswer, 404: ErrorAnswer, **ERRORS})
@admin_api
def get_config(config_id: int) -> Response:
    """One configuration without its password."""
    stored = configs.get(config_id)
    config_trail.note_viewed(stored.row)
    return _shown(stored)


@bp.patch("/<int:config_id>")
@Operation(
    summary="Change a configuration",
    description="Fields you leave out stay unchanged. A stored password is kept only for the same server, port, "
    "encryption and user name. A session that changes the server or a password must be younger than ten minutes; "
    "tokens are not asked.",
    tag=TAG,
    body=SmtpChange,
    example={"from_name": "Shop", "version": 3},
    answers={200: ConfigAnswer, **STALE_TOO, **BODY_ERRORS},
)
@admin_api
def change_config(config_id: int) -> Response:
    """Merge a change over one configuration."""
    parsed_query(NoParameters)
    change = parse_change(json_object())
    if change.touches_secrets or change.leads_elsewhere(configs.get(config_id).row.smtp_server):
        require_recent_sign_in()
    return _shown(configs.update(config_id, change, actor=actor_name()))


@bp.delete("/<int:config_id>")
@Operation(
    summary="Delete a configuration",
    description=(
        "Its sealed password is deleted too. If it was the active one, mail goes through the next in the route."
    ),
    tag=TAG,
    query=DeletedVersion,
    answers={200: DoneAnswer, **STALE_TOO, **CHANGE_ERRORS},
)
@admin_api
def delete_config(config_id: int) -> Response:
    """Forget one configuration for good."""
    configs.delete(config_id, version=parsed_query(DeletedVersion).version or None)
    return jsonify({"status": "success", "message": "SMTP configuration deleted"})


@bp.post("/<int:config_id>/activate")
@_switching(summary="Activate a configuration", description=SWITCH_DESCRIPTION)
@admin_api
def activate_config(config_id: int) -> Response:
    """Make it the active one; whichever was active is so no more."""
    return _shown(configs.activate(config_id, version=_version(), actor=actor_name()))


@bp.post("/<int:config_id>/deactivate")
@_switching(
    summary="Deactivate a configuration", description=f"Mail goes through the next in the route. {SWITCH_DESCRIPTION}"
)
@admin_api
def deactivate_config(config_id: int) -> Response:
    """Switch it off; no other is switched on instead."""
    return _shown(configs.deactivate(config_id, version=_version(), actor=actor_name()))


@bp.post("/<int:config_id>/test")
@api_tests.testing(
    summary="Test a configuration, or unsaved changes to it",
    example={"smtp_port": 465, "use_ssl": True, "smtp_password": "app_password", "to": "admin@example.com"},
)
@admin_api
@smtp_tests.limited
def test_config(config_id: int) -> ResponseReturnValue:
    """Test, and answer when it is over or step by step."""
    return api_tests.answer(configs.get(config_id))


test_config.__test__ = False  # type: ignore[attr-defined]


def _version() -> int | None:
    """The version in the body, either of which may be absent."""
    parsed_query(NoParameters)
    return checked(Switch, json_object_or_none() or {}).version or None


def _shown(stored: StoredConfig) -> Response:
    return jsonify({"status": "success", "data": public_dict(stored)})
