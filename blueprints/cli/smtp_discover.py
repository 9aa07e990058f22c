"""`flask smtp discover`: which server sends the mail of an address, as the form and the API find it."""

from collections.abc import Iterator
from typing import Final

import click

from blueprints.cli.frame import DONE, NOT_WELL, answer, command, leave
from services.providers import discovery
from services.providers.discovery import Discovery, Source
from services.smtp.settings import MODE_NAMES
from utils.log_utils import printable

_LONGEST: Final = 1000  # characters of a line


@command(None, "discover", exits={DONE: "found", NOT_WELL: "nothing was found"}, needs_tables=False)
@click.argument("address")
def discover(address: str, *, as_json: bool) -> None:
    """Find the mail server for an email address.

    ADDRESS can also be a domain, or the name of a provider. Asks DNS and the domain's own servers, for three seconds at
    most, sends the address to no one, and stores nothing.
    """
    found = discovery.discover(address)
    answer(as_json, discovery.told(found), *_lines(found))
    leave(NOT_WELL if found.source is Source.NONE else DONE)


def _lines(found: Discovery) -> Iterator[str]:
    values, provider = found.values, found.provider
    yield printable(found.message, _LONGEST)
    rows = {
        "Server": values.smtp_server,
        "Port": str(values.smtp_port or ""),
        "Encryption": MODE_NAMES[values.security] if values.security else "",
        "User name": values.smtp_username,
        "From address": values.from_email,
    }
    if found.source is not Source.NONE:
        yield from (f"  {label:<14}{printable(value, _LONGEST)}" for label, value in rows.items() if value)
        yield found.origin
    if provider and provider["obstacle"] not in found.message:
        yield provider["obstacle"]
    if provider and provider["docs_url"]:
        yield f"The provider’s own guide: {provider['docs_url']}"
