"""The options of `flask smtp add` and `edit`, and how they become a change in the fields of the API."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from blueprints.cli.frame import password_options
from services.settings import fields as smtp_fields
from services.settings import route
from services.settings.table import LIMITS, OPTIONS
from services.smtp.settings import LONGEST_TIMEOUT
from utils.errors import refused_under

_MODES: Final = {
    "starttls": {"use_tls": True},
    "tls": {"use_ssl": True},
    "none": {"use_tls": False, "use_ssl": False},
}
named_by_option: Final = partial(refused_under, OPTIONS)
AUTOMATIC: Final = "automatic"
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def settings_options(work: Callable[..., None]) -> Callable[..., None]:
    """The options of `add` and `edit`, in the order in which people know the answers."""
    modes = "starttls: encrypted after the greeting. tls: from the start. Default: tls on port 465, else starttls."
    timeout = f"Seconds to wait for each reply, 1 to {LONGEST_TIMEOUT}. Default: 10."
    methods = [AUTOMATIC, *filter(None, smtp_fields.AUTH_METHODS)]
    options: list[Callable[[Any], Any]] = [
        _option("smtp_server", "Host name or IP address of the server.", metavar="HOST"),
        _option("smtp_port", "Usually 587 (starttls) or 465 (tls).", type=int, metavar="N"),
        click.option("--security", type=click.Choice(list(_MODES)), help=modes),
        _option("smtp_username", '"" for a server that needs no sign-in.', metavar="TEXT"),
        _option("from_email", "The From address.", metavar="ADDRESS"),
        _option("from_name", "The From name.", metavar="TEXT"),
        _option("reply_to", "Where replies go, if not to --from.", metavar="ADDRESS"),
        _option("helo_hostname", "The EHLO name. Default: the host in BASE_URL, or the From domain.", metavar="HOST"),
        _option("timeout_seconds", timeout, type=int, metavar="N"),
        _option("auth_method", f"Default: {AUTOMATIC}, the best the server offers.", type=click.Choice(methods)),
        click.option(
            "--failover/--no-failover", default=None, help="Whether to use the next server while this one is down."
        ),
        _option("emails_per_minute", "Maximum. 0: use EMAILS_PER_MINUTE.", type=int, metavar="N"),
        _option("emails_per_day", "Maximum. 0: use EMAILS_PER_DAY.", type=int, metavar="N"),
        password_options,
        _option(
            "client_certificate",
            "PEM, for servers that require one; your own certificate first. It can also contain the key.",
            type=_FILE,
            metavar="FILE",
        ),
        _option("client_key", "Its private key, as PEM without a passphrase.", type=_FILE, metavar="FILE"),
    ]
    for option in reversed(options):
        work = option(work)
    return work


def _option(field: str, told: str, **more: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - whatever click takes
    return click.option(OPTIONS[field], field, help=told, **more)


def change_of(fields: Mapping[str, object]) -> dict[str, object]:
    """The options that are given, as the fields of the API; of a file, its text. Raises InvalidInput."""
    said = {name: value for name, value in fields.items() if value is not None}
    security = said.pop("security", None)
    files: list[str] = [name for name in ("client_certificate", "client_key") if name in said]
    said |= route.identity_in({name: str(said.pop(name)) for name in files})
    unlimited = {name: None for name in LIMITS if said.get(name) == 0}
    if said.get("auth_method") == AUTOMATIC:
        said["auth_method"] = ""
    return {**said, **unlimited, **(_MODES[str(security)] if security else {})}
