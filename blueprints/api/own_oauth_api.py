"""``/api/smtp/oauth``: an account connects its own mail server by token, by the calls of the administration API."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from flask import Blueprint, make_response
from flask.typing import ResponseReturnValue
from pydantic import Field

from blueprints import connecting, smtp_tests
from blueprints.access import account_api, actor_name, calling_account, require_recent_sign_in
from blueprints.api import oauth_api
from blueprints.api.api_models import NoParameters
from blueprints.api.json_body import json_object, json_object_or_none
from blueprints.api.oauth_api import AdviceOfConnection, CodeData, LinkData, MadeData, PastedAddress
from blueprints.api.openapi import Operation
from blueprints.api.personal_models import (
    OWN_SERVER_TAG,
    PERSONAL_BODY_ERRORS,
    PERSONAL_ERRORS,
    PersonalAnswer,
    PersonalAnswers,
    PersonalError,
    StepFacts,
)
from blueprints.api.query import parsed_query
from services.accounts.api_tokens import Scope
from services.checks import connection_test
from services.checks.connection_test import TestResult
from services.connecting import advice, moving, pending, registering, showing, tokens
from services.connecting.fields import RegistrationChange
from services.connecting.refusals import ConnectRefused
from services.connecting.showing import ConnectionData
from services.oauth import keeping
from services.oauth.failures import TokenFailure
from services.personal import own_server
from services.settings import route
from services.settings.fields import checked
from services.settings.sealing import StoredConfig
from utils.errors import NotFound
from utils.json_shapes import json_of

bp = Blueprint("own_oauth_api", __name__, url_prefix="/api/smtp/oauth")

NONE_YET: Final = "You have no mail server of your own. Set one up first."


class _Done(PersonalAnswer):
    success: bool = True


class OwnConnectionAnswer(_Done):
    data: ConnectionData


class OwnMadeAnswer(_Done):
    data: MadeData


class OwnLinkAnswer(_Done):
    data: LinkData


class OwnCodeAnswer(_Done):
    data: CodeData


class OwnDisconnectedAnswer(_Done):
    message: str


class OwnCheckedAnswer(_Done):
    message: str
    steps: list[StepFacts]


class OwnNotConnected(PersonalError):
    """Refused fields (``errors``), or a connection that was not made (``data``), or did not pass (``steps``)."""

    data: AdviceOfConnection | None = None
    steps: Annotated[list[StepFacts] | None, Field(description="Of a test that failed.")] = None


_ERRORS: Final[PersonalAnswers] = {**PERSONAL_ERRORS, 404: PersonalError, 422: OwnNotConnected, 503: PersonalError}
_BODY_ERRORS: Final[PersonalAnswers] = {**PERSONAL_BODY_ERRORS, 404: PersonalError, 422: OwnNotConnected}


@bp.get("")
@Operation(
    summary="Get how your own mail server is connected",
    tag=OWN_SERVER_TAG,
    answers={200: OwnConnectionAnswer, 404: PersonalError, **PERSONAL_ERRORS},
)
@account_api(Scope.SETTINGS)
def get_connection() -> ResponseReturnValue:
    """The connection without its secrets."""
    return _shown(_own())


@bp.put("")
@Operation(
    summary="Register an application for your own mail server",
    description="Fields you leave out stay unchanged. A stored secret is kept only for the same application and the "
    "same addresses.",
    tag=OWN_SERVER_TAG,
    body=RegistrationChange,
    example=oauth_api.EXAMPLE,
    answers={200: OwnConnectionAnswer, **_BODY_ERRORS},
)
@account_api(Scope.SETTINGS)
@smtp_tests.own_saves_limited
def register() -> ResponseReturnValue:
    """Merge a change over what is registered."""
    parsed_query(NoParameters)
    stored = _allowed(is_recent=False)
    change = checked(RegistrationChange, json_object())
    require_recent_sign_in()
    known = keeping.find(stored.row.id)
    usable = known.registration if known and known.is_usable else None
    tokens.register(stored.row.id, registering.registration_after(usable, change, stored.row.smtp_server))
    return _shown(stored)


@bp.delete("")
@Operation(
    summary="Disconnect your own mail server",
    description="Deletes its tokens and what is registered, and asks the provider to end the sign-in where it can be "
    "asked. A stored password serves on.",
    tag=OWN_SERVER_TAG,
    answers={200: OwnDisconnectedAnswer, 404: PersonalError, 422: PersonalError, **PERSONAL_ERRORS},
)
@account_api(Scope.SETTINGS)
def disconnect() -> ResponseReturnValue:
    """End the connection, also of a server that may not be used any more."""
    parsed_query(NoParameters)
    ended = moving.disconnect(_own().row.id, actor=actor_name())
    where = f" To end the sign-in there as well, go to {ended.taken_back_at}." if ended.taken_back_at else ""
    return {"success": True, "message": f"Disconnected.{where}"}


@bp.post("/authorize")
@Operation(
    summary="Get the address at which to sign in for your own mail server",
    description="For the way code, as of the administration API: the browser ends at an address that you send to "
    "finish, with the same token, within ten minutes.",
    tag=OWN_SERVER_TAG,
    answers={200: OwnLinkAnswer, **_ERRORS},
)
@account_api(Scope.SETTINGS)
def authorize() -> ResponseReturnValue:
    """Begin a sign-in."""
    stored = _allowed()
    return _answered(stored, lambda: oauth_api.link(stored.row.id))


@bp.post("/finish")
@Operation(
    summary="Finish a sign-in for your own mail server",
    tag=OWN_SERVER_TAG,
    body=PastedAddress,
    example={"address": "http://localhost:47925/oauth/callback?code=…&state=…"},
    answers={200: OwnMadeAnswer, **_BODY_ERRORS},
)
@account_api(Scope.SETTINGS)
@smtp_tests.own_limited
def finish() -> ResponseReturnValue:
    """End a sign-in."""
    stored = _allowed(is_recent=False)
    address = checked(PastedAddress, json_object()).address
    return _made(stored, lambda: pending.paste(stored.row.id, address, connecting.beginner()))


@bp.post("/device")
@Operation(
    summary="Get a code to type at the provider of your own mail server",
    tag=OWN_SERVER_TAG,
    answers={200: OwnCodeAnswer, **_ERRORS},
)
@account_api(Scope.SETTINGS)
@smtp_tests.own_limited
def device() -> ResponseReturnValue:
    """Begin a sign-in with a code."""
    stored = _allowed()
    return _answered(stored, lambda: oauth_api.code(stored.row.id))


@bp.post("/poll")
@Operation(
    summary="Look whether the code for your own mail server was typed",
    tag=OWN_SERVER_TAG,
    answers={200: OwnMadeAnswer, **_ERRORS},
)
@account_api(Scope.SETTINGS)
def poll() -> ResponseReturnValue:
    """Look once."""
    stored = _allowed(is_recent=False)
    return _made(stored, lambda: pending.poll_device(stored.row.id, connecting.beginner()))


@bp.post("/obtain")
@Operation(
    summary="Have the application sign in to your own mail server",
    tag=OWN_SERVER_TAG,
    answers={200: OwnMadeAnswer, **_ERRORS},
)
@account_api(Scope.SETTINGS)
@smtp_tests.own_limited
def obtain() -> ResponseReturnValue:
    """Get the first token."""
    stored = _allowed()
    return _made(stored, lambda: tokens.obtain(stored.row.id, actor_name()))


@bp.post("/check")
@Operation(
    summary="Test your own mail server’s sign-in by token, and use it",
    description="If the test passes, the token is used from then on and the stored password is deleted.",
    tag=OWN_SERVER_TAG,
    answers={200: OwnCheckedAnswer, **_ERRORS},
)
@account_api(Scope.SETTINGS)
@smtp_tests.own_limited
def check() -> ResponseReturnValue:
    """Test, and let it serve."""
    stored = _allowed(is_recent=False)
    settings = moving.settings_by_token(stored)
    prepared = connection_test.plan(settings, rcpt=settings.from_email, server=route.step_of(stored))
    result = smtp_tests.run_and_note(prepared, stored.row.id)
    connecting.switched_over(stored, settings, result, actor_name())
    return _told(result, is_discreet=settings.is_personal)


def _own() -> StoredConfig:
    """The account's own server. Raises NotFound."""
    stored = own_server.find(calling_account())
    if stored is None:
        raise NotFound(NONE_YET)
    return stored


