"""The fields of a mail that comes over HTTP, each checked on its own; the API document is made from these types."""

import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from services.message import mime
from services.message.mime import Attachment
from services.outbox.mail_filter import LONGEST_TAG
from services.settings.fields import Checked, Strict, bounded_text, flag, refused, texts, told_name
from utils import clock
from utils.errors import InvalidInput

MOST_MAILS: Final = 500  # of one call
MOST_RECIPIENTS: Final = 100  # of one mail
MOST_ATTACHMENTS: Final = 100  # of one mail
LARGEST_ATTACHMENTS: Final = 25 * 1024 * 1024  # octets of all attachments of one call, decoded
LONGEST_TEXT: Final = 2 * 1024 * 1024  # characters
MOST_VALUES: Final = 200  # that a template gets
MOST_TAGS: Final = 200_000  # of HTML in one call that texts are made from, which takes some seconds
LONGEST_SUBJECT: Final = 998
LONGEST_MAILBOX: Final = 1000  # characters of an address with its name
LONGEST_KEY: Final = 255
LATEST: Final = timedelta(days=366)  # that a mail may wait for its time
# What `services.message.draft` and `services.outbox.promise` call their arguments, and what the API calls them.
API_NAMES: Final = {
    "to_email": "to",
    "reply_to": "replyTo",
    "body": "text",
    "html_body": "html",
    "sender": "from",
    "from_email": "from",
    "from_name": "from",
    "send_at": "sendAt",
    "expires_at": "sendAt",
    "idempotency_key": "idempotencyKey",
    "track_opens": "track",
}
MOST_TOLD: Final = 50  # refusals of one mail
WHOLE: Final = "form"  # where a refusal is about no single field

_ARGUMENT: Final = re.compile(r"([a-z_]+): (?:[a-z_]+: )?(.+)", re.DOTALL)
_VALUE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_SPACES: Final = str.maketrans("", "", " \t\r\n")

_Model = TypeVar("_Model", bound=BaseModel)


def refused_argument(error: ValueError) -> tuple[str, str]:
    """The API's name of the field that a ValueError of ours names, and the sentence about it."""
    found = _ARGUMENT.fullmatch(str(error))
    if not found:
        return WHOLE, str(error)
    return API_NAMES.get(found[1], found[1]), found[2]


def _texts(longest: int, told: str, check: Callable[[str], object] = str, **more: object) -> Checked:
    return texts(check, longest, told, **more)


def _mailboxes(value: object) -> str | list[str]:
    """One or several; whether each is an address is the composer's to say."""
    if isinstance(value, str):
        return bounded_text(value, LONGEST_MAILBOX)
    if not isinstance(value, list):
        raise refused("Enter one address as text, or a list of them.")
    if len(value) > MOST_RECIPIENTS:
        raise refused(f"An email has at most {MOST_RECIPIENTS} recipients.")
    return [bounded_text(each, LONGEST_MAILBOX) for each in value]


def _mailboxes_field(told: str) -> tuple[PlainValidator, WithJsonSchema]:
    one = {"type": "string", "maxLength": LONGEST_MAILBOX}
    several = {"type": "array", "items": one, "maxItems": MOST_RECIPIENTS}
    return PlainValidator(_mailboxes), WithJsonSchema({"anyOf": [one, several], "description": told})


def _subject(text: str) -> str:
    if not text.strip():
        raise refused("Enter a subject.")
    return text


def _printable(text: str) -> str:
    if not text or not text.isprintable():
        raise refused("Use printable characters, on one line.")
    return text


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise refused("Enter a date and time with its zone, like 2026-12-24T08:00:00+01:00.")
    now = clock.now()
    if moment <= now:  # no earlier than others that are due now
        return now
    if moment > now + LATEST:
        raise refused(f"Enter a time within the next {LATEST.days} days.")
    return moment


