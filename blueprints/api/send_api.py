"""``POST /api/messages/send-email``: one mail, or up to 500, from a program in any language."""

from typing import Annotated, Final, Literal

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from pydantic import Field, RootModel

from blueprints import access, limits
from blueprints.access import account_api
from blueprints.api.api_models import NoParameters
from blueprints.api.json_body import large_json_object
from blueprints.api.openapi import Operation
from blueprints.api.personal_models import PERSONAL_BODY_ERRORS, PersonalAnswer, PersonalError
from blueprints.api.query import parsed_query
from blueprints.large_body import reads_its_body
from services import tracing
from services.accounts.api_tokens import Scope
from services.outbox.facts import MailFacts, RecipientData, State
from services.personal import mail_fields, sending
from services.personal.mail_fields import ManyMails, OneMail
from services.personal.sending import SendingFor, TakenMail
from utils.json_shapes import json_of

bp = Blueprint("send_api", __name__, url_prefix="/api/messages")

TAG: Final = "Sending"
EXAMPLE: Final = {
    "to": "jane@example.com",
    "subject": "Your order 17",
    "text": "It is on its way.",
    "html": "<p>It is <b>on its way</b>.</p>",
    "replyTo": "shop@example.com",
    "tag": "order",
    "idempotencyKey": "order-17-shipped",
}
ANSWER: Final = {
    "success": True,
    "id": "8f14e45fceea167a5a36dedd4bea2543",
    "messageId": "<8f14e45fceea167a5a36dedd4bea2543@mail.example.com>",
    "state": "queued",
    "via": "global",
    "why": "You have no server of your own, so the global server sends it.",
}


class SendRequest(RootModel[OneMail | ManyMails]):
    """One email, or ``messages`` with a list of them."""


class SentData(PersonalAnswer):
    """One email that was taken. ``reason`` and ``recipients`` tell what came of it, once it was tried."""

    id: str
    message_id: str
    state: State
    via: Annotated[
        Literal["personal", "global"], Field(description="Which server sends it: your own or the global one.")
    ]
    why: str
    duplicate: Annotated[bool | None, Field(description="True: an earlier call with this key queued it.")] = None
    reason: str | None = None
    recipients: list[RecipientData] | None = None


class OneSent(SentData):
    """The answer to one email. ``success`` is false if it is settled and not everybody got it."""

    success: bool
    error: str | None = None


class ManySent(PersonalAnswer):
    """The answer to several, in the order of the call."""

    success: bool
    messages: list[SentData]


class SendAnswer(RootModel[OneSent | ManySent]):
    """As the call was."""


@bp.post("/send-email")
@Operation(
    summary="Send an email, or up to 500",
    description="The email is queued: it is tried until it is sent, refused for good, or 72 hours old. 202 returns "
    "its id and who will send it. With wait it is tried at once, and 200 returns the result; it is 202 "
    "if the email keeps waiting in the queue, or if that takes more than 20 seconds. Of several emails, "
    "in messages, all are accepted or none. The attachments of a call may have 25 MB together, its body "
    "40 MB. The same idempotencyKey with the same content gives the first email's id and duplicate; with "
    "other content it is 409. If too much of the account’s email waits, it is 429 and nothing is accepted. "
    "ADMIN_TOKEN sends as the system, through the global server. A traceparent header (W3C Trace Context) is kept with "
    "the email.",
    tag=TAG,
    body=SendRequest,
    example=EXAMPLE,
    answer=ANSWER,
    answers={200: OneSent, 202: SendAnswer, 409: PersonalError, **PERSONAL_BODY_ERRORS},
)
@account_api(Scope.SEND)
@limits.own_mail
@reads_its_body
def send_email() -> ResponseReturnValue:
    """Promise the mails of one call."""
    parsed_query(NoParameters)
    caller = access.caller()
    with large_json_object(access.caller_key()) as raw:
        asked = mail_fields.parse(raw)
        raw.clear()
        with tracing.within(request.headers.get(tracing.HEADER)):
            taken = sending.take(asked, SendingFor(account_id=caller.account_id, token_id=caller.token_id))
    if asked.is_batch:
        return {"success": True, "messages": [_told(each) for each in taken]}, 202
    (one,) = taken
    return {**_success(one), **_told(one)}, 200 if one.is_settled else 202


def _success(taken: TakenMail) -> dict[str, object]:
    """A settled mail is a success if every recipient was accepted, or nothing is to be sent here: as in send_email."""
    mail = taken.mail
    if mail is None or not taken.is_settled:
        return {"success": True}
    is_for_nobody = mail.state is State.SUPPRESSED and any(each.state == "suppressed" for each in mail.recipients)
    if mail.state is State.SUPPRESSED and not is_for_nobody:  # by MAIL_SUPPRESS_SEND
        return {"success": True}
    if all(each.state == "accepted" for each in mail.recipients):
        return {"success": True}
    return {"success": False, "error": mail.reason or "It was not sent."}


def _told(taken: TakenMail) -> dict[str, object]:
    told: dict[str, object] = {
        "id": taken.id,
        "messageId": taken.message_id,
        "state": taken.mail.state if taken.mail else State.QUEUED,
        "via": taken.who.via,
        "why": taken.who.why,
    }
    if taken.is_duplicate:
        told["duplicate"] = True
    if taken.mail:
        told |= _outcome(taken.mail)
    return told


def _outcome(mail: MailFacts) -> dict[str, object]:
    return {"reason": mail.reason, "recipients": [json_of(RecipientData, each) for each in mail.recipients]}
