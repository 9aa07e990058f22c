"""What the API for accounts answers: ``/api/smtp/*`` and sending; its errors have a shape of their own."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

OWN_SERVER_TAG = "Your own server"


class PersonalAnswer(BaseModel):
    """Names are as JavaScript writes them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class PersonalError(PersonalAnswer):
    """Every error. ``errors`` stands there where fields were refused."""

    success: bool = False
    error: str
    errors: dict[str, list[str]] | None = None


class Explained(PersonalAnswer):
    """What is told of the server beside the specified fields, with ``?details=true``."""

    status: Annotated[str, Field(description="The state of your own server.")]
    reason: Annotated[str, Field(description="Why it is so, and what to do; empty if all is well.")]
    last_error: Annotated[str | None, Field(description="What its last mail or test came to, if that failed.")]
    from_email: str | None
    from_name: str | None
    reply_to: str | None
    verified_at: str | None
    version: int | None


PersonalAnswers = dict[int, type[BaseModel]]
PERSONAL_ERRORS: PersonalAnswers = {401: PersonalError, 403: PersonalError, 429: PersonalError}
PERSONAL_BODY_ERRORS: PersonalAnswers = {
    **PERSONAL_ERRORS,
    **dict.fromkeys((400, 413, 415, 422, 503), PersonalError),
}
