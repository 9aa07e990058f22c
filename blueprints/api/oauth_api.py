"""``/api/settings/smtp/configs/<id>/oauth``: what is registered at a provider, and connecting without our pages.

A sign-in that is begun here is ended here, by the same token or session: the browser ends at an address of localhost
where nothing listens, and that address is sent back.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify, make_response
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from blueprints import connecting, smtp_tests
from blueprints.access import actor_name, admin_api, require_recent_sign_in
from blueprints.api.api_models import (
    BODY_ERRORS,
    CHANGE_ERRORS,
    ERRORS,
    Answers,
    DoneAnswer,
    NoParameters,
    RefusedAnswer,
    TestAnswer,
)
from blueprints.api.json_body import json_object, json_object_or_none
from blueprints.api.openapi import AnyAnswer, ErrorAnswer, Operation
from blueprints.api.query import parsed_query
from services.checks import connection_test, validation
from services.checks.connection_test import TestResult
from services.connecting import advice, moving, pending, registering, showing, tokens
from services.connecting.advice import ConnectAdvice
from services.connecting.fields import RegistrationChange
from services.connecting.redirect_rules import LOCALHOST_URI
from services.connecting.refusals import ConnectRefused
from services.connecting.showing import ConnectionData
from services.connecting.steps import ConnectCheck
from services.connecting.tokens import NewConnection
from services.oauth import keeping
from services.oauth.answers import StillWaiting
from services.oauth.failures import TokenFailure
from services.settings import configs, route
from services.settings.fields import Strict, checked, texts
from services.settings.sealing import StoredConfig
from utils.json_shapes import Moment, json_of

bp = Blueprint("oauth_api", __name__, url_prefix="/api/settings/smtp/configs/<int:config_id>/oauth")

TAG: Final = "Connecting by OAuth"
LONGEST_ADDRESS: Final = 8192  # characters of an address with a provider's answer
EXAMPLE: Final = {
    "provider": "microsoft",
    "way": "client_credentials",
    "tenant": "example.com",
    "client_id": "01234567-89ab-cdef-0123-456789abcdef",
    "client_secret": "the value, not the ID",
    "secret_ends_on": "2028-05-31",
}


class PastedAddress(Strict):
    """Where the browser came to its end."""

    address: Annotated[
        str,
        texts(
            str.strip,
            LONGEST_ADDRESS,
            "The whole address from the browser’s address bar, with code and state.",
            examples=["http://localhost:47925/oauth/callback?code=…&state=…"],
        ),
    ] = Field(default="")


class ConnectionAnswer(AnyAnswer):
    data: ConnectionData


class MadeData(BaseModel):
    """A connection that was just made, or a code that was not typed yet."""

    state: Annotated[str, Field(description="connected, or waiting: look again after so many seconds.")]
    interval: int = 0
    caution: Annotated[str, Field(description="What to know about the connection; or empty.")] = ""
    connection: ConnectionData


class MadeAnswer(AnyAnswer):
    data: MadeData


class LinkData(BaseModel):
    """Where to sign in, within ten minutes."""

    url: Annotated[str, Field(description="Open it in any browser.")]
    redirect_uri: Annotated[str, Field(description="Where the browser ends. Register it at the provider.")]


class LinkAnswer(AnyAnswer):
    data: LinkData


class CodeData(BaseModel):
    """A code to type at the provider."""

    user_code: str
    verification_url: str
    ends_at: Moment
    interval: Annotated[int, Field(description="Seconds between two looks at whether it was typed.")]


class CodeAnswer(AnyAnswer):
    data: CodeData


class AdviceOfConnection(BaseModel):
    """Why it is not connected, and what to do. ``error``, ``code`` and ``kind`` are from closed lists."""

    title: str
    meaning: str
    cause: str
    remedy: str
    check: ConnectCheck
    error: str
    code: str
    kind: str
    docs_url: str


class NotConnectedAnswer(AnyAnswer):
    """Refused fields (``errors``), or a connection that was not made (``data``)."""

    message: str
    errors: dict[str, list[str]] | None = None
    data: AdviceOfConnection | None = None


_OWN: Final[Answers] = {404: ErrorAnswer, 422: NotConnectedAnswer, 503: ErrorAnswer}


@bp.get("")
@Operation(
    summary="Get how a configuration is connected",
    description="What is registered at the provider, without secrets, and whether someone must connect again.",
    tag=TAG,
    answers={200: ConnectionAnswer, 404: ErrorAnswer, **ERRORS},
)
@admin_api
def get_connection(config_id: int) -> Response:
    """The connection without its secrets."""
    return _shown(configs.get(config_id))


@bp.put("")
@Operation(
    summary="Register an application for a configuration",
    description="Fields you leave out stay unchanged. A stored secret is kept only for the same application and the "
    "same addresses. What was granted to another application is deleted. A session must be younger than ten minutes; "
    "tokens are not asked.",
    tag=TAG,
    body=RegistrationChange,
    example=EXAMPLE,
    answers={200: ConnectionAnswer, 404: ErrorAnswer, **BODY_ERRORS},
)
@admin_api
def register(config_id: int) -> Response:
    """Merge a change over what is registered."""
    parsed_query(NoParameters)
    stored = configs.get(config_id)
    change = checked(RegistrationChange, json_object())
    require_recent_sign_in()
    known = keeping.find(config_id)
    usable = known.registration if known and known.is_usable else None
    tokens.register(config_id, registering.registration_after(usable, change, stored.row.smtp_server))
    return _shown(configs.get(config_id))


@bp.delete("")
@Operation(
    summary="Disconnect a configuration",
    description="Deletes its tokens and what is registered, and asks the provider to end the sign-in where it can be "
    "asked. A stored password serves on.",
    tag=TAG,
    answers={200: DoneAnswer, 404: ErrorAnswer, **CHANGE_ERRORS},
)
@admin_api
def disconnect(config_id: int) -> Response:
    """End the connection."""
    configs.get(config_id)
    ended = moving.disconnect(config_id, actor=actor_name())
    where = f" To end the sign-in there as well, go to {ended.taken_back_at}." if ended.taken_back_at else ""
    return jsonify({"status": "success", "message": f"Disconnected.{where}"})


@bp.post("/authorize")
@Operation(
    summary="Get the address at which to sign in",
    description="For the way code. Open it in a browser. After the sign-in the browser cannot open the page that it is "
    "sent to: send its address to finish, with the same token, within ten minutes.",
    tag=TAG,
    answers={200: LinkAnswer, **ERRORS, **_OWN},
)
@admin_api
def authorize(config_id: int) -> ResponseReturnValue:
    """Begin a sign-in."""
    stored = _wanted(config_id)
    return _answered(stored, lambda: link(config_id))


@bp.post("/finish")
@Operation(
    summary="Finish a sign-in with the address at which the browser ended",
    tag=TAG,
    body=PastedAddress,
    example={"address": "http://localhost:47925/oauth/callback?code=…&state=…"},
    answers={200: MadeAnswer, **BODY_ERRORS, **_OWN},
)
@admin_api
@smtp_tests.limited
def finish(config_id: int) -> ResponseReturnValue:
    """End a sign-in."""
    stored = configs.get(config_id)
    address = checked(PastedAddress, json_object()).address
    return _answered(stored, lambda: made(stored, pending.paste(config_id, address, connecting.beginner())))


@bp.post("/device")
@Operation(
    summary="Get a code to type at the provider",
    description="For the way device. Then poll, with the same token, until it is connected.",
    tag=TAG,
    answers={200: CodeAnswer, **ERRORS, **_OWN},
)
@admin_api
@smtp_tests.limited
def device(config_id: int) -> ResponseReturnValue:
    """Begin a sign-in with a code."""
    stored = _wanted(config_id)
    return _answered(stored, lambda: code(config_id))


@bp.post("/poll")
@Operation(
    summary="Look whether the code was typed",
    description="The provider is asked no oftener than it wants, however often you ask.",
    tag=TAG,
    answers={200: MadeAnswer, **ERRORS, **_OWN},
)
@admin_api
def poll(config_id: int) -> ResponseReturnValue:
    """Look once."""
    stored = configs.get(config_id)
    return _answered(stored, lambda: made(stored, pending.poll_device(config_id, connecting.beginner())))


@bp.post("/obtain")
@Operation(
    summary="Have the application sign in by itself",
    description="For the ways client_credentials and service_account, for which no one signs in.",
    tag=TAG,
    answers={200: MadeAnswer, **ERRORS, **_OWN},
)
@admin_api
@smtp_tests.limited
def obtain(config_id: int) -> ResponseReturnValue:
    """Get the first token."""
    stored = _wanted(config_id)
    return _answered(stored, lambda: made(stored, tokens.obtain(config_id, actor_name())))


@bp.post("/check")
@Operation(
    summary="Test the sign-in by token, and use it",
    description="Tests the configuration as it is with its token. If that passes, the token is used from then on and "
    "the stored password is deleted. Request application/x-ndjson to get each step as it happens.",
    tag=TAG,
    streams=True,
    answers={200: TestAnswer, 404: ErrorAnswer, 409: ErrorAnswer, **ERRORS, 422: RefusedAnswer, 503: ErrorAnswer},
)
@admin_api
@smtp_tests.limited
def check(config_id: int) -> ResponseReturnValue:
    """Test, and let it serve."""
    stored, actor = configs.get(config_id), actor_name()
    settings = moving.settings_by_token(stored)
    prepared = connection_test.plan(settings, rcpt=validation.first_administrator(), server=route.step_of(stored))

    def told(result: TestResult) -> dict[str, Any]:
        connecting.switched_over(stored, settings, result, actor)
        data = smtp_tests.course(result) | smtp_tests.failure(result)
        return {"status": "success" if result.ok else "error", "message": result.headline, "data": data}

    if smtp_tests.wants_stream():
        return smtp_tests.streamed(prepared, config_id, told)
    result = smtp_tests.run_and_note(prepared, config_id)
    return told(result), 200 if result.ok else 422


def _wanted(config_id: int) -> StoredConfig:
    """The configuration, for who may have someone sign in for it."""
    stored = configs.get(config_id)
    json_object_or_none()
    require_recent_sign_in()
    return stored


def _shown(stored: StoredConfig) -> Response:
    return jsonify({"status": "success", "data": json_of(ConnectionData, showing.connection_of(stored))})


def link(config_id: int) -> dict[str, Any]:
    """Where to sign in."""
    url = pending.begin_redirect(config_id, connecting.beginner(), LOCALHOST_URI)
    return {"url": url, "redirect_uri": LOCALHOST_URI}


def code(config_id: int) -> dict[str, Any]:
    """What to type at the provider."""
    shown = pending.begin_device(config_id, connecting.beginner())
    return {
        "user_code": shown.user_code,
        "verification_url": shown.verification_url,
        "ends_at": shown.ends_at.isoformat(),
        "interval": shown.interval,
    }


def made(stored: StoredConfig, found: NewConnection | StillWaiting) -> dict[str, Any]:
    """What has come of a sign-in."""
    connection = json_of(ConnectionData, showing.connection_of(stored))
    if isinstance(found, StillWaiting):
        return {"state": "waiting", "interval": found.interval, "caution": "", "connection": connection}
    return {"state": "connected", "interval": 0, "caution": found.caution, "connection": connection}


def _answered(stored: StoredConfig, work: Callable[[], dict[str, Any]]) -> ResponseReturnValue:
    try:
        answer = make_response({"status": "success", "data": work()})
    except (TokenFailure, ConnectRefused) as failure:
        told = advice.of_failure(failure, stored.settings)
        return {"status": "error", "message": told.sentences, "data": advice_data(told)}, 422
    answer.headers["Cache-Control"] = "no-store"
    return answer


def advice_data(told: ConnectAdvice) -> dict[str, Any]:
    """Why it is not connected, as both APIs tell it."""
    return {name: getattr(told, name) for name in AdviceOfConnection.model_fields}
