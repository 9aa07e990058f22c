"""``/healthz`` and ``/readyz``: for whoever watches over the process. They name no host, no address and no secret."""

from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response, current_app, jsonify

from blueprints.access import public
from services.checks import readiness
from services.checks.readiness import Fitness

bp = Blueprint("health", __name__)

NOT_READY: Final = 503


@bp.get("/healthz")
@public
def live() -> Response:
    """The process answers. If it does not, restart it."""
    return Response("ok", mimetype="text/plain")


@bp.get("/readyz")
@public
def ready() -> Response:
    """200 if requests may come here, also while mail is late; 503 if not."""
    found = readiness.look(current_app)
    checks = {name: asdict(check) for name, check in found.checks.items()}
    response = jsonify({"status": found.level, "checks": checks})
    response.status_code = NOT_READY if found.level is Fitness.NOT_READY else 200
    return response
