"""The page ``/settings/smtp``: the form, its test, and where mail goes now."""

from typing import Any

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from blueprints import forms, smtp_tests
from blueprints.access import actor_name, admin_page
from services import connection_test, providers, smtp_configs, smtp_diagnosis, smtp_state
from services.connection_test import TestPlan, TestResult
from services.smtp_configs import StoredConfig
from services.smtp_fields import SmtpChange, parse_address_field, parse_change
from services.smtp_settings import Security
from utils.env_utils import get_settings
from utils.errors import Conflict, InvalidInput

bp = Blueprint("settings", __name__)

TEXT_FIELDS = (
    "smtp_server",
    "smtp_port",
    "smtp_username",
    "from_email",
    "from_name",
    "reply_to",
    "helo_hostname",
    "timeout_seconds",
)
ON_SCREEN = "Tested the values on screen. Not saved yet."
SAVED = "Tested the saved values."


@bp.get("/settings/smtp")
@admin_page
def smtp() -> Response:
    """The form with the stored values, or with those of a preset chosen without JavaScript."""
    stored = smtp_configs.find()
    preset = providers.find_preset(request.args.get("preset", ""))
    values = _stored_values(stored)
    if preset:
        values |= {
            "smtp_server": preset["host"],
            "smtp_port": str(preset["port"]),
            "security": preset["security"],
            "smtp_username": preset["username_literal"] or values["smtp_username"],
        }
    return _page(stored, values, preset=preset)


@bp.post("/settings/smtp")
@admin_page
def save_smtp() -> Response:
    """Save what was typed; on a refusal nothing typed is lost but the password."""
    try:
        smtp_configs.save(_change(), actor=actor_name(), proof=forms.text("proof"))
    except InvalidInput as error:
        return _page(smtp_configs.find(), _typed_values(), errors=_at_fields(error), status=422)
    except Conflict as error:
        return _page(smtp_configs.find(), _typed_values(), errors={"form": [error.message]}, status=409)
    flash("Saved.", "success")
    return make_response(redirect(url_for("settings.smtp"), 303))


@bp.post("/settings/smtp/test")
@admin_page
@smtp_tests.limited
def test_smtp() -> Response:
    """Test what was typed: step by step for a script, as a page without one."""
    try:
        prepared = _plan()
    except InvalidInput as error:
        if smtp_tests.wants_stream():
            raise InvalidInput(_at_fields(error), error.message) from None
        return _page(smtp_configs.find(), _typed_values(), errors=_at_fields(error), status=422)
    if smtp_tests.wants_stream():
        return smtp_tests.streamed(prepared, lambda result: _told(prepared, result))
    result = smtp_tests.run_and_note(prepared)
    told = _told(prepared, result) | {"steps": [smtp_tests.step_dict(step) for step in result.steps]}
    return _page(smtp_configs.find(), _typed_values(), test=told)


test_smtp.__test__ = False  # type: ignore[attr-defined]


def _plan() -> TestPlan:
    settings = smtp_configs.preview(_change())
    own_address = str(current_user.email)
    if not forms.ticked("send"):
        return connection_test.plan(settings, rcpt=own_address)
    return connection_test.plan(settings, to=parse_address_field("to", forms.text("to") or own_address))


def _told(prepared: TestPlan, result: TestResult) -> dict[str, Any]:
    """The result for the page. ``proof`` lets a save of the same values count as tested."""
    stored = smtp_configs.find()
    is_saved = stored is not None and smtp_configs.are_stored(prepared.settings, stored)
    failure = smtp_tests.failure(result)
    return {
        "ok": result.ok,
        "title": result.message,
        "message": _sentence(prepared, result),
        "tested": SAVED if is_saved else ON_SCREEN,
        "phase_label": failure.get("phase_label", ""),
        "remedy": failure.get("remedy", ""),
        "server_line": failure.get("server_line", ""),
        "field": failure.get("field"),
        "verified": result.ok and is_saved,
        "proof": smtp_configs.issue_proof(prepared.settings) if result.ok else "",
    }


def _sentence(prepared: TestPlan, result: TestResult) -> str:
    host = prepared.settings.host
    if result.error:
        return f"It failed at “{smtp_diagnosis.PHASE_LABELS[result.error.phase]}”."
    if not result.message_id:
        return f"{host} is ready to take mail from {prepared.settings.from_email}."
    queue = f", queue id {result.queue_id}" if result.queue_id else ""
    return f"Accepted by {host}{queue}. Accepted is not yet delivered: look in the inbox of {prepared.rcpt}."


def _change() -> SmtpChange:
    """The form as the change that the API would be sent; the texts of numbers become numbers."""
    raw: dict[str, object] = {name: forms.text(name) for name in TEXT_FIELDS}
    for name in ("smtp_port", "timeout_seconds"):
        text = forms.text(name).strip()
        raw[name] = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else text  # noqa: PLR2004
    security = forms.text("security")
    raw |= {
        "smtp_password": forms.text("smtp_password"),
        "remove_password": forms.ticked("remove_password"),
        "is_active": forms.ticked("is_active"),
        "use_tls": security == Security.STARTTLS,
        "use_ssl": security == Security.TLS,
    }
    version = forms.text("version")
    if version:
        raw["version"] = int(version) if version.isascii() and version.isdigit() else version
    return parse_change(raw)


def _at_fields(error: InvalidInput) -> dict[str, list[str]]:
    """The errors under the names of the form's fields."""
    names = {"use_tls": "security", "use_ssl": "security", "version": "form", "is_active": "form"}
    found: dict[str, list[str]] = {}
    for name, sentences in error.errors.items():
        found.setdefault(names.get(name, name), []).extend(sentences)
    return found


def _stored_values(stored: StoredConfig | None) -> dict[str, Any]:
    if not stored:
        return {
            "smtp_server": "",
            "smtp_port": "587",
            "smtp_username": "",
            "from_email": "",
            "from_name": get_settings().app_name,
            "security": str(Security.STARTTLS),
            "is_active": True,
            "reply_to": "",
            "helo_hostname": "",
            "timeout_seconds": "10",
            "to": current_user.email,
            "version": "",
            "remove_password": False,
        }
    row = stored.row
    return {
        **{name: str(getattr(row, name)) for name in TEXT_FIELDS},
        "security": str(stored.settings.security),
        "is_active": row.is_active,
        "to": current_user.email,
        "version": str(row.version),
        "remove_password": False,
    }


def _typed_values() -> dict[str, Any]:
    """What was typed, for showing it again; never the password."""
    return {
        **{name: forms.text(name) for name in (*TEXT_FIELDS, "security", "to", "version")},
        "is_active": forms.ticked("is_active"),
        "remove_password": forms.ticked("remove_password"),
    }


def _page(
    stored: StoredConfig | None,
    values: dict[str, Any],
    *,
    preset: providers.Provider | None = None,
    errors: dict[str, list[str]] | None = None,
    test: dict[str, Any] | None = None,
    status: int = 200,
) -> Response:
    page = render_template(
        "settings/smtp.html",
        values=values,
        errors=errors or {},
        has_password=bool(stored and stored.row.smtp_password),
        retype_password=request.method == "POST" and bool(forms.text("smtp_password")),
        state=smtp_state.describe(stored),
        presets=providers.presets(),
        preset=preset or providers.for_server(values["smtp_server"], values["smtp_port"]),
        test=test,
    )
    return make_response(page, status)
