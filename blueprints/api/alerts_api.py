"""``/api/settings/alerts``: channels, rules, what fires now, and what was told."""

from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field, StringConstraints

from blueprints.access import admin_api, limiter
from blueprints.api.api_models import BODY_ERRORS, CHANGE_ERRORS, ERRORS, DoneAnswer, NoParameters
from blueprints.api.json_body import json_object
from blueprints.api.openapi import AnyAnswer, ErrorAnswer, Operation
from blueprints.api.query import parsed_query
from blueprints.limits import ALERT_TEST
from services.alerts import channels, rules, showing
from services.alerts.channels import ChannelInfo
from services.alerts.kinds import ChannelKind
from services.alerts.rules import RuleInForce, RuleName
from services.alerts.showing import AlertData, NoticeData
from services.settings.fields import Strict, Version, checked
from utils.json_shapes import json_of

bp = Blueprint("alerts_api", __name__, url_prefix="/api/settings/alerts")

TAG: Final = "Alerts"
_LONGEST: Final = 2048
_Text = Annotated[str, StringConstraints(max_length=_LONGEST)]


class ChannelFields(Strict):
    """What a channel needs depends on its kind. A secret you leave out stays as it is stored."""

    name: Annotated[str, StringConstraints(max_length=64), Field(description="Yours to choose.")] = ""
    url: Annotated[_Text, Field(description="Write-only. Of every kind but telegram and mail.")] = ""
    secret: Annotated[_Text, Field(description="Write-only. Of a webhook; one is made if you leave it out.")] = ""
    token: Annotated[_Text, Field(description="Write-only. Of ntfy, if the topic is protected, and of telegram.")] = ""
    chat: Annotated[str, StringConstraints(max_length=64), Field(description="Of telegram.")] = ""
    config_id: Annotated[int | None, Field(ge=1, description="Of mail: the server that it goes through.")] = None
    recipients: Annotated[_Text, Field(description="Of mail: up to 10 addresses, with commas between.")] = ""


class NewChannel(ChannelFields):
    """A channel to add."""

    kind: Annotated[ChannelKind, Field(description="Which kind of channel.")]


class ChangedChannel(ChannelFields):
    """Fields you leave out stay unchanged."""

    is_on: Annotated[bool | None, Field(description="Whether it is told anything.")] = None
    version: Version = 0


class ChannelData(BaseModel):
    """Nothing of it is secret; ``trouble`` says why its last message failed, or is empty."""

    id: int
    kind: ChannelKind
    name: str
    place: str
    is_on: bool
    version: int
    ok_at: str | None
    failed_at: str | None
    trouble: str


class RuleData(BaseModel):
    name: RuleName
    is_on: bool
    amount: int
    unit: str
    least: int | None


class RuleChange(Strict):
    """What is left out stays unchanged."""

    is_on: bool | None = None
    amount: int | None = None
    least: int | None = None


class RulesChange(Strict):
    """Rules by their names."""

    no_mail: RuleChange | None = None
    server: RuleChange | None = None
    waiting: RuleChange | None = None
    refusals: RuleChange | None = None
    endings: RuleChange | None = None
    worker: RuleChange | None = None
    storage: RuleChange | None = None


class AlertsData(BaseModel):
    """``is_watched``: a process checks the rules."""

    alerts: list[AlertData]
    channels: list[ChannelData]
    rules: list[RuleData]
    notices: list[NoticeData]
    is_watched: bool
    watched_at: str | None


class AlertsAnswer(AnyAnswer):
    data: AlertsData


class ChannelAnswer(AnyAnswer):
    """``secret`` is a signing secret that was made just now, and is never shown again."""

    data: ChannelData
    secret: str | None = None


class ChannelTestData(BaseModel):
    """``remedy`` says what to do; both are empty where the test was accepted."""

    trouble: str
    remedy: str


class ChannelTestAnswer(AnyAnswer):
    message: str
    data: ChannelTestData


class RulesAnswer(AnyAnswer):
    data: list[RuleData]


@bp.get("")
@Operation(
    summary="Show alerts, channels, rules and the last messages",
    tag=TAG,
    answers={200: AlertsAnswer, **ERRORS},
)
@admin_api
def show() -> Response:
    """How it all stands."""
    parsed_query(NoParameters)
    now = showing.now()
    data = AlertsData(
        alerts=now.alerts,
        channels=[_channel(each) for each in channels.every()],
        rules=[_rule(each) for each in rules.every()],
        notices=now.notices,
        is_watched=now.is_watched,
        watched_at=now.watched_at.isoformat() if now.watched_at else None,
    )
    return jsonify({"status": "success", "data": json_of(AlertsData, data)})


