"""What the API for accounts takes and answers: ``/api/smtp/*`` and sending; its errors have a shape of their own."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from blueprints.api.api_models import StepData, one_of
from services.personal.own_server import OwnStatus
from services.settings.fields import (
    LONGEST_LINE,
    LONGEST_PASSWORD,
    FromEmail,
    FromName,
    Password,
    Port,
    ReplyTo,
    Server,
    SmtpChange,
    Strict,
    Username,
    UseSsl,
    Version,
)
from utils.secret import Secret

YES_OR_NO: Final = {"true": True, "false": False}
OWN_SERVER_TAG: Final = "Your own mail server"
NO_USER: Final = "Enter the user name that you sign in with at the server."
NO_PASSWORD: Final = "Enter the password, or leave it out to keep the stored one."  # noqa: S105 - it says that it is none
# What a server's field is called here; `secure` stands for both of its modes.
NAMES: Final = {
    "smtp_server": "host",
    "smtp_port": "port",
    "use_tls": "secure",
    "use_ssl": "secure",
    "smtp_username": "user",
    "smtp_password": "pass",
    "from_email": "fromEmail",
    "from_name": "fromName",
    "reply_to": "replyTo",
}


_OURS: Final = {"host": "smtp_server", "port": "smtp_port", "user": "smtp_username", "password": "smtp_password"}


class PersonalAnswer(BaseModel):
    """Names are as JavaScript writes them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class PersonalError(PersonalAnswer):
    """Every error. ``errors`` stands there where fields were refused."""

    success: bool
    error: str
    errors: dict[str, list[str]] | None = None


PersonalAnswers = dict[int, type[BaseModel]]
PERSONAL_ERRORS: Final[PersonalAnswers] = dict.fromkeys((401, 403, 429), PersonalError)
PERSONAL_BODY_ERRORS: Final[PersonalAnswers] = {
    **PERSONAL_ERRORS,
    **dict.fromkeys((400, 413, 415, 422, 503), PersonalError),
}


def _user(text: str) -> str:
    if not text:
        raise PydanticCustomError("refused", NO_USER)
    return text


def _password(secret: Secret) -> Secret:
    if not secret:
        raise PydanticCustomError("refused", NO_PASSWORD)
    return secret


def _shape(kind: str, description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "description": description, **more})


_Secure = Annotated[
    UseSsl, _shape("boolean", "True: TLS from the start. False: STARTTLS, required. Left out: true for port 465.")
]
_User = Annotated[
    Username,
    AfterValidator(_user),
    _shape("string", "What you sign in with at the server; often your address.", maxLength=LONGEST_LINE, minLength=1),
]
_Pass = Annotated[
    Password,
    AfterValidator(_password),
    _shape(
        "string",
        "Write-only. It may be left out only while one is stored for the same host, port, user and mode.",
        maxLength=LONGEST_PASSWORD,
        minLength=1,
        writeOnly=True,
    ),
]


class OwnServerFields(Strict):
    """A mail server of an account's own.

    Host, port, secure and the user name that is the account's address may be left out where an administrator has fixed
    the server for their domain.
    """

    host: Server = Field(default="")
    port: Port = Field(default=0)
    secure: _Secure = Field(default=False)
    user: _User = Field(default="")
    password: _Pass = Field(default_factory=lambda: Secret(""), alias="pass")
    from_email: FromEmail = Field(default="", alias="fromEmail")
    from_name: FromName = Field(default="", alias="fromName")
    reply_to: ReplyTo = Field(default="", alias="replyTo")
    version: Version = Field(default=0)

    def change(self) -> SmtpChange:
        """The same by the names of every server's fields. What was checked is not checked again."""
        given: dict[str, Any] = {_OURS.get(name, name): getattr(self, name) for name in self.model_fields_set}
        if "secure" in self.model_fields_set:
            given |= {"use_tls": not self.secure, "use_ssl": given.pop("secure")}
        return SmtpChange.model_construct(**given)


class WithDetails(Strict):
    """What is told beside the specified fields."""

    details: Annotated[bool, one_of(YES_OR_NO, "boolean", "Also return the state of your own server.")] = False


class WithSteps(Strict):
    """What is told beside the result."""

    steps: Annotated[bool, one_of(YES_OR_NO, "boolean", "Also return how each step of the test went.")] = False


class Details(PersonalAnswer):
    """With ``?details=true``: of the account's own server, in use or not; null where it has none."""

    status: Annotated[
        OwnStatus | None, Field(description="The state of your own server: none, in_use, failing, broken, not_used.")
    ] = None
    reason: Annotated[str | None, Field(description="Why, and what to do. Empty if nothing is wrong.")] = None
    by_token: Annotated[
        bool | None, Field(description="Whether it is signed in to by token, after it was connected by OAuth.")
    ] = None
    needs_sign_in: Annotated[bool | None, Field(description="Whether it must be connected again.")] = None
    last_error: Annotated[str | None, Field(description="Why its last email or test failed.")] = None
    verified_at: Annotated[str | None, Field(description="When exactly these settings passed a test.")] = None
    from_email: str | None = None
    from_name: str | None = None
    reply_to: str | None = None
    version: Annotated[
        int | None, Field(description="Send it with a save to get 409 if someone else saved in the meantime.")
    ] = None


class SettingsData(Details):
    """What sends: your own server, or the global one, of which only administrators are told."""

    host: str | None
    port: int | None
    secure: bool | None
    user: str | None
    has_password: bool
    is_global: bool


class SavedData(Details):
    host: str
    port: int
    secure: bool
    user: str
    updated_at: str
    updated_by: str


class SavedAnswer(PersonalAnswer):
    message: str
    settings: SavedData


class SettingsRemovedAnswer(PersonalAnswer):
    message: str


class StepFacts(StepData, PersonalAnswer):
    """A step of a test. ``fact`` has what the server said in it for administrators only."""


class TestedAnswer(PersonalAnswer):
    __test__ = False

    success: bool
    message: str
    steps: list[StepFacts] | None = None


class RefusedTest(PersonalError):
    """Refused fields (``errors``), or a test that ran and failed."""

    steps: list[StepFacts] | None = None


def moment(value: datetime) -> str:
    """As JavaScript's ``toISOString`` writes it."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
