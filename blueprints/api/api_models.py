"""What the administration API takes and answers; the API document is made from these models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from blueprints.api.openapi import AnyAnswer, ErrorAnswer
from services.diagnosis.diagnosis import AdviceData
from services.settings.fields import Checked, SmtpChange, Strict, Version, parse_recipient
from services.settings.shown import ConfigData
from services.smtp.settings import Security
from utils.addresses import LONGEST_ADDRESS
from utils.numbers import number_or_text

TAG = "SMTP settings"
EXAMPLE = {
    "smtp_server": "smtp.gmail.com",
    "smtp_port": 587,
    "smtp_username": "user@gmail.com",
    "smtp_password": "app_password",
    "from_email": "noreply@example.com",
    "from_name": "OpenAlgo",
    "use_tls": True,
    "use_ssl": False,
}

LONGEST_SEARCH = 300  # characters


def _search_text(value: str) -> str:
    if len(value) > LONGEST_SEARCH:
        raise PydanticCustomError("refused", f"Use at most {LONGEST_SEARCH} characters.")
    return value


def one_of(known: Mapping[str, bool | str], kind: str, told: str, **more: object) -> Checked:
    """A parameter that is one of these words, and what each stands for; the rest is for the document."""

    def meant(value: object) -> bool | str:
        if not isinstance(value, str) or value not in known:  # in a body it may be a list, which cannot be looked up
            raise PydanticCustomError("refused", "Enter one of: {known}.", {"known": ", ".join(known)})
        return known[value]

    return Checked(meant, kind, told, **more)


class ConfigAnswer(AnyAnswer):
    data: ConfigData


class ConfigsAnswer(AnyAnswer):
    data: list[ConfigData]


class DoneAnswer(AnyAnswer):
    message: str


class StepData(BaseModel):
    name: str
    label: str
    status: str
    ms: int
    fact: str


@dataclass(frozen=True, kw_only=True)
class TestData:
    __test__ = False

    steps: list[StepData]
    ms: int
    address: Annotated[str | None, Field(description="The address that the test connected to.")]
    port: int | None
    transcript: Annotated[
        list[str], Field(description="The full conversation (C: and S:), without passwords and content.")
    ]
    habits: Annotated[list[str], Field(description="Where the server does not keep what it announces, and its limits.")]
    version: Annotated[str, Field(description="Sealpost’s.")]
    caveat: Annotated[str, Field(description="What a success does not prove, and what to do; or empty.")]
    own_domain_only: Annotated[
        bool, Field(description="Only a recipient at the server's own domain was accepted, without a sign-in.")
    ]
    queue_id: str | None = None
    message_id: str | None = None


class TestAnswer(AnyAnswer):
    __test__ = False

    message: str
    data: TestData


class OpenWayData(BaseModel):
    port: int
    security: Security
    greeting: str


class CertificateData(BaseModel):
    """What the refused certificate says of itself; nothing of it is verified."""

    names: list[str]
    issuer: str
    not_before: str
    not_after: str
    sha256: str


class ActionData(BaseModel):
    label: str
    changes: Annotated[
        dict[str, str | int | bool], Field(description="A body for the same test. It contains no password.")
    ]
    page: Annotated[str, Field(description="In place of changes: the page where a person does it.")] = ""


@dataclass(frozen=True, kw_only=True)
class FailedTestData(TestData, AdviceData):
    """A test that failed: where, why, and what to do. ``retry_after`` is in seconds, if anybody knows; to try
    ``not_before`` a moment may extend a lock.
    """

    actions: Annotated[list[ActionData], Field(description="What would fix it, best first.")]

    phase: str
    phase_label: str
    fault: str
    reason: str
    server_line: str
    open_ways: Annotated[
        list[OpenWayData], Field(description="Other ports of the same host that responded to a probe.")
    ]
    certificate: CertificateData | None


class RefusedAnswer(AnyAnswer):
    """Refused fields (``errors``), or a test that ran and failed (``data``)."""

    message: str
    errors: dict[str, list[str]] | None = None
    data: FailedTestData | None = None


class SmtpTest(SmtpChange):
    """Values to test, merged over the saved ones and stored nowhere."""

    to: Annotated[str, Checked(parse_recipient, "string", "Also send a test email.", maxLength=LONGEST_ADDRESS)] = ""
    rcpt: Annotated[
        str,
        Checked(
            parse_recipient,
            "string",
            "Name this recipient and send nothing; at another domain than From's it shows whether email is relayed.",
            maxLength=LONGEST_ADDRESS,
        ),
    ] = ""
    deliver_suppressed: Annotated[
        bool, Field(strict=True, description="Deliver it even though MAIL_SUPPRESS_SEND is on.")
    ] = False


class ConfigFilter(Strict):
    """Which configurations to list; all conditions hold at once."""

    q: Annotated[
        str, Checked(_search_text, "string", "Search in name, host or user name.", maxLength=LONGEST_SEARCH)
    ] = ""
    active: Annotated[
        bool | None, one_of({"true": True, "false": False}, "boolean", "Only the active one, or only the others.")
    ] = None
    security: Annotated[
        str, one_of({mode: mode for mode in Security}, "string", "How the connection is encrypted.", enum=[*Security])
    ] = ""
    has_error: Annotated[
        bool, one_of({"true": True}, "boolean", "Only those that failed or cannot be used.", enum=[True])
    ] = False


class Switch(Strict):
    """What is said when a configuration is switched on or off."""

    version: Version = 0


class DeletedVersion(Strict):
    """The version that was read before deleting."""

    version: Annotated[Version, BeforeValidator(number_or_text)] = 0


class NoParameters(Strict):
    """For routes whose parameters stand in the body: a version in the query would be overlooked there."""


Answers = dict[int, type[AnyAnswer]]
ERRORS: Answers = {401: ErrorAnswer, 403: ErrorAnswer, 429: ErrorAnswer}
STALE_TOO: Answers = {404: ErrorAnswer, 409: ErrorAnswer}
CHANGE_ERRORS: Answers = {**ERRORS, 422: RefusedAnswer, 503: ErrorAnswer}
BODY_ERRORS: Answers = {**CHANGE_ERRORS, 400: ErrorAnswer, 413: ErrorAnswer, 415: ErrorAnswer}
