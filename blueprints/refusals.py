"""Refusals leave a trace: a line in the log for each, and what an administrator should see in the audit trail."""

from typing import Final

import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import DBAPIError

from blueprints.clients import client_address, client_network
from services import audit
from services.accounts import tries
from services.audit import Action

log = structlog.get_logger(__name__)

_REFUSALS: Final = (401, 403, 429)
_FORBIDDEN: Final = 403
_TOLD: Final = "sealpost_refusal"  # in ``g``: what the line says beside what every line says


def init_app(app: Flask) -> None:
    app.after_request(_leave_a_trace)


def tell(**facts: str) -> None:
    """Say more about why this request is refused, and that it is, whatever its status. Never what was sent."""
    g.setdefault(_TOLD, {}).update(facts)


def _leave_a_trace(response: Response) -> Response:
    told = g.pop(_TOLD, {})
    if response.status_code in _REFUSALS or told:
        facts = {
            "status": response.status_code,
            "actor": audit.actor().name,
            "address": client_address(),
            "endpoint": request.endpoint,
            "method": request.method,
        }
        log.warning("security_refusal", **facts, **told)
    if response.status_code == _FORBIDDEN:
        _note_once()
    return response


def _note_once() -> None:
    """The first of a window stands in the audit trail: who looks around where they may not. If it can be written."""
    try:
        if tries.happens_first(f"forbidden {audit.actor().name} {client_network()}"):
            audit.note(Action.REFUSED, request.endpoint or "unknown page", [request.method])
    except DBAPIError as error:
        log.warning("refusal_not_noted", kind=type(error.orig).__name__)
