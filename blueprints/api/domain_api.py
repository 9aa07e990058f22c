"""``/api/settings/smtp/domain-check``: what receivers find in the DNS about a From domain."""

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field

from blueprints import limits
from blueprints.access import admin_api, limiter
from blueprints.api.api_models import ERRORS, TAG, RefusedAnswer
from blueprints.api.openapi import Operation, documented
from blueprints.api.query import parsed_query
from services.diagnosis.diagnosis import NOT_CONFIGURED
from services.domain import check
from utils.addresses import LONGEST_ADDRESS, LONGEST_HOST
from utils.errors import InvalidInput

bp = Blueprint("domain_api", __name__)


class DomainQuestion(BaseModel):
    """Which domain to check; without one, that of the server that sends now, and that server."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    domain: str = Field("", max_length=LONGEST_ADDRESS, description="A domain, or an address in it.")
    server: str = Field("", max_length=LONGEST_HOST + 1, description="The server whose permission to check.")


class RecordData(BaseModel):
    host: str
    kind: str
    value: str
    instead: str


class FindingData(BaseModel):
    subject: str
    outcome: str
    text: str
    host: str
    seen: list[str]
    add: list[RecordData]


class DomainData(BaseModel):
    domain: str
    server: str
    provider: str
    outcome: str
    findings: list[FindingData]


class DomainAnswer(BaseModel):
    status: str
    data: DomainData


@bp.get("/api/settings/smtp/domain-check")
@documented(
    Operation(
        summary="Check SPF, DKIM, DMARC and MX of a From domain",
        description="Each finding is good, change (a record is missing or wrong; add has the one to have) or open (it "
        "cannot be told from here). Takes at most ten seconds.",
        tag=TAG,
        query=DomainQuestion,
        answers={200: DomainAnswer, 422: RefusedAnswer, **ERRORS},
    )
)
@admin_api
@limiter.shared_limit(*limits.DOMAIN_CHECK)
def check_domain() -> Response:
    """Look the records up now."""
    asked = parsed_query(DomainQuestion)
    domain, server = (asked.domain, asked.server) if asked.domain else check.sending_now()
    if not domain:
        raise InvalidInput({"domain": [f"{NOT_CONFIGURED}. Give a domain."]})
    report = check.check(check.parse_domain(domain), check.parse_server(asked.server or server))
    return jsonify({"status": "success", "data": report.public_dict()})
