"""``/healthz``, ``/readyz`` and ``/readyz/mail``: for whoever watches. They name no host, no address and no secret."""

from typing import Any, Final

from flask import Blueprint, Response, current_app
from flask.typing import ResponseReturnValue

from blueprints.access import is_known_administrator, public
from services.checks import readiness
from services.checks.outlook import MailFitness
from services.checks.readiness import Answer, Fitness

bp = Blueprint("health", __name__)

NOT_READY: Final = 503


@bp.get("/healthz")
@public
def live() -> Response:
    """The process answers. If it does not, restart it."""
    return Response("ok", mimetype="text/plain")


@bp.get("/readyz")
@public
def ready() -> ResponseReturnValue:
    """200 if requests may come here, also while mail is late; 503 if not. What will end soon is a warning alone."""
    found = readiness.look(current_app)
    return _told(found.level, found.checks, is_well=found.level is not Fitness.NOT_READY)


@bp.get("/readyz/mail")
@public
def mail_ready() -> ResponseReturnValue:
    """503 once no email has got out for MAIL_DOWN_MINUTES; whichever process is asked, the answer is the same."""
    found, check = readiness.look_at_mail()
    return _told(found, {"mail": check}, is_well=found is not MailFitness.DOWN)


def _told(status: str, checks: dict[str, Answer], *, is_well: bool) -> ResponseReturnValue:
    """Words alone, and to administrators what is behind them."""
    is_told = is_known_administrator()
    told = {name: _check(each, is_told) for name, each in checks.items()}
    return {"status": status, "checks": told}, 200 if is_well else NOT_READY


def _check(check: Answer, is_told: bool) -> dict[str, Any]:
    warning = {"warning": True} if check.warns else {}
    return {"ok": check.ok, **warning, **({"detail": check.detail} if is_told else {})}