def _allowed(*, is_recent: bool = True) -> StoredConfig:
    """The same, if the account may connect it. Raises NotFound, InvalidInput, Forbidden."""
    stored = _own()
    own_server.check_connecting(calling_account(), stored)
    if is_recent:
        json_object_or_none()
        require_recent_sign_in()
    return stored


def _shown(stored: StoredConfig) -> ResponseReturnValue:
    return {"success": True, "data": json_of(ConnectionData, showing.connection_of(stored))}


def _made(stored: StoredConfig, work: Callable[[], Any]) -> ResponseReturnValue:
    return _answered(stored, lambda: oauth_api.made(stored, work()))


def _answered(stored: StoredConfig, work: Callable[[], dict[str, Any]]) -> ResponseReturnValue:
    try:
        answer = make_response({"success": True, "data": work()})
    except (TokenFailure, ConnectRefused) as failure:
        told = advice.of_failure(failure, stored.settings)
        return {"success": False, "error": told.sentences, "data": oauth_api.advice_data(told)}, 422
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _told(result: TestResult, *, is_discreet: bool) -> ResponseReturnValue:
    steps = [smtp_tests.step_dict(step, is_discreet=is_discreet) for step in result.steps]
    if result.ok:
        return {"success": True, "message": result.headline, "steps": steps}
    return {"success": False, "error": f"{result.message}. {result.remedy}".strip(), "steps": steps}, 422
