"""``GET /api/messages/export``: the mail log as CSV or JSON, all that a filter finds."""

from dataclasses import replace
from typing import Annotated, Final

from flask import Blueprint, Response
from pydantic import Field, RootModel

from blueprints import access, mail_export
from blueprints.access import account_api, caller_key, limiter
from blueprints.api.api_models import CHANGE_ERRORS, one_of
from blueprints.api.openapi import AnyAnswer, Operation
from blueprints.api.query import parsed_query
from blueprints.mail_export import ExportForm, ExportPlan
from services.accounts.api_tokens import Scope
from services.outbox import searching
from services.outbox.facts import DirectData, MailFacts, MessageData, State
from services.settings.fields import Checked, Strict, texts
from utils.errors import Forbidden

bp = Blueprint("message_export_api", __name__, url_prefix="/api/messages")

_FLAGS: Final = {"true": True, "false": False}
_LONGEST: Final = 400  # characters of one part of a filter


def _part(told: str) -> Checked:
    return texts(str, _LONGEST, told)


class ExportQuery(Strict):
    """What to export, and how."""

    format: Annotated[
        ExportForm, one_of({each.value: each for each in ExportForm}, "string", "The format.", enum=[*ExportForm])
    ] = ExportForm.JSON
    direct: Annotated[
        bool, one_of(_FLAGS, "boolean", "Email sent directly, in place of queued email. For administrators.")
    ] = False
    whole_addresses: Annotated[bool, one_of(_FLAGS, "boolean", "Whole addresses, in place of j***@example.com.")] = (
        False
    )
    state: Annotated[
        list[str],
        Checked(list, "array", "Filter by state. Repeatable.", items={"type": "string", "enum": [*State]}),
    ] = Field(default_factory=list)
    recipient: Annotated[str, _part("Filter by recipient: a whole address, or a domain.")] = ""
    message_id: Annotated[str, _part("Filter by Message-ID.")] = ""
    tag: Annotated[str, _part("Filter by tag.")] = ""
    server: Annotated[str, _part("Tried at this server, as the log calls it: name (host:port).")] = ""
    account_id: Annotated[str, _part("Filter by account, by its number. An account sees its own emails.")] = ""
    since: Annotated[str, _part("Queued at this time or later, like 2026-12-24T08:00. In UTC.")] = ""
    until: Annotated[str, _part("Queued before this time.")] = ""
    cause: Annotated[str, _part("Filter by the code of a reason, like no_recipient.")] = ""


class ExportAnswer(RootModel[list[MailFacts | MessageData | DirectData]]):
    """An array, newest first; only administrators see the last server, and a subject that was kept."""

    model_config = AnyAnswer.model_config


@bp.get("/export")
@Operation(
    summary="Export the mail log",
    description="All that the filter finds, newest first, as it is read. Addresses are masked unless you ask for whole "
    "ones; the audit trail notes each export, and which. Without its end it is not complete: a JSON array that "
    "breaks off cannot be read. An account exports its own emails. "
    "A session must be younger than ten minutes; tokens are not asked.",
    tag="Mail log",
    query=ExportQuery,
    answers={200: ExportAnswer, **CHANGE_ERRORS},
    media=("text/csv",),
    example_query="format=csv&state=failed",
)
@account_api(Scope.READ)
@limiter.limit("10 per minute", key_func=caller_key)
def export() -> Response:
    """The file, streamed."""
    access.require_recent_sign_in()
    asked = parsed_query(ExportQuery)
    args = {name: getattr(asked, name) for name in ExportQuery.model_fields if name not in ("format", "state")}
    wanted = searching.parse({**args, "state": ",".join(asked.state)})
    caller = access.caller()
    if not caller.is_admin:
        if asked.direct:
            raise Forbidden("Only administrators can do this.")
        wanted = replace(wanted, account_id=caller.account_id)
    plan = ExportPlan(
        wanted=wanted,
        form=asked.format,
        is_direct=asked.direct,
        has_whole_addresses=asked.whole_addresses,
        is_for_owner=not caller.is_admin,
    )
    return mail_export.streamed(plan)
