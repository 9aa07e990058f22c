"""The fields of a mail server's settings, each checked on its own; the API document is made from the same types."""

import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from services.settings.table import REMOVALS, SECRETS
from services.smtp import sasl
from services.smtp.client_certificate import LONGEST_CERTIFICATE, LONGEST_KEY, UnusablePem, parse_certificate, parse_key
from services.smtp.settings import DEFAULT_TIMEOUT, LONGEST_TIMEOUT, TOKEN_METHOD
from utils.addresses import LONGEST_ADDRESS, LONGEST_HOST, InvalidAddress, ip_literal, parse_address, parse_host
from utils.addresses import parse_recipient as checked_recipient
from utils.errors import InvalidInput
from utils.numbers import LARGEST
from utils.personal_env import MOST_EMAILS
from utils.secret import Secret

MASK: Final = "•" * 8
LONGEST_PASSWORD: Final = 1024  # characters
LONGEST_FIELD_NAME: Final = 40
LONGEST_LINE: Final = 255
LONGEST_NAME: Final = 100
AUTH_METHODS: Final = ("", *sasl.KNOWN, TOKEN_METHOD)


def refused(sentence: str) -> PydanticCustomError:
    """What a validator raises, so that the field is told of in this sentence."""
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})


def bounded_text(value: object, longest: int) -> str:
    """The value, if it is a text of at most so many characters. Raises PydanticCustomError."""
    if not isinstance(value, str):
        raise refused("Enter text.")
    if len(value) > longest:
        raise refused(f"Use at most {longest} characters.")
    return value


def _line(text: str) -> str:
    """One line of text without control characters; outer spaces are typing slips and go."""
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text):
        raise refused("Remove line breaks and control characters.")
    return text.strip()


def _whole_number(value: object, low: int, high: int) -> int:
    # JSON knows one kind of number: 587.0 is the integer 587, True is none at all.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise refused(f"Enter a whole number from {low} to {high}.")
    return value


def _server(text: str) -> str:
    return _by_grammar(parse_host, _line(text), "Enter the server’s host name, like smtp.example.com.")


def _address(text: str, parse: Callable[[str], str] = parse_address) -> str:
    return _by_grammar(parse, _line(text), "Enter an email address, like noreply@example.com.")


def _recipient(value: object) -> str:
    return _address(bounded_text(value, LONGEST_ADDRESS), checked_recipient)


def _optional_address(text: str) -> str:
    return _address(text) if text else ""


def _helo(text: str) -> str:
    if not text:
        return ""
    name = _server(text)
    if ip_literal(name):
        raise refused("Enter a host name, not an address.")
    if "_" in name:  # RFC 5321 4.1.2; servers refuse it
        raise refused("An EHLO name cannot contain an underscore.")
    return name


def _by_grammar(parse: Callable[[str], str], text: str, empty: str) -> str:
    if not text:
        raise refused(empty)
    try:
        return parse(text)
    except InvalidAddress as error:
        raise refused(str(error)) from None


def _password(text: str) -> Secret:
    """Taken as typed: spaces, umlauts and all. Only what no server can be told is refused."""
    if any(char in "\r\n\0" or unicodedata.category(char) == "Cs" for char in text):
        raise refused("Remove the line break or control character.")
    return Secret("" if text == MASK else text)


def _certificate(text: str) -> str:
    try:
        return parse_certificate(text.strip()) if text.strip() else ""
    except UnusablePem as fault:
        raise refused(str(fault)) from None


def _key(text: str) -> Secret:
    try:
        return parse_key(text.strip()) if text.strip() not in ("", MASK) else Secret("")
    except UnusablePem as fault:
        raise refused(str(fault)) from None


def flag(value: object) -> bool:
    """The value, if it is true or false. Raises PydanticCustomError."""
    if not isinstance(value, bool):
        raise refused("Enter true or false.")
    return value


def _auth_method(value: object) -> str:
    if value not in AUTH_METHODS:
        raise refused(f"Leave it empty, or enter {', '.join(AUTH_METHODS[1:-1])} or {AUTH_METHODS[-1]}.")
    return str(value)


def parse_recipient(value: object) -> str:
    """The address that a test message goes to, or "" for none. Raises what pydantic makes a field's error."""
    return _recipient(value) if value != "" else ""


