"""`flask smtp activate`: asks before mail is made to go through a server that is down, or that nobody has tried."""

import sys
from typing import Final

import click

from blueprints.cli.frame import answer, command
from blueprints.cli.smtp import named, where_mail_goes
from blueprints.cli.smtp_checks import result_lines, tested
from blueprints.cli.smtp_options import named_by_option
from services.settings import configs, health, route
from services.settings.health import Health
from services.settings.sealing import StoredConfig
from services.settings.shown import public_dict
from utils.errors import Conflict

TEST, ACTIVATE, CANCEL = "test", "activate", "cancel"
WITHOUT_ASKING: Final = "Test it first: flask smtp test {}. To activate it all the same, add --yes."


@command(None, "activate")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Skip the question.")
def activate(name: str, *, yes: bool, as_json: bool) -> None:
    """Make a mail server the active one.

    Every process uses it from the next email; no restart is needed. NAME can also be its id. If the server is down, or
    was never tested, you are asked first and can test it.
    """
    stored = named(name)
    found = health.of_config(stored)
    if stored.is_usable and found.is_doubtful and not stored.row.is_active and not yes:
        _ask(stored, found)
    with named_by_option():
        stored = configs.activate(stored.row.id, version=stored.row.version)
    answer(as_json, public_dict(stored), where_mail_goes())


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _ask(stored: StoredConfig, found: Health) -> None:
    """Ask whether to go on; a test that passes is the answer. Raises Abort, and Conflict where nobody can be asked."""
    told = f"“{stored.row.name}”: {found.sentence}"
    if not is_terminal():
        raise Conflict(f"{told} {WITHOUT_ASKING.format(stored.row.id)}")
    click.echo(told, err=True)
    choice = click.prompt("Test it first?", type=click.Choice([TEST, ACTIVATE, CANCEL]), default=TEST, err=True)
    if choice == ACTIVATE:
        return
    if choice == CANCEL:
        raise click.Abort
    result = tested(route.step_of(stored), stored.settings, err=True)
    click.echo("\n".join(result_lines(result, "")), err=True)
    if not result.ok:
        click.confirm("Activate it all the same?", abort=True, err=True)