@bp.post("/channels")
@Operation(
    summary="Add a channel",
    description="A webhook is signed as Standard Webhooks describes. Redirects are not followed. http:// is only for "
    "private networks and this machine.",
    tag=TAG,
    body=NewChannel,
    example={"kind": "ntfy", "name": "Phone", "url": "https://ntfy.sh/my-topic"},
    answers={201: ChannelAnswer, **BODY_ERRORS},
)
@admin_api
def add_channel() -> ResponseReturnValue:
    """Store a new channel."""
    parsed_query(NoParameters)
    added, made = channels.save(_texts(checked(NewChannel, json_object())))
    secret = {"secret": made.reveal()} if made else {}
    return {"status": "success", "data": _channel(added).model_dump(mode="json"), **secret}, 201


@bp.patch("/channels/<int:channel_id>")
@Operation(
    summary="Change a channel",
    description="Fields you leave out stay unchanged. 409 if the version is not the stored one.",
    tag=TAG,
    body=ChangedChannel,
    example={"name": "On-call phone"},
    answers={200: ChannelAnswer, 404: ErrorAnswer, 409: ErrorAnswer, **BODY_ERRORS},
)
@admin_api
def change_channel(channel_id: int) -> Response:
    """Merge a change over one."""
    parsed_query(NoParameters)
    change = checked(ChangedChannel, json_object())
    known = channels.get(channel_id)
    version = change.version or None
    if change.model_fields_set - {"is_on", "version"}:
        known, _ = channels.save(_texts(change), channel_id=channel_id, version=version)
        version = None
    if change.is_on is not None:
        known = channels.switch(channel_id, is_on=change.is_on, version=version)
    return jsonify({"status": "success", "data": _channel(known).model_dump(mode="json")})


@bp.delete("/channels/<int:channel_id>")
@Operation(
    summary="Delete a channel",
    tag=TAG,
    answers={200: DoneAnswer, 404: ErrorAnswer, **CHANGE_ERRORS},
)
@admin_api
def delete_channel(channel_id: int) -> Response:
    """Forget one."""
    parsed_query(NoParameters)
    channels.delete(channel_id)
    return jsonify({"status": "success", "message": "Channel deleted"})


@bp.post("/channels/<int:channel_id>/test")
@Operation(
    summary="Send a test to a channel",
    description="The status is error where the test was not accepted; the data says why and what to do.",
    tag=TAG,
    answers={200: ChannelTestAnswer, 404: ErrorAnswer, **CHANGE_ERRORS},
)
@admin_api
@limiter.shared_limit(*ALERT_TEST)
def test_channel(channel_id: int) -> Response:
    """Send it now."""
    parsed_query(NoParameters)
    _, trouble = showing.test(channel_id)
    told = ChannelTestData(trouble=trouble.text if trouble else "", remedy=trouble.remedy if trouble else "")
    status, message = ("error", "The test was not accepted") if trouble else ("success", "The test was accepted")
    return jsonify({"status": status, "message": message, "data": told.model_dump()})


@bp.patch("/rules")
@Operation(
    summary="Change rules",
    description="By their names. Rules and values you leave out stay unchanged.",
    tag=TAG,
    body=RulesChange,
    example={"waiting": {"amount": 30}, "endings": {"is_on": False}},
    answers={200: RulesAnswer, **BODY_ERRORS},
)
@admin_api
def change_rules() -> Response:
    """Merge changes over the rules."""
    parsed_query(NoParameters)
    change = checked(RulesChange, json_object())
    raw: dict[str, dict[str, Any]] = change.model_dump(exclude_none=True)
    return jsonify({"status": "success", "data": [_rule(each).model_dump(mode="json") for each in rules.save(raw)]})


def _texts(given: ChannelFields) -> dict[str, str]:
    """What was given, as a form would send it."""
    values = {name: getattr(given, name) for name in given.model_fields_set if name not in ("is_on", "version")}
    return {name: str(value) for name, value in values.items() if value is not None}


def _channel(known: ChannelInfo) -> ChannelData:
    return ChannelData(
        id=known.id,
        kind=known.kind,
        name=known.name,
        place=known.place,
        is_on=known.is_on,
        version=known.version,
        ok_at=known.ok_at.isoformat() if known.ok_at else None,
        failed_at=known.failed_at.isoformat() if known.failed_at else None,
        trouble=known.trouble,
    )


def _rule(known: RuleInForce) -> RuleData:
    return RuleData(
        name=known.name, is_on=known.is_on, amount=known.amount, unit=known.facts.amount.unit, least=known.least
    )