def parse_address_field(field: str, value: str) -> str:
    """The address of a form that a test message goes to. Raises InvalidInput on ``field``."""
    try:
        return _recipient(value)
    except PydanticCustomError as error:
        raise InvalidInput({field: [error.message()]}) from None


def _config_name(text: str) -> str:
    name = _line(text)
    if not name:
        raise refused("Enter a name, like “Backup server”.")
    return name


def _limit(value: object) -> int | None:
    return None if value is None else _whole_number(value, 1, MOST_EMAILS)


class Checked:
    """A field's check, and what the API document says of it."""

    def __init__(self, check: Callable[[Any], object], kind: str, description: str, **more: object) -> None:
        self._check = check
        self._schema = {"type": kind, "description": description, **more}

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, _core: object, _handler: object) -> dict[str, object]:
        return dict(self._schema)


def texts(check: Callable[[str], object], longest: int, description: str, **more: object) -> Checked:
    """A text that is no longer than the document says, which ``check`` then reads."""
    return Checked(lambda value: check(bounded_text(value, longest)), "string", description, maxLength=longest, **more)


def _numbers(low: int, high: int, description: str, **more: object) -> Checked:
    """A whole number within the bounds that the document names."""
    check = partial(_whole_number, low=low, high=high)
    return Checked(check, "integer", description, minimum=low, maximum=high, **more)


def _flags(description: str) -> Checked:
    return Checked(flag, "boolean", description)


Server = Annotated[
    str,
    texts(
        _server,
        LONGEST_HOST,
        "Host name or IP address of the SMTP server.",
        minLength=1,
        examples=["smtp.example.com"],
    ),
]
Port = Annotated[int, _numbers(1, 65535, "Usually 587 with STARTTLS, 465 with TLS.", examples=[587])]
Username = Annotated[str, texts(_line, LONGEST_LINE, "Empty for a server that needs no sign-in.")]
Password = Annotated[
    Secret,
    texts(
        _password,
        LONGEST_PASSWORD,
        "Write-only. Absent, empty or the mask keeps the stored one; it is never trimmed.",
        writeOnly=True,
    ),
]
FromEmail = Annotated[
    str,
    texts(
        _address,
        LONGEST_ADDRESS,
        "The From address.",
        minLength=1,
        examples=["noreply@example.com"],
    ),
]
FromName = Annotated[str, texts(_line, LONGEST_LINE, "The From name.")]
ReplyTo = Annotated[str, texts(_optional_address, LONGEST_ADDRESS, "Where replies go, if not to the From address.")]
Helo = Annotated[
    str,
    texts(
        _helo,
        LONGEST_HOST,
        "The EHLO name. Empty: the host of BASE_URL if that is a public name, else the From domain.",
    ),
]
Timeout = Annotated[int, _numbers(1, LONGEST_TIMEOUT, "Seconds to wait for each reply. Queued email waits longer.")]
AuthMethod = Annotated[
    str,
    Checked(
        _auth_method,
        "string",
        f"Empty: the best the server offers. {TOKEN_METHOD}: by token (OAuth 2), once the server is connected.",
        enum=list(AUTH_METHODS),
    ),
]
Version = Annotated[int, _numbers(1, LARGEST, "The version that you read. 409 if it is no longer the stored one.")]
UseTls = Annotated[bool, _flags("STARTTLS: starts unencrypted, then switches. Always required.")]
UseSsl = Annotated[bool, _flags("TLS from the start.")]
Active = Annotated[bool, _flags("Whether mail goes through this server.")]
RemovePassword = Annotated[bool, _flags("Delete the stored password and its user name.")]
ClientCertificate = Annotated[
    str,
    texts(
        _certificate,
        LONGEST_CERTIFICATE,
        "For servers that require one: PEM, your own certificate first, then each that signed the one before it. "
        "Absent or empty keeps the stored one.",
    ),
]
ClientKey = Annotated[
    Secret,
    texts(
        _key,
        LONGEST_KEY,
        "Write-only: the certificate's private key, PEM without a passphrase. Absent, empty or the mask keeps the "
        "stored one.",
        writeOnly=True,
    ),
]
RemoveClientCertificate = Annotated[bool, _flags("Delete the stored client certificate and its key.")]
Ignored = Annotated[Any, WithJsonSchema({"readOnly": True, "description": "Returned by GET; ignored here."})]
Name = Annotated[
    str,
    texts(
        _config_name,
        LONGEST_NAME,
        "Unique among the servers. Case, width of letters and outer spaces do not count. 422 if another server has it.",
        minLength=1,
        examples=["Backup server"],
    ),
]
Failover = Annotated[bool, _flags("Whether the next server is used while this one is down.")]


