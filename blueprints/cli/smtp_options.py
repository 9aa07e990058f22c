"""The options of `flask smtp add` and `edit`, and how they become a change in the fields of the API."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from blueprints.cli.frame import password_options
from services.settings import fields as smtp_fields
from services.settings import route
from utils.errors import InvalidInput

_MODES: Final = {
    "starttls": {"use_tls": True},
    "tls": {"use_ssl": True},
    "none": {"use_tls": False, "use_ssl": False},
}
AUTOMATIC: Final = "automatic"
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
OPTIONS: Final = {
    "name": "name",
    "smtp_server": "--host",
    "smtp_port": "--port",
    "use_tls": "--security",
    "use_ssl": "--security",
    "smtp_username": "--username",
    "smtp_password": "password",
    "from_email": "--from",
    "from_name": "--from-name",
    "reply_to": "--reply-to",
    "helo_hostname": "--ehlo-name",
    "timeout_seconds": "--timeout",
    "emails_per_minute": "--emails-per-minute",
    "emails_per_day": "--emails-per-day",
    "client_certificate": "--client-certificate",
    "client_key": "--client-key",
}


def settings_options(work: Callable[..., None]) -> Callable[..., None]:
    """The options of `add` and `edit`, in the order in which people know the answers."""
    options: list[Callable[[Any], Any]] = [
        click.option("--host", "smtp_server", metavar="HOST", help="Name or address of the server."),
        click.option("--port", "smtp_port", type=int, metavar="N", help="Usually 587 (starttls) or 465 (tls)."),
        click.option(
            "--security",
            type=click.Choice(list(_MODES)),
            help="starttls: encrypted after the greeting; tls: from the first byte. "
            "Without it: tls on port 465, else starttls.",
        ),
        click.option("--username", "smtp_username", metavar="TEXT", help='"" for a relay without login.'),
        click.option("--from", "from_email", metavar="ADDRESS", help="The address that mails come from."),
        click.option("--from-name", metavar="TEXT", help="The name beside it."),
        click.option("--reply-to", metavar="ADDRESS", help="Where replies go, if not to --from."),
        click.option(
            "--ehlo-name", "helo_hostname", metavar="HOST", help="Said in EHLO, instead of BASE_URL's host or --from's."
        ),
        click.option(
            "--timeout",
            "timeout_seconds",
            type=int,
            metavar="N",
            help=f"Longest wait for one answer, 1 to {smtp_fields.LONGEST_TIMEOUT} seconds; at first 10.",
        ),
        click.option(
            "--auth-method",
            type=click.Choice([AUTOMATIC, *filter(None, smtp_fields.AUTH_METHODS)]),
            help=f"At first {AUTOMATIC}: the best that the server offers.",
        ),
        click.option(
            "--failover/--no-failover", default=None, help="Whether the next server sends while this one is down."
        ),
        click.option("--emails-per-minute", type=int, metavar="N", help="The most; 0: as EMAILS_PER_MINUTE says."),
        click.option("--emails-per-day", type=int, metavar="N", help="The most; 0: as EMAILS_PER_DAY says."),
        password_options,
        click.option(
            "--client-certificate",
            type=_FILE,
            metavar="FILE",
            help="PEM, for servers that ask for one; your own certificate first. It may hold the key, too.",
        ),
        click.option("--client-key", type=_FILE, metavar="FILE", help="Its private key: PEM without a passphrase."),
    ]
    for option in reversed(options):
        work = option(work)
    return work


def change_of(fields: Mapping[str, object], **more: object) -> dict[str, object]:
    """The given options as the fields of the API."""
    said = given(**fields, **more)
    security = said.pop("security", None)
    said |= _identity(said.pop("client_certificate", None), said.pop("client_key", None))
    unlimited = {name: None for name in ("emails_per_minute", "emails_per_day") if said.get(name) == 0}
    if said.get("auth_method") == AUTOMATIC:
        said["auth_method"] = ""
    return {**said, **unlimited, **(_MODES[str(security)] if security else {})}


def _identity(certificate: object, key: object) -> dict[str, object]:
    """The texts of the files that are given. Raises InvalidInput."""
    files = {"client_certificate": certificate, "client_key": key}
    return route.identity_in({field: str(file) for field, file in files.items() if file})


def given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def named_by_option(names: Mapping[str, str] = OPTIONS) -> Iterator[None]:
    """Let a refusal name the option, or the variable, where the service names a field."""
    try:
        yield
    except InvalidInput as refused:
        errors: dict[str, list[str]] = {}
        for field, texts in refused.errors.items():
            errors.setdefault(names.get(field, field), []).extend(texts)
        raise InvalidInput(errors) from None
