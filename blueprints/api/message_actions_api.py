"""``/api/messages/actions``: acting on many emails. Asking for it previews, and does nothing; starting it does it."""

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
    STALE_TOO,
    NoParameters,
    one_of,
)
from blueprints.api.json_body import json_object
from blueprints.api.openapi import AnyAnswer, ErrorAnswer, Operation
from blueprints.api.query import parsed_query
from services.outbox import many, searching
from services.outbox.many import MOST_CHOSEN, ManyData
from services.outbox.many_rules import ManyAction, correction
from services.outbox.searching import MailFilter
from services.settings.fields import Checked, Strict, checked
from utils.addresses import LONGEST_ADDRESS
from utils.errors import InvalidInput
from utils.json_shapes import json_of

bp = Blueprint("message_actions_api", __name__, url_prefix="/api/messages/actions")

TAG: Final = "Mail log"
_NAMES: Final = (
    "recipient", "message_id", "tag", "state", "server", "account_id", "since", "until", "cause",
)  # fmt: skip
_LONGEST: Final = 400  # characters of one part of a filter
_EITHER: Final = "Pass either ids or filter."


def _ids(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise PydanticCustomError("refused", "Pass a list of ids.")
    if not 0 < len(value) <= MOST_CHOSEN:
        raise PydanticCustomError("refused", f"Pass 1 to {MOST_CHOSEN} ids, or a filter.")
    return value


def _filter(value: object) -> MailFilter | None:
    """The filter, as it is in the address of a list; an empty one finds everything."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise PydanticCustomError("refused", "Pass an object with texts.")
    if not set(value) <= set(_NAMES):
        raise PydanticCustomError("refused", f"Pass only: {', '.join(_NAMES)}.")
    if any(len(each) > _LONGEST for each in value.values()):
        raise PydanticCustomError("refused", f"Use at most {_LONGEST} characters.")
    try:
        return searching.parse(value)
    except InvalidInput as refused:
        told = " ".join(f"{name}: {' '.join(texts)}" for name, texts in refused.errors.items())
        raise PydanticCustomError("refused", "{told}", {"told": told}) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_ADDRESS:
        raise PydanticCustomError("refused", f"Use at most {LONGEST_ADDRESS} characters.")
    return value


class NewManyMails(Strict):
    """What is to be done, and to which emails."""

    action: Annotated[
        str, one_of({each.value: each.value for each in ManyAction}, "string", "What to do.", enum=[*ManyAction])
    ]
    ids: Annotated[
        list[str] | None,
        Checked(_ids, "array", "The ids of emails.", items={"type": "string"}, minItems=1, maxItems=MOST_CHOSEN),
    ] = None
    filter: Annotated[
        MailFilter | None,
        Checked(
            _filter,
            "object",
            "All emails that this finds; state may name several, with commas. Empty: all.",
            properties={name: {"type": "string"} for name in _NAMES},
            additionalProperties=False,
        ),
    ] = None
    old_address: Annotated[
        str, Checked(_text, "string", "For correct: the wrong address or domain.", maxLength=LONGEST_ADDRESS)
    ] = Field(default="")
    new_address: Annotated[str, Checked(_text, "string", "For correct: the right one.", maxLength=LONGEST_ADDRESS)] = (
        Field(default="")
    )


class ManyAnswer(AnyAnswer):
    data: ManyData


@bp.post("")
@Operation(
    summary="Preview an action on many emails",
    description="Nothing is done yet: the answer tells how many emails it finds, and how many can be sent again "
    "(retry), cancelled (cancel) or sent to a corrected address (correct), and why the others cannot. Emails that are "
    "queued or change afterwards are left alone. While the stage is looking, get it again.",
    tag=TAG,
    body=NewManyMails,
    example={"action": "retry", "filter": {"state": "failed", "since": "2026-12-24T09:00", "cause": "no_recipient"}},
    answers={201: ManyAnswer, **BODY_ERRORS},
)
@admin_api
def propose() -> ResponseReturnValue:
    """Look at the emails, for a moment."""
    parsed_query(NoParameters)
    asked = checked(NewManyMails, json_object())
    if (asked.ids is None) == (asked.filter is None):
        raise InvalidInput({"ids": [_EITHER], "filter": [_EITHER]})
    action = ManyAction(asked.action)
    is_correction = action is ManyAction.CORRECT
    if not is_correction and (asked.old_address or asked.new_address):
        raise InvalidInput({"action": ["Only correct has addresses."]})
    wanted = correction(asked.old_address, asked.new_address) if is_correction else None
    deed_id = many.propose(action, asked.filter, asked.ids or (), wanted)
    return _told(many.go_on(deed_id)), 201


@bp.get("/<int:action_id>")
@Operation(
    summary="Get an action on many emails",
    description="How far it has come: looking, ready, running, done or stopped.",
    tag=TAG,
    answers={200: ManyAnswer, 404: ErrorAnswer, **ERRORS},
)
@admin_api
def show(action_id: int) -> Response:
    """How it stands."""
    return _told(many.show(action_id))


@bp.post("/<int:action_id>/start")
@Operation(
    summary="Start an action that was previewed",
    description="Small ones are done at once, workers do the rest. Starting one twice does nothing twice. "
    "409 while it is looking, and an hour after the preview.",
    tag=TAG,
    answers={200: ManyAnswer, **STALE_TOO, **CHANGE_ERRORS},
)
@admin_api
def start(action_id: int) -> Response:
    """Do what was previewed."""
    parsed_query(NoParameters)
    return _told(many.start(action_id))


@bp.post("/<int:action_id>/stop")
@Operation(
    summary="Stop an action on many emails",
    description="What was done stays done. One that was only previewed is over.",
    tag=TAG,
    answers={200: ManyAnswer, 404: ErrorAnswer, **CHANGE_ERRORS},
)
@admin_api
def stop(action_id: int) -> Response:
    """Do no more of it."""
    parsed_query(NoParameters)
    return _told(many.stop(action_id))


def _told(deed: ManyData) -> Response:
    return jsonify({"status": "success", "data": json_of(ManyData, deed)})