def _decoded(value: object) -> bytes:
    """Base64 (RFC 4648 4), which may be broken into lines. That of URLs (5) is another alphabet, and refused."""
    if not isinstance(value, str):
        raise refused("Enter the file's content in base64.")
    if value[:5].lower() == "data:":
        raise refused("Leave out everything before the base64, up to the comma.")
    try:
        content = binascii.a2b_base64(value.translate(_SPACES).encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise refused("This is not base64. Use A–Z, a–z, 0–9, + and /, and pad it with =.") from None
    if len(content) > LARGEST_ATTACHMENTS:
        raise refused(f"The attachment is larger than {LARGEST_ATTACHMENTS // 2**20} MB.")
    return content


def _by_composer(made: Callable[[str], Attachment]) -> Callable[[str], str]:
    """Refuse what the composer would, on the field itself."""

    def check(text: str) -> str:
        try:
            mime.check(made(text))
        except ValueError as error:
            raise refused(refused_argument(error)[1]) from None
        return text

    return check


_FILENAME: Final = _by_composer(lambda text: Attachment(text, b""))
_CONTENT_TYPE: Final = _by_composer(lambda text: Attachment("file", b"", text))
_CONTENT_ID: Final = _by_composer(lambda text: Attachment("file", b"", content_id=text))


def _template_values(value: object) -> dict[str, Any]:
    if (
        not isinstance(value, dict)
        or len(value) > MOST_VALUES
        or not all(_VALUE_NAME.fullmatch(name) for name in value)
    ):
        raise refused(f"Enter an object with at most {MOST_VALUES} names of letters, digits and _.")
    return value


class _Fields(Strict):
    """Fields with the names that JavaScript gives them."""

    model_config = ConfigDict(alias_generator=to_camel)


class AttachmentFields(_Fields):
    """A file to send along."""

    filename: Annotated[str, _texts(mime.LONGEST_FILENAME, "Its name, without folders.", _FILENAME, minLength=1)]
    content: Annotated[bytes, Checked(_decoded, "string", "Its content in base64.", contentEncoding="base64")]
    content_type: Annotated[
        str, _texts(mime.LONGEST_CONTENT_TYPE, "Default: application/octet-stream.", _CONTENT_TYPE)
    ] = "application/octet-stream"
    content_id: Annotated[str, _texts(202, 'Embeds it in the HTML as an image: <img src="cid:…">.', _CONTENT_ID)] = ""


class MailFields(_Fields):
    """One email. At least one recipient is needed; and a subject with text or html (or both), or else a template."""

    to: Annotated[str | list[str], *_mailboxes_field("One address or a list, with names or without.")] = ""
    cc: Annotated[str | list[str], *_mailboxes_field("Like to.")] = ""
    bcc: Annotated[str | list[str], *_mailboxes_field("Like to. No one else sees them.")] = ""
    subject: Annotated[str, _texts(LONGEST_SUBJECT, "One line. Left out with a template.", _subject, minLength=1)] = ""
    text: Annotated[str, _texts(LONGEST_TEXT, "The text. If left out, it is made from html.")] = ""
    html: Annotated[str, _texts(LONGEST_TEXT, "The content as HTML.")] = ""
    template: Annotated[
        str | None,
        _texts(64, "A template of this installation’s own, or order_notification, in place of subject, text and html."),
    ] = None
    values: Annotated[
        dict[str, Any] | None,
        Checked(_template_values, "object", "What the template needs, by name: texts, numbers, lists, objects."),
    ] = None
    reply_to: Annotated[str | list[str], *_mailboxes_field("Where replies go.")] = ""
    sender: Annotated[
        str,
        _texts(
            LONGEST_MAILBOX,
            "One of your confirmed senders, with a name or without. Only your own server can send as it.",
        ),
    ] = Field("", alias="from")
    attachments: Annotated[
        list[AttachmentFields],
        Field(
            max_length=MOST_ATTACHMENTS,
            description="Each with filename and content (base64), and optionally contentType, and contentId for an "
            "image in the HTML.",
        ),
    ] = Field(default_factory=list)
    tag: Annotated[str | None, _texts(LONGEST_TAG, "Your own word to find the email by.", _printable)] = None
    track: Annotated[
        bool,
        Checked(flag, "boolean", "Record when it is opened, with a pixel in its html. Ask the recipients first."),
    ] = False
    send_at: Annotated[
        datetime | None,
        _texts(64, "When to send it, with its time zone, at most 366 days ahead.", _moment, format="date-time"),
    ] = None
    idempotency_key: Annotated[
        str | None,
        _texts(LONGEST_KEY, "Another call with the same key and content sends nothing again.", _printable, minLength=1),
    ] = None

    @property
    def files(self) -> list[Attachment]:
        return [
            Attachment(each.filename, each.content, each.content_type, each.content_id) for each in self.attachments
        ]


class OneMail(MailFields):
    """One email, and whether to wait for it."""

    wait: Annotated[bool, Checked(flag, "boolean", "Send it now, and return the result.")] = False


class ManyMails(_Fields):
    """Up to 500 emails, of which all are taken or none."""

    messages: Annotated[
        list[MailFields],
        Field(
            min_length=1,
            max_length=MOST_MAILS,
            description=(
                "Up to 500 emails, each with the fields above except wait. No other field is allowed beside it."
            ),
        ),
    ]


@dataclass(frozen=True)
class MailCall:
    """What a call asks for: its mails by the place that they have in it, and what was refused so far.

    ``is_batch``: it is a list, and each place stands before the names of its fields.
    """

    mails: Mapping[int, MailFields]
    errors: dict[str, list[str]]
    is_batch: bool

    @property
    def waits(self) -> bool:
        return any(isinstance(mail, OneMail) and mail.wait for mail in self.mails.values())

    def prefix(self, place: int) -> str:
        return f"messages[{place}]." if self.is_batch else ""

    def refuse(self, place: int, field: str, sentence: str) -> None:
        prefix = self.prefix(place)
        self.errors.setdefault(prefix[:-1] if prefix and field == WHOLE else prefix + field, []).append(sentence)


def parse(raw: Mapping[str, object]) -> MailCall:
    """The call as it was meant; what is wrong with a mail stands in its errors, so that all is told at once.

    Raises InvalidInput if it is no list of mails at all, or so much that nothing of it is looked at any further.
    """
    if "messages" in raw:
        mails: dict[int, MailFields] = {}
        errors: dict[str, list[str]] = {}
        for place, each in enumerate(_listed(raw)):
            try:
                mails[place] = _checked(MailFields, each, ("messages", place))
            except InvalidInput as refused:
                errors |= refused.errors
        asked = MailCall(mails, errors, is_batch=True)
    else:
        asked = MailCall({0: _checked(OneMail, raw)}, {}, is_batch=False)
    for place, mail in asked.mails.items():
        for field, sentence in _between_fields(mail):
            asked.refuse(place, field, sentence)
    _check_sums(asked)
    return asked


def _check_sums(asked: MailCall) -> None:
    """Refuse what is too much of all mails together. Raises InvalidInput: to write them out would take minutes."""
    mails, errors = asked.mails.values(), dict[str, list[str]]()
    if sum(len(each.content) for mail in mails for each in mail.attachments) > LARGEST_ATTACHMENTS:
        sentence = f"The attachments are larger than {LARGEST_ATTACHMENTS // 2**20} MB together."
        errors["messages" if asked.is_batch else "attachments"] = [sentence]
    if sum(mail.html.count("<") for mail in mails if not mail.text.strip()) > MOST_TAGS:
        sentence = "The HTML is too long to make the text from it. Add text too."
        errors["messages" if asked.is_batch else "text"] = [sentence]
    if errors:
        raise InvalidInput(asked.errors | errors)


def _listed(raw: Mapping[str, object]) -> list[object]:
    """The mails of a batch as they were given."""
    strangers = {told_name(name): ["This field is not allowed beside messages."] for name in raw if name != "messages"}
    given = raw["messages"]
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_MAILS:
        strangers["messages"] = [f"Enter a list of 1 to {MOST_MAILS} emails."]
    if strangers:
        raise InvalidInput(strangers)
    return cast(list[object], given)


def _between_fields(mail: MailFields) -> Iterator[tuple[str, str]]:
    if mail.template is not None:
        for name in ("subject", "text", "html"):
            if name in mail.model_fields_set:
                yield name, "Leave this out: the template has it."
    else:
        if "subject" not in mail.model_fields_set:
            yield "subject", _SENTENCES["missing"]
        if not (mail.text.strip() or mail.html.strip()):
            yield "text", "Enter text, html or both."
        if mail.values is not None:
            yield "values", "Leave this out: it is for a template."
    if isinstance(mail, OneMail) and mail.wait and mail.send_at and mail.send_at > clock.now():
        yield "wait", "You cannot wait for an email that is sent later."


def _checked(model: type[_Model], raw: object, above: tuple[int | str, ...] = ()) -> _Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found: dict[str, list[str]] = {}
        for fault in error.errors(include_input=False, include_url=False)[:MOST_TOLD]:
            path = _path(*above, *fault["loc"], is_strange=fault["type"] == "extra_forbidden")
            found.setdefault(path, []).append(_SENTENCES.get(fault["type"], fault["msg"]))
        raise InvalidInput(found) from None


def _path(*place: int | str, is_strange: bool) -> str:
    """A place in the body as programs write it: ``messages[3].attachments[0].content``. Nothing strange is repeated."""
    *above, last = place or (WHOLE,)
    parts = [*above, told_name(str(last)) if is_strange else last]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


_SENTENCES: Final = {
    "extra_forbidden": "Unknown field.",
    "missing": "This is missing.",
    "too_long": f"Enter at most {MOST_ATTACHMENTS}.",
    "list_type": "Enter a list.",
    "model_type": "Enter an object.",
    "model_attributes_type": "Enter an object.",
}
