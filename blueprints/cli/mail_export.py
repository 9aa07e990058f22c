"""`flask mail export`: the mail log as CSV or JSON, all that its options find."""

from collections.abc import Callable
from typing import Final

import click

from blueprints import mail_export
from blueprints.cli.frame import command
from blueprints.mail_export import ExportForm, ExportPlan
from services.outbox import searching
from services.outbox.facts import State
from utils.errors import InvalidInput

_OPTIONS: Final = {
    "recipient": ("ADDRESS", "To this address, or to this domain."),
    "message-id": ("ID", "With this Message-ID."),
    "tag": ("TAG", "With this tag."),
    "server": ("SERVER", "Tried at this server, as the log calls it: “name (host:port)”."),
    "account": ("NUMBER", "Of this account."),
    "since": ("TIME", "Queued at this time or later, like 2026-12-24T08:00. In UTC."),
    "until": ("TIME", "Queued before this time."),
    "reason": ("CODE", "For this reason, like no_recipient."),
}
_NAMES: Final = {"account": "account_id", "reason": "cause"}  # of the filter, where the option is called otherwise
_FORMS: Final = click.Choice([form.value for form in ExportForm])
_STATES: Final = click.Choice([state.value for state in State])


def _filter_options(work: Callable[..., None]) -> Callable[..., None]:
    for name, (metavar, told) in reversed(_OPTIONS.items()):
        work = click.option(f"--{name}", default="", metavar=metavar, help=told)(work)
    return work


@command(None, "export")
@click.option("--format", "form", type=_FORMS, default=ExportForm.CSV.value, show_default=True, help="The format.")
@click.option("--state", "states", type=_STATES, multiple=True, metavar="STATE", help="Filter by state. Repeatable.")
@_filter_options
@click.option("--direct", is_flag=True, help="Email sent directly, without the queue.")
@click.option("--whole-addresses", is_flag=True, help="Print whole addresses. The audit trail notes it.")
def export(
    *, form: str, states: tuple[str, ...], direct: bool, whole_addresses: bool, as_json: bool, **given: str
) -> None:
    """Print the mail log as CSV or JSON, newest first.

    Addresses are masked, like j***@example.com, unless you ask for whole ones.
    """
    args = {_NAMES.get(name, name): text for name, text in given.items()} | {"state": ",".join(states)}
    try:
        wanted = searching.parse(args)
    except InvalidInput as refused:
        raise refused.under({"cause": "reason", "account_id": "account"}) from None
    plan = ExportPlan(
        wanted=wanted,
        form=ExportForm.JSON if as_json else ExportForm(form),
        is_direct=direct,
        has_whole_addresses=whole_addresses,
    )
    for piece in mail_export.pieces(plan):
        click.echo(piece, nl=False)
