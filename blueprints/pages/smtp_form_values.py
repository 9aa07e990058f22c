"""What stands in the form of a server: stored, copied, fresh or typed; and what was typed as a change."""

from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

from flask_login import current_user

from blueprints import forms
from services.personal import own_server
from services.providers.discovery import Suggestion
from services.settings import configs
from services.settings.fields import LONGEST_NAME, SmtpChange, parse_change
from services.settings.sealing import StoredConfig
from services.settings.table import FIELDS, LIMITS, NUMBERS, REMOVALS, SECRETS, VALUES, Kind
from services.smtp import client_certificate
from services.smtp.settings import DEFAULT_TIMEOUT, Security
from utils.env_utils import get_settings
from utils.errors import InvalidInput
from utils.numbers import number_or_text

SECURITY = "security"  # the control for the two fields of the mode
KEPT = "keep_"  # before the name of a secret: the box beside it, by which the stored one stays
FLAGS = tuple(dict.fromkeys(("is_active", "failover", *REMOVALS.values())))
APPLICABLE = (*VALUES, SECURITY, "send")
# The controls that a test exercises, for the page to say when they have changed since.
TESTED = tuple(dict.fromkeys(SECURITY if field.kind is Kind.MODE else field.name for field in FIELDS if field.tested))
TESTED_CONTROLS = " ".join((*TESTED, *dict.fromkeys(REMOVALS.values())))


def fresh() -> dict[str, Any]:
    """A new server: active only if it is the first, so that a newcomer is done with one page."""
    is_first = not configs.search()
    return {
        **dict.fromkeys((*VALUES, *LIMITS, "client_certificate", "version"), ""),
        **dict.fromkeys(FLAGS, False),
        "name": configs.FIRST_NAME if is_first else "",
        "smtp_port": "587",
        "from_name": get_settings().app_name,
        "security": str(Security.STARTTLS),
        "timeout_seconds": str(DEFAULT_TIMEOUT),
        "is_active": is_first,
        "failover": True,
        "to": current_user.email,
    }


def own_fresh() -> dict[str, Any]:
    """A new server of an account's own."""
    blank = dict.fromkeys((*VALUES, *LIMITS, "client_certificate", "version", "name"), "")
    start = {"smtp_port": "587", "security": str(Security.STARTTLS), "to": current_user.email}
    return {**blank, **dict.fromkeys(FLAGS, False), **start}


def stored(config: StoredConfig) -> dict[str, Any]:
    """A stored server, without its password and its client key. Its certificate is told beside the fields."""
    row = config.row
    return {
        **{name: str(getattr(row, name)) for name in (*VALUES, "name", "version")},
        **{name: str(getattr(row, name) or "") for name in LIMITS},  # empty: as the environment says
        **{name: getattr(row, name, False) for name in FLAGS},
        "security": str(config.settings.security),
        "client_certificate": "",
        "to": current_user.email,
    }


def copied(config: StoredConfig) -> dict[str, Any]:
    """A new server like another one: everything but its name, its secrets and that it is active."""
    values = {**stored(config), "name": _free_name(config.row.name), "is_active": False, "version": ""}
    return {**values, "client_certificate": config.row.client_certificate}


def filled(values: dict[str, Any], suggestion: Suggestion) -> dict[str, Any]:
    """The values with what was found out. A user name and a sender that are there already stay."""
    known = {name: str(value) for name, value in asdict(suggestion).items() if value}
    kept = {name: values[name] for name in ("smtp_username", "from_email") if values[name]}
    return values | known | kept


def typed() -> dict[str, Any]:
    """What was typed, with what an action of a failed test changes, for showing it again; never a secret."""
    certificate = forms.text("client_certificate")
    return {
        **{name: _text(name) for name in (*VALUES, *LIMITS, "name", SECURITY, "to", "version")},
        "client_certificate": "" if client_certificate.holds_key(certificate) else certificate,
        **{name: forms.ticked(name) for name in FLAGS},
    }


def own_change() -> SmtpChange:
    """The form of an account's own server, which has fewer fields. Without a choice the sender is left to the rules."""
    raw = {name: value for name, value in _raw(for_test=True).items() if name in own_server.TAKEN}
    if not raw["from_email"]:
        del raw["from_email"]
    return parse_change(raw)


def change(*, for_test: bool = False, keep_active: bool = False) -> SmtpChange:
    """The form as the change that the API would be sent; the texts of numbers become numbers.

    A test needs no name, and ``keep_active`` leaves that switch alone. Raises InvalidInput.
    """
    return parse_change(_raw(for_test=for_test, keep_active=keep_active))


def _raw(*, for_test: bool, keep_active: bool = False) -> dict[str, object]:
    raw: dict[str, object] = {name: _text(name) for name in VALUES}
    raw |= {name: number_or_text(_text(name).strip()) for name in NUMBERS}
    raw |= {name: "" if forms.ticked(KEPT + name) else forms.text(name) for name in SECRETS}
    raw |= {"client_certificate": forms.text("client_certificate")}
    raw |= {name: forms.ticked(name) for name in REMOVALS.values()}
    raw |= {"use_tls": _text(SECURITY) == Security.STARTTLS, "use_ssl": _text(SECURITY) == Security.TLS}
    if not for_test:
        raw |= {"name": forms.text("name"), "failover": forms.ticked("failover")}
        limits = {name: forms.text(name).strip() for name in LIMITS}
        raw |= {name: number_or_text(text) if text else None for name, text in limits.items()}
        raw |= {} if keep_active else {"is_active": forms.ticked("is_active")}
    if forms.text("version"):
        raw["version"] = number_or_text(forms.text("version"))
    return raw


def wants_message() -> bool:
    """Whether the test is to deliver a message."""
    return bool(_text("send"))


def are_changed_by_action() -> bool:
    """Whether it was an action of a failed test that was pressed."""
    return bool(_applied())


def at_fields(error: InvalidInput) -> dict[str, list[str]]:
    """The errors under the names of the form's fields."""
    return error.under({"use_tls": SECURITY, "use_ssl": SECURITY, "version": "form", "is_active": "form"}).errors


def _text(name: str) -> str:
    return _applied().get(name, forms.text(name))


def _applied() -> dict[str, str]:
    """What the pressed action changes; it can change nothing that has no place in the form."""
    pairs = parse_qsl(forms.text("apply"), keep_blank_values=True)
    return {name: text for name, text in pairs if name in APPLICABLE}


def _free_name(name: str) -> str:
    """“Copy of …”, numbered where that is taken."""
    start = f"Copy of {name}"[: LONGEST_NAME - 4].strip()
    candidates = [start, *(f"{start} {number}" for number in range(2, 100))]
    return next((free for free in candidates if not configs.find_by_name(free)), "")
