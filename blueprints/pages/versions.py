"""A server's form that met a newer version: both side by side, by field, with who saved the other and when."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from blueprints import forms
from blueprints.pages import smtp_form_values
from services.settings.sealing import StoredConfig
from services.settings.table import SECRETS
from services.smtp.settings import MODE_NAMES, Security

# As the form says; a test holds them to it.
LABELS: Final = {
    "name": "Name",
    "smtp_server": "Server",
    "smtp_port": "Port",
    "security": "Encryption",
    "smtp_username": "User name",
    "smtp_password": "Password",
    "from_email": "From address",
    "from_name": "From name",
    "is_active": "Active",
    "failover": "Use the next server while this one is down",
    "reply_to": "Reply-To address",
    "helo_hostname": "EHLO name",
    "timeout_seconds": "Timeout in seconds",
    "emails_per_minute": "Emails per minute",
    "emails_per_day": "Emails per day",
    "client_certificate": "Certificate",
    "client_key": "Private key",
}
TYPED_ANEW: Final = "Typed again; enter it once more"
STORED: Final = "The stored one"
NOTHING: Final = "–"


@dataclass(frozen=True)
class Difference:
    """A field of which the two versions say something else."""

    name: str
    label: str
    stored: str
    typed: str


@dataclass(frozen=True)
class Versions:
    """What was saved meanwhile, by whom and when, and where what was typed differs from it."""

    saved_by: str
    saved_at: datetime
    differences: list[Difference]


def side_by_side(config: StoredConfig, fields: Collection[str] = tuple(LABELS)) -> Versions:
    """The stored version beside what this request brings. What is secret is told apart, but never shown.

    ``fields`` are those of the form, if it has not all of them.
    """
    stored, typed = smtp_form_values.stored(config), smtp_form_values.typed()
    typed["client_certificate"] = forms.text("client_certificate")
    found = []
    for name, label in LABELS.items():
        if name not in fields:
            continue
        if name in SECRETS or name == "client_certificate":
            if forms.text(name):
                has_one = bool(getattr(config.row, name))
                found.append(Difference(name, label, STORED if has_one else NOTHING, TYPED_ANEW))
        elif _words(name, stored[name]) != _words(name, typed[name]):
            found.append(Difference(name, label, _words(name, stored[name]), _words(name, typed[name])))
    return Versions(config.row.updated_by, config.row.updated_at, found)


def _words(name: str, value: Any) -> str:  # noqa: ANN401 - text or a flag
    if isinstance(value, bool):
        return "on" if value else "off"
    if name == smtp_form_values.SECURITY and value in list(Security):
        return MODE_NAMES[Security(value)]
    return str(value).strip() or NOTHING
