"""`flask suppression list | add | remove | import | export`: addresses that get no mail."""

from collections.abc import Sequence
from itertools import chain
from typing import Final, TextIO

import click
from flask.cli import AppGroup

from blueprints.cli.frame import answer, command, limit_option, table
from blueprints.csv_lines import csv_line
from services import audit
from services.audit import Action
from services.suppression import entries, exchange
from services.suppression.entries import MOST_DAYS, EntryData
from services.suppression.listing import Cause
from utils import clock
from utils.json_shapes import json_of

suppression = AppGroup("suppression", help="List, add and remove addresses that get no mail.")

_BY_HAND: Final = [cause.value for cause in Cause if cause is not Cause.REFUSED]


@command(suppression, "list")
@click.argument("asked", required=False, default="", metavar="[ADDRESS|DOMAIN]")
@limit_option(entries.MOST)
def show(asked: str, *, limit: int, as_json: bool) -> None:
    """List suppressed addresses, newest first."""
    found, _ = entries.page(asked, limit=limit)
    rows = [
        (
            each.address,
            each.reason,
            each.source,
            clock.in_lists(each.listed_at),
            clock.in_lists(each.ends_at) if each.ends_at else "-",
            str(each.account_id or "-"),
        )
        for each in found
    ]
    lines = table(("Address", "Reason", "Source", "Listed (UTC)", "Ends (UTC)", "Account"), rows)
    answer(as_json, [json_of(EntryData, each) for each in found], *(lines if rows else ["No address is listed."]))


@command(suppression, "add")
@click.argument("address")
@click.option("--reason", type=click.Choice(_BY_HAND), default=Cause.MANUAL.value, show_default=True, help="Why.")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), metavar="N", help="For how long. Default: until removed.")
@click.option("--note", default="", metavar="TEXT", help="A note for administrators.")
def add(address: str, *, reason: str, days: int | None, note: str, as_json: bool) -> None:
    """Suppress an address.

    Only security email is sent to it from now on. One that is listed is changed.
    """
    entry = entries.add(address, Cause(reason), days=days, note=note)
    answer(as_json, json_of(EntryData, entry), f"Added {entry.address}.")


@command(suppression, "remove")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--domain", default="", metavar="DOMAIN", help="All addresses of a domain.")
@click.option("--all", "every", is_flag=True, help="All addresses.")
@click.option("--yes", is_flag=True, help="Skip the question.")
def remove(addresses: Sequence[str], *, domain: str, every: bool, yes: bool, as_json: bool) -> None:
    """Remove addresses from the list.

    Email is sent to them again.
    """
    if sum((bool(addresses), bool(domain), every)) != 1:
        raise click.UsageError("Pass addresses, --domain or --all.")
    if every and not yes:
        click.confirm(f"Remove all addresses ({entries.in_words(entries.count())})?", abort=True, err=True)
    if addresses:
        removed = sum([entries.remove_address(address) for address in addresses])
    else:
        removed = entries.remove_everything() if every else entries.remove_domain(domain)
    answer(as_json, {"removed": removed}, f"{entries.in_words(removed)} removed.")


@command(suppression, "import")
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"))
def import_table(file: TextIO, *, as_json: bool) -> None:
    """Add the addresses of a CSV file.

    - reads standard input. A heading names the columns: address or email, and perhaps reason, ends at and note. Exports
    of mail providers work as they are.
    """
    told = exchange.read(file)
    data = {"added": told.added, "known": told.known, "refused": told.refused}
    lines = [f"Line {each.number}: {each.why}" for each in told.first_refused]
    answer(as_json, data | {"lines": [each._asdict() for each in told.first_refused]}, told.sentence, *lines)


@command(suppression, "export")
def export(*, as_json: bool) -> None:
    """Print the list as CSV."""
    audit.note(Action.VIEWED, exchange.SUBJECT)
    if as_json:
        answer(True, [json_of(EntryData, each) for each in entries.every()])
        return
    for cells in chain([exchange.COLUMNS], exchange.rows()):
        click.echo(csv_line(cells), nl=False)