def _limit_of(span: str) -> WithJsonSchema:
    numbers = [{"type": "integer", "minimum": 1, "maximum": MOST_EMAILS}, {"type": "null"}]
    return WithJsonSchema(
        {"anyOf": numbers, "description": f"Maximum emails per {span}. null: use the environment’s limit."}
    )


EmailsPerMinute = Annotated[int | None, PlainValidator(_limit), _limit_of("minute")]
EmailsPerDay = Annotated[int | None, PlainValidator(_limit), _limit_of("day")]


class Strict(BaseModel):
    """What is given from outside: every name in it must be known, and no refusal repeats a value."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SmtpChange(Strict):
    """A change to a mail server's settings. What is absent stays as it is stored."""

    smtp_server: Server = Field(default="")
    smtp_port: Port = Field(default=0)
    smtp_username: Username = Field(default="")
    smtp_password: Password = Field(default_factory=lambda: Secret(""))
    remove_password: RemovePassword = Field(default=False)
    from_email: FromEmail = Field(default="")
    from_name: FromName = Field(default="")
    use_tls: UseTls = Field(default=False)
    use_ssl: UseSsl = Field(default=False)
    is_active: Active = Field(default=True)
    reply_to: ReplyTo = Field(default="")
    helo_hostname: Helo = Field(default="")
    timeout_seconds: Timeout = Field(default=DEFAULT_TIMEOUT)
    auth_method: AuthMethod = Field(default="")
    client_certificate: ClientCertificate = Field(default="")
    client_key: ClientKey = Field(default_factory=lambda: Secret(""))
    remove_client_certificate: RemoveClientCertificate = Field(default=False)
    version: Version = Field(default=0)

    name: Name = Field(default="")
    failover: Failover = Field(default=True)
    emails_per_minute: EmailsPerMinute = Field(default=None)
    emails_per_day: EmailsPerDay = Field(default=None)

    id: Ignored = None
    has_password: Ignored = None
    has_client_key: Ignored = None
    client_certificate_facts: Ignored = None
    needs_reentry: Ignored = None
    verified: Ignored = None
    verified_at: Ignored = None
    verified_for_own_domain: Ignored = None
    last_error: Ignored = None
    failed_over_at: Ignored = None
    failed_over_to: Ignored = None
    health: Ignored = None
    endings: Ignored = None
    oauth: Ignored = None
    created_at: Ignored = None
    updated_at: Ignored = None
    updated_by: Ignored = None

    def given(self, field: str) -> bool:
        """Whether the caller named this field; the defaults above only stand in for absent ones."""
        return field in self.model_fields_set

    @property
    def touches_secrets(self) -> bool:
        """Whether it brings a password or a key, or has a stored one forgotten; the mask brings none."""
        brings = any(getattr(self, name).reveal() for name in SECRETS)
        return brings or any(getattr(self, name) for name in REMOVALS.values())

    def leads_elsewhere(self, host: str) -> bool:
        """Whether it names another host than the stored one."""
        return self.given("smtp_server") and self.smtp_server != host


_Model = TypeVar("_Model", bound=BaseModel)


def told_name(name: str) -> str:
    """The name of a field that does not exist, as an answer may repeat it: only one that could be a field's."""
    known_shape = name.isidentifier() and name.isascii() and len(name) <= LONGEST_FIELD_NAME
    return name if known_shape else "form"


def checked(model: type[_Model], raw: Mapping[str, object]) -> _Model:
    """Check every field on its own. Raises InvalidInput naming each refused one; echoes no value."""
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        found: dict[str, list[str]] = {}
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            name = str(fault["loc"][0]) if fault["loc"] else "form"
            if fault["type"] == "extra_forbidden":
                found.setdefault(told_name(name), []).append("Unknown field.")
            else:
                found.setdefault(name, []).append(fault["msg"])
        raise InvalidInput(found) from None


def parse_change(raw: Mapping[str, object]) -> SmtpChange:
    """The change that a page, the API, the command line or `.env` asks for. Raises InvalidInput."""
    return checked(SmtpChange, raw)
