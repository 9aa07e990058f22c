"""``/api/messages``: what became of each mail, and trying again or withdrawing it. Never content, never a subject.

Accounts see and do this with their own mail, administrators with all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify
from pydantic import Field

from blueprints import access, limits
from blueprints.access import account_api, admin_api
from blueprints.api.api_models import CHANGE_ERRORS, ERRORS, STALE_TOO, NoParameters, RefusedAnswer
from blueprints.api.openapi import AnyAnswer, ErrorAnswer, Operation
from blueprints.api.query import number_parameter, parsed_query
from services.accounts.api_tokens import Scope
from services.outbox import log as mail_log
from services.outbox import mail_filter, searching
from services.outbox.facts import AttemptData, AttemptFacts, ConversationLine, DirectData, MessageData, State
from services.outbox.log import Story
from services.outbox.mail_filter import LONGEST_TAG
from services.outbox.opens import OpensData
from services.outbox.reasons import Reason
from services.outbox.searching import MailFilter
from services.outbox.timeline import MailEventData
from services.settings.fields import Checked, Strict, refused
from utils.errors import NotFound
from utils.json_shapes import json_of
from utils.numbers import LARGEST

bp = Blueprint("messages_api", __name__, url_prefix="/api/messages")

TAG: Final = "Mail log"
_STATE: Final = {"type": "string", "enum": [*State]}


def _text(read: Callable[[str], Any], told: str, **schema: Any) -> Checked:  # noqa: ANN401 - what the document says
    """A parameter that is a text, as the filter reads it."""

    def parsed(text: str) -> Any:  # noqa: ANN401 - whatever the filter holds
        try:
            return read(text)
        except ValueError as error:
            raise refused(str(error)) from None

    return Checked(parsed, "string", told, **schema)


def _states(texts: list[str]) -> list[State]:
    try:
        return list(mail_filter.states(name for text in texts for name in text.split(",")))
    except ValueError as error:
        raise refused(str(error)) from None


_MOMENT: Final = "{} An ISO 8601 date, or date and time, in UTC unless it names its zone."


class MessageFilter(Strict):
    """Which part of the log to list."""

    before: Annotated[int | None, number_parameter(1, LARGEST, "The next value of the previous response.")] = None
    limit: Annotated[int, number_parameter(1, mail_log.MOST, "How many to return at most.")] = mail_log.PAGE
    recipient: Annotated[
        str,
        _text(mail_filter.recipient, "Filter by recipient (to, cc or bcc): a whole address, or a domain.", minLength=1),
    ] = ""
    message_id: Annotated[str, _text(mail_filter.message_id, "Filter by Message-ID.", minLength=1)] = ""
    tag: Annotated[str, _text(mail_filter.tag, "Filter by tag.", minLength=1, maxLength=LONGEST_TAG)] = ""
    state: Annotated[
        list[State],
        Checked(_states, "array", "Filter by state. Repeatable.", items=_STATE),
    ] = Field(default_factory=list)
    server: Annotated[
        str, _text(mail_filter.server, "Filter by the server tried last, as attempts name it.", minLength=1)
    ] = ""
    since: Annotated[datetime | None, _text(mail_filter.since, _MOMENT.format("Queued at this time or later."))] = None
    until: Annotated[datetime | None, _text(mail_filter.until, _MOMENT.format("Queued before this time."))] = None
    cause: Annotated[str, _text(mail_filter.cause, "Filter by the code of the reason.", enum=[*Reason])] = ""

    account_id: Annotated[int | None, number_parameter(1, LARGEST, "Filter by account.")] = None

    def wanted(self, account_id: int | None) -> MailFilter:
        """The same for the log, of one account or of all."""
        return MailFilter(
            recipient=self.recipient,
            message_id=self.message_id,
            tag=self.tag,
            states=tuple(self.state),
            server=self.server,
            account_id=account_id,
            since=self.since,
            until=self.until,
            cause=self.cause,
        )


@dataclass(frozen=True, kw_only=True)
class TriedData(AttemptData):
    """``conversation`` is what was said, null unless LOG_CONVERSATIONS had it kept; for administrators only."""

    conversation: list[ConversationLine] | None


@dataclass(frozen=True, kw_only=True)
class StoryData(MessageData):
    """``opens`` is null unless the mail was queued with track_opens. ``history`` is what happened beside attempts."""

    attempt_log: list[TriedData]
    history: list[MailEventData]
    opens: OpensData | None


@dataclass(frozen=True, kw_only=True)
class DirectStoryData(DirectData):
    """The same of a mail that was sent directly."""

    conversation: list[ConversationLine] | None


class MessagesAnswer(AnyAnswer):
    """``next`` is what to give as before for the older ones."""

    data: list[MessageData]
    next: int | None


class DirectAnswer(AnyAnswer):
    """``next`` is what to give as before for the older ones."""

    data: list[DirectData]
    next: int | None


class StoryAnswer(AnyAnswer):
    data: StoryData


class DirectStoryAnswer(AnyAnswer):
    """``data`` has each server that was tried for the email, in order."""

    data: list[DirectStoryData]


@bp.get("")
@Operation(
    summary="List queued email",
    description="Queued emails, newest first, and what happened to them. An account sees its own emails. ADMIN_TOKEN "
    "and tokens with the scope admin see all.",
    tag=TAG,
    query=MessageFilter,
    answers={200: MessagesAnswer, 422: RefusedAnswer, **ERRORS},
)
@account_api(Scope.READ)
def list_messages() -> Response:
    """A page of the mails in the outbox."""
    wanted, only = parsed_query(MessageFilter), _only_account()
    if only is not None and wanted.account_id not in (None, only):
        raise NotFound("No such account.")
    mails, older = searching.find(wanted.wanted(only or wanted.account_id), wanted.before, wanted.limit)
    return jsonify({"status": "success", "data": [json_of(MessageData, mail) for mail in mails], "next": older})


@bp.get("/direct")
@Operation(
    summary="List email sent directly",
    description="What send_email sent: one entry per server that was tried, newest first. Of the states, sent means "
    "accepted, uncertain not confirmed; failed is any other failure. Times are those of the attempt.",
    tag=TAG,
    query=MessageFilter,
    answers={200: DirectAnswer, 422: RefusedAnswer, **ERRORS},
)
@admin_api
def list_direct() -> Response:
    """A page of the attempts that belong to no queued mail."""
    wanted = parsed_query(MessageFilter)
    attempts, older = searching.direct(wanted.wanted(wanted.account_id), wanted.before, wanted.limit)
    return jsonify({"status": "success", "data": [json_of(DirectData, each) for each in attempts], "next": older})


@bp.get("/direct/<int:attempt_id>")
@Operation(
    summary="Get an email sent directly and its attempts",
    description="With each server that was tried for it, and what was said there, if LOG_CONVERSATIONS had that kept.",
    tag=TAG,
    answers={200: DirectStoryAnswer, 404: ErrorAnswer, **ERRORS},
)
@admin_api
def get_direct(attempt_id: int) -> Response:
    """All that is known of one mail that was sent directly."""
    found = mail_log.direct_attempts(attempt_id)
    return jsonify({"status": "success", "data": [_with_conversation(DirectData, each) for each in found]})


@bp.get("/<mail_id>")
@Operation(
    summary="Get a queued email and its attempts",
    description="Only administrators see servers’ replies, what was said, who did what, and where the global server "
    "is.",
    tag=TAG,
    answers={200: StoryAnswer, 404: ErrorAnswer, **ERRORS},
)
@account_api(Scope.READ)
def get_message(mail_id: str) -> Response:
    """All that is known of one mail."""
    return _told(mail_log.story(mail_id, _only_account()))


@bp.post("/<mail_id>/retry")
@Operation(
    summary="Send a waiting email now, release a held one, or send a failed one again",
    description="A held email is released, to be sent when it is due; it expires if it is too late for that. "
    "Recipients who already have it do not get it twice. 409 once it was sent or its content was deleted.",
    tag=TAG,
    answers={200: StoryAnswer, **STALE_TOO, **CHANGE_ERRORS},
)
@account_api(Scope.SEND)
@limits.own_mail
def retry_message(mail_id: str) -> Response:
    """Have a worker take it up at once."""
    parsed_query(NoParameters)
    return _told(mail_log.retry(mail_id, _only_account()))


@bp.post("/<mail_id>/cancel")
@Operation(
    summary="Cancel a waiting or held email",
    description="Its content is deleted. 409 once a worker is sending it.",
    tag=TAG,
    answers={200: StoryAnswer, **STALE_TOO, **CHANGE_ERRORS},
)
@account_api(Scope.SEND)
@limits.own_mail
def cancel_message(mail_id: str) -> Response:
    """Make sure that it is never sent."""
    parsed_query(NoParameters)
    return _told(mail_log.cancel(mail_id, _only_account()))


def _only_account() -> int | None:
    """Whose mails alone the caller may see; None for those who see all."""
    caller = access.caller()
    return None if caller.is_admin else caller.account_id


def _told(story: Story) -> Response:
    log = [_with_conversation(AttemptData, attempt) for attempt in story.attempts]
    opened = json_of(OpensData, story.opens) if story.opens else None
    events = [json_of(MailEventData, each) for each in story.history]
    data = {**json_of(MessageData, story.mail), "attempt_log": log, "history": events, "opens": opened}
    return jsonify({"status": "success", "data": data})


def _with_conversation(shape: type[AttemptData], attempt: AttemptFacts) -> dict[str, Any]:
    said = attempt.conversation
    lines = None if said is None else [json_of(ConversationLine, line) for line in said]
    return {**json_of(shape, attempt), "conversation": lines}
