"""``/api/suppressions``: the addresses that get no mail, for administrators."""

from typing import Annotated, Final

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field
from pydantic_core import PydanticCustomError

from blueprints.access import admin_api
from blueprints.api.api_models import (
    BODY_ERRORS,
    CHANGE_ERRORS,
    ERRORS,
    DoneAnswer,
    NoParameters,
    RefusedAnswer,
    one_of,
)
from blueprints.api.json_body import json_object
from blueprints.api.openapi import AnyAnswer, ErrorAnswer, Operation
from blueprints.api.query import number_parameter, parsed_query
from services.settings.fields import Checked, Strict, checked, parse_recipient
from services.suppression import entries
from services.suppression.entries import MOST_DAYS, MOST_NOTE, EntryData
from services.suppression.listing import Cause
from utils.addresses import LONGEST_ADDRESS
from utils.json_shapes import json_of
from utils.numbers import LARGEST

bp = Blueprint("suppressions_api", __name__, url_prefix="/api/suppressions")

TAG: Final = "Suppression list"
_BY_HAND: Final = {cause.value: cause.value for cause in Cause if cause is not Cause.REFUSED}


def _bounded(longest: int, told: str) -> Checked:
    def check(value: object) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise PydanticCustomError("refused", f"Use at most {longest} characters.")
        return value

    return Checked(check, "string", told, maxLength=longest)


def _days(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_DAYS:
        raise PydanticCustomError("refused", f"Enter a whole number from 1 to {MOST_DAYS}.")
    return value


class SuppressionFilter(Strict):
    """Which entries to list."""

    q: Annotated[str, _bounded(LONGEST_ADDRESS, "A whole address, or a domain.")] = ""
    before: Annotated[int | None, number_parameter(1, LARGEST, "The next value of the previous response.")] = None
    limit: Annotated[int, number_parameter(1, entries.MOST, "How many to return at most.")] = entries.PAGE


class NewSuppression(Strict):
    """The address that is to get no mail."""

    address: Annotated[
        str, Checked(parse_recipient, "string", "The address.", minLength=1, maxLength=LONGEST_ADDRESS)
    ] = Field(default="")
    reason: Annotated[str, one_of(_BY_HAND, "string", "Why.", enum=[*_BY_HAND])] = Cause.MANUAL.value
    days: Annotated[int | None, Checked(_days, "integer", "For how long. Absent: until it is removed.")] = None
    note: Annotated[str, _bounded(MOST_NOTE, "A note for administrators.")] = ""


class SuppressionsAnswer(AnyAnswer):
    """``next`` is what to give as before for the older ones."""

    data: list[EntryData]
    next: int | None


class SuppressionAnswer(AnyAnswer):
    data: EntryData


@bp.get("")
@Operation(
    summary="List suppressed addresses",
    description="The addresses that get no email but security email, newest first.",
    tag=TAG,
    query=SuppressionFilter,
    answers={200: SuppressionsAnswer, 409: ErrorAnswer, 422: RefusedAnswer, **ERRORS},
)
@admin_api
def list_suppressions() -> Response:
    """A page of the list."""
    wanted = parsed_query(SuppressionFilter)
    found, older = entries.page(wanted.q, wanted.before, wanted.limit)
    return jsonify({"status": "success", "data": [json_of(EntryData, each) for each in found], "next": older})


@bp.post("")
@Operation(
    summary="Suppress an address",
    description="It gets only security email from now on. One that is listed is changed.",
    tag=TAG,
    body=NewSuppression,
    example={"address": "jane@example.com", "reason": "complaint", "note": "Asked by phone"},
    answers={201: SuppressionAnswer, 409: ErrorAnswer, **BODY_ERRORS},
)
@admin_api
def add_suppression() -> ResponseReturnValue:
    """Put an address on the list."""
    parsed_query(NoParameters)
    asked = checked(NewSuppression, json_object())
    entry = entries.add(asked.address, Cause(asked.reason), days=asked.days, note=asked.note)
    return _told(entry), 201


@bp.get("/<int:entry_id>")
@Operation(
    summary="Get a suppressed address",
    tag=TAG,
    answers={200: SuppressionAnswer, 404: ErrorAnswer, 409: ErrorAnswer, **ERRORS},
)
@admin_api
def get_suppression(entry_id: int) -> Response:
    """One entry."""
    return _told(entries.get(entry_id))


@bp.delete("/<int:entry_id>")
@Operation(
    summary="Remove a suppressed address",
    description="Email is sent to it again.",
    tag=TAG,
    answers={200: DoneAnswer, 404: ErrorAnswer, 409: ErrorAnswer, **CHANGE_ERRORS},
)
@admin_api
def remove_suppression(entry_id: int) -> Response:
    """Take an entry off the list."""
    parsed_query(NoParameters)
    entries.remove(entry_id)
    return jsonify({"status": "success", "message": "Removed."})


def _told(entry: EntryData) -> Response:
    return jsonify({"status": "success", "data": json_of(EntryData, entry)})
