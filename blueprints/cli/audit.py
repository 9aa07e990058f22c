"""`flask audit`: who did what, when and from where."""

from typing import Final

import click

from blueprints.cli.frame import answer, command, limit_option, table
from blueprints.csv_lines import COLUMNS, csv_line
from services import audit as trail
from services.audit import Action
from utils import clock

FIELDS: Final = ("actor", "source", "action", "subject", "details")


@command(None, "audit")
@click.option(
    "--action",
    type=click.Choice([action.value for action in Action]),
    metavar="ACTION",
    help=f"Filter by action: {', '.join(Action)}.",
)
@click.option("--text", default="", metavar="TEXT", help="Filter by who, where or subject.")
@limit_option(trail.EXPORT_LIMIT)
@click.option("--csv", "as_csv", is_flag=True, help="Print as CSV, for a spreadsheet.")
def audit(*, action: str | None, text: str, limit: int, as_csv: bool, as_json: bool) -> None:
    """Show the audit trail: who did what, when and from where, newest first.

    It contains the names of changed fields, never a secret.
    """
    if as_csv and as_json:
        raise click.UsageError("Pass either --json or --csv, not both.")
    events = trail.events(action=action or "", text=text, limit=limit)
    told = [{name: getattr(event, name) for name in ("at", *FIELDS)} for event in events]
    found = [(clock.in_lists(event.at), *(str(getattr(event, name)) for name in FIELDS)) for event in events]
    if as_csv:
        click.echo("".join(csv_line(cells) for cells in [COLUMNS, *found]), nl=False)
    else:
        answer(as_json, told, *table(("When (UTC)", "Who", "Where", "Action", "Subject", "Details"), found))
