"""``/api/smtp/senders``: the addresses that an account may send from, each confirmed by a link that is mailed there."""

from typing import Final

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from blueprints.access import account_api, calling_account
from blueprints.api.api_models import NoParameters
from blueprints.api.json_body import json_object
from blueprints.api.openapi import Operation
from blueprints.api.personal_models import (
    OWN_SERVER_TAG,
    PERSONAL_BODY_ERRORS,
    PERSONAL_ERRORS,
    PersonalAnswer,
    PersonalError,
)
from blueprints.api.query import parsed_query
from services.accounts.api_tokens import Scope
from services.personal import senders
from services.personal.senders import SenderInfo
from services.settings.fields import FromEmail, Strict, checked

bp = Blueprint("senders_api", __name__, url_prefix="/api/smtp/senders")

_MAILED: Final = "A link was sent to this address. Follow it to confirm."
_CONFIRMED: Final = "This sender is already confirmed."


class NewSender(Strict):
    """The address to send from."""

    email: FromEmail = Field(default="", validate_default=True)  # so that one that is absent is refused in our words


class SenderData(PersonalAnswer):
    """``linkExpiresAt`` is null once it is confirmed, or its link is void since the account was changed."""

    id: int
    email: str
    is_confirmed: bool
    confirmed_at: str | None
    link_expires_at: str | None
    created_at: str


class SendersAnswer(PersonalAnswer):
    senders: list[SenderData]


class SenderAnswer(PersonalAnswer):
    message: str
    sender: SenderData


class RemovedAnswer(PersonalAnswer):
    message: str


@bp.get("")
@Operation(
    summary="List the addresses that you may send from",
    description="Those that you added, confirmed or not. Your account's own address and the user name of your server, "
    "if it is an address, can be used without being listed.",
    tag=OWN_SERVER_TAG,
    answers={200: SendersAnswer, **PERSONAL_ERRORS},
)
@account_api(Scope.SETTINGS)
def list_senders() -> Response:
    """One's senders."""
    parsed_query(NoParameters)
    return jsonify({"senders": [_shown(sender) for sender in senders.every(calling_account())]})


@bp.post("")
@Operation(
    summary="Add an address that you want to send from",
    description="The address gets an email with a link to confirm. Adding it again sends another link, and the "
    "previous one stops working. A link works for 24 hours. At most ten links an hour are sent for an "
    "account, and three to an address. 200 if the address is already confirmed.",
    tag=OWN_SERVER_TAG,
    body=NewSender,
    example={"email": "sales@example.com"},
    answers={200: SenderAnswer, 201: SenderAnswer, 409: PersonalError, **PERSONAL_BODY_ERRORS},
)
@account_api(Scope.SETTINGS)
def add_sender() -> ResponseReturnValue:
    """Ask at the address whether it is one's own."""
    parsed_query(NoParameters)
    account_id = calling_account()
    sender = senders.add(account_id, checked(NewSender, json_object()).email)
    message, status = (_CONFIRMED, 200) if sender.is_confirmed else (_MAILED, 201)
    return {"message": message, "sender": _shown(sender)}, status


@bp.delete("/<int:sender_id>")
@Operation(
    summary="Remove a sender",
    description="409 while your own server sends from it: choose another From address there first.",
    tag=OWN_SERVER_TAG,
    answers={200: RemovedAnswer, 404: PersonalError, 409: PersonalError, **PERSONAL_BODY_ERRORS},
)
@account_api(Scope.SETTINGS)
def remove_sender(sender_id: int) -> Response:
    """Forget it; a link that was mailed for it is void."""
    parsed_query(NoParameters)
    senders.remove(calling_account(), sender_id)
    return jsonify({"message": "Sender removed."})


def _shown(sender: SenderInfo) -> dict[str, object]:
    data = SenderData(
        id=sender.id,
        email=sender.email,
        is_confirmed=sender.is_confirmed,
        confirmed_at=sender.confirmed_at.isoformat() if sender.confirmed_at else None,
        link_expires_at=sender.expires_at.isoformat() if sender.expires_at and sender.has_link else None,
        created_at=sender.created_at.isoformat(),
    )
    return data.model_dump(by_alias=True)
