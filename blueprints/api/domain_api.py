"""``/api/settings/smtp/domain-check``: what receivers find in the DNS about a From domain."""

from flask import Blueprint, Response, jsonify
from pydantic import Field

from blueprints import limits
from blueprints.access import admin_api, limiter
from blueprints.api.api_models import ERRORS, TAG, RefusedAnswer
from blueprints.api.openapi import AnyAnswer, Operation
from blueprints.api.query import parsed_query
from services.diagnosis.diagnosis import NOT_CONFIGURED
from services.domain import check
from services.domain.check import DomainReport
from services.settings.fields import Strict
from utils.addresses import LONGEST_ADDRESS, LONGEST_HOST
from utils.errors import InvalidInput
from utils.json_shapes import json_of

bp = Blueprint("domain_api", __name__)


class DomainQuestion(Strict):
    """Which domain to check; without one, that of the server that sends now, and that server."""

    domain: str = Field("", max_length=LONGEST_ADDRESS, description="A domain, or an address in it.")
    server: str = Field("", max_length=LONGEST_HOST + 1, description="The mail server that must be allowed to send.")


class DomainAnswer(AnyAnswer):
    data: DomainReport


@bp.get("/api/settings/smtp/domain-check")
@Operation(
    summary="Check SPF, DKIM, DMARC and MX of a From domain",
    description="Each finding is good, change (a record is missing or wrong; add has the one to have) or open (it "
    "cannot be checked from here). Takes at most ten seconds.",
    tag=TAG,
    query=DomainQuestion,
    example_query="domain=example.com",
    answers={200: DomainAnswer, 422: RefusedAnswer, **ERRORS},
)
@admin_api
@limiter.shared_limit(*limits.DOMAIN_CHECK)
def check_domain() -> Response:
    """Look the records up now."""
    asked = parsed_query(DomainQuestion)
    domain, server = (asked.domain, asked.server) if asked.domain else check.sending_now()
    if not domain:
        raise InvalidInput({"domain": [f"{NOT_CONFIGURED}. Pass a domain."]})
    report = check.check(domain, asked.server or server)
    return jsonify({"status": "success", "data": json_of(DomainReport, report)})
