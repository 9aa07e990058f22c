"""The fields of a server, in one table: what each is and where it goes. Lists of fields are made of it, or held to it.

A new field is added here first; tests/services/settings/test_table.py then names each place that does not know it yet.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from utils.secret import Secret


class Kind(Enum):
    """What a field is; from it follows who binds, seals, records and shows it."""

    VALUE = auto()  # bound: said to a server or shown to a reader; a line of text, or a number
    MODE = auto()  # bound: how the connection is protected
    CERTIFICATE = auto()  # bound: said to a server; many lines, which a form shows apart
    SECRET = auto()  # bound and sealed: kept as a token, shown as the mask
    SWITCH = auto()  # can be changed while the key is not at hand
    NOTED = auto()  # written down about it by the application, and shown
    HIDDEN = auto()  # the application's own, and shown to nobody


@dataclass(frozen=True)
class Field:
    """A column of a stored server; it has the same name in the API, in the form and in the audit trail."""

    name: str
    kind: Kind
    type: type = str
    setting: str = ""  # its name in SmtpSettings
    words: str = ""  # in a sentence about a stored value; with them it is checked at each use
    tested: bool = False  # a change of it makes the mark of a test void
    option: str = ""  # of `flask smtp add` and `edit`
    variable: str = ""  # of the environment
    removal: str = ""  # by which a change forgets it
    since: str = "0001"  # the migration that brought it


# The order is that of a fingerprint, which stays good only while it stays the same.
FIELDS: Final = (
    Field("id", Kind.NOTED, int),
    Field("account_id", Kind.HIDDEN, int),
    Field("name", Kind.SWITCH, option="name"),
    Field("name_key", Kind.HIDDEN, since="0002"),
    Field(
        "smtp_server", Kind.VALUE, setting="host", words="server", tested=True, option="--host", variable="EMAIL_HOST"
    ),
    Field(
        "smtp_port", Kind.VALUE, int, setting="port", words="port", tested=True, option="--port", variable="EMAIL_PORT"
    ),
    Field(
        "use_tls", Kind.MODE, bool, setting="security", words="choice of STARTTLS", tested=True, option="--security",
        variable="EMAIL_USE_TLS",
    ),
    Field(
        "use_ssl", Kind.MODE, bool, setting="security", words="choice of TLS", tested=True, option="--security",
        variable="EMAIL_USE_SSL",
    ),
    Field(
        "smtp_username", Kind.VALUE, setting="username", words="user name", tested=True, option="--username",
        variable="EMAIL_HOST_USER",
    ),
    Field(
        "smtp_password", Kind.SECRET, Secret, setting="password", tested=True, option="password",
        variable="EMAIL_HOST_PASSWORD", removal="remove_password",
    ),
    Field(
        "from_email", Kind.VALUE, setting="from_email", words="From address", tested=True, option="--from",
        variable="DEFAULT_FROM_EMAIL",
    ),
    Field(
        "from_name", Kind.VALUE, setting="from_name", words="From name", option="--from-name",
        variable="DEFAULT_FROM_EMAIL",
    ),
    Field("reply_to", Kind.VALUE, setting="reply_to", words="Reply-To", option="--reply-to"),
    Field(
        "helo_hostname", Kind.VALUE, setting="helo_hostname", words="EHLO name", tested=True, option="--ehlo-name"
    ),
    Field(
        "auth_method", Kind.VALUE, setting="auth_method", words="sign-in method", tested=True, option="--auth-method"
    ),
    Field(
        "timeout_seconds", Kind.VALUE, int, setting="timeout_seconds", words="time-out", tested=True,
        option="--timeout", variable="EMAIL_TIMEOUT",
    ),
    Field(
        "client_certificate", Kind.CERTIFICATE, setting="client_certificate", words="client certificate", tested=True,
        option="--client-certificate", variable="EMAIL_SSL_CERTFILE", removal="remove_client_certificate", since="0004",
    ),
    Field(
        "client_key", Kind.SECRET, Secret, setting="client_key", tested=True, option="--client-key",
        variable="EMAIL_SSL_KEYFILE", removal="remove_client_certificate", since="0004",
    ),
    Field("failover", Kind.SWITCH, bool, words="choice of failover", option="--failover"),
    Field("emails_per_minute", Kind.SWITCH, int, words="emails per minute", option="--emails-per-minute"),
    Field("emails_per_day", Kind.SWITCH, int, words="emails per day", option="--emails-per-day", since="0003"),
    Field("is_active", Kind.SWITCH, bool),
    Field("active_until", Kind.HIDDEN, datetime, since="0010"),
    Field("version", Kind.NOTED, int),
    Field("verified_at", Kind.NOTED, datetime),
    Field("verified_fingerprint", Kind.HIDDEN),
    Field("last_error", Kind.NOTED),
    Field("failed_over_at", Kind.NOTED, datetime, since="0002"),
    Field("failed_over_to", Kind.NOTED, since="0002"),
    Field("failover_told_at", Kind.HIDDEN, datetime, since="0002"),
    Field("inactive_reason", Kind.HIDDEN, since="0012"),
    Field("fell_back", Kind.HIDDEN, int, since="0012"),
    Field("broken_told_at", Kind.HIDDEN, datetime, since="0012"),
    Field("oauth_consent", Kind.HIDDEN, int, since="0017"),
    Field("created_at", Kind.NOTED, datetime),
    Field("updated_at", Kind.NOTED, datetime),
    Field("updated_by", Kind.NOTED),
    Field("key_id", Kind.HIDDEN),
    Field("binding_mac", Kind.HIDDEN),
)  # fmt: skip


def _names(*kinds: Kind) -> tuple[str, ...]:
    return tuple(field.name for field in FIELDS if field.kind in kinds)


VALUES: Final = {field.name: field.setting for field in FIELDS if field.kind is Kind.VALUE}
SECRETS: Final = {field.name: field.setting for field in FIELDS if field.kind is Kind.SECRET}
NUMBERS: Final = tuple(field.name for field in FIELDS if field.kind is Kind.VALUE and field.type is int)
BOUND: Final = tuple(sorted(_names(Kind.VALUE, Kind.CERTIFICATE, Kind.SECRET)))  # beside the scope and the mode
SWITCHES: Final = _names(Kind.SWITCH)
LIMITS: Final = tuple(field.name for field in FIELDS if field.kind is Kind.SWITCH and field.type is int)
AUDITED: Final = _names(Kind.SWITCH, Kind.VALUE, Kind.MODE, Kind.CERTIFICATE)  # of the secrets it is told apart
SHOWN: Final = tuple(field.name for field in FIELDS if field.kind is not Kind.HIDDEN)
CHECKED: Final = {field.name: field.words for field in FIELDS if field.words}
OPTIONS: Final = {field.name: field.option for field in FIELDS if field.option}
VARIABLES: Final = {field.name: field.variable for field in FIELDS if field.variable}
REMOVALS: Final = {field.name: field.removal for field in FIELDS if field.removal}
# By their names in SmtpSettings: first those that were there from the beginning, then each that a later version added.
TESTED_FIRST: Final = tuple(dict.fromkeys(field.setting for field in FIELDS if field.tested and field.since == "0001"))
TESTED_LATER: Final = tuple(dict.fromkeys(field.setting for field in FIELDS if field.tested and field.since > "0001"))
