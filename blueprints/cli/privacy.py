"""`flask privacy export | forget`: what is held about an address, and forgetting it."""

from dataclasses import asdict

import click
from flask.cli import AppGroup

from blueprints.cli.frame import NOT_WELL, answer, command, leave, print_json
from blueprints.privacy_words import held_in_words, left_in_words, told_in_words
from services.privacy import export as person_export
from services.privacy import forgetting

privacy = AppGroup("privacy", help="Export what is stored about an address, or delete the address.")


@command(privacy, "export")
@click.argument("address")
def export(address: str, *, as_json: bool) -> None:
    """Print what is stored about an address.

    It is JSON, with or without --json. Of an email, other recipients are left out.
    """
    print_json(person_export.export(address))


@command(privacy, "forget", exits={NOT_WELL: "done, but some of it still uses the address"})
@click.argument("address")
@click.option("--yes", is_flag=True, help="Skip the question.")
def forget(address: str, *, yes: bool, as_json: bool) -> None:
    """Replace an address with a pseudonym.

    Email that waits for this address alone is cancelled. A suppressed address stays suppressed. This cannot be undone.
    """
    if not yes:
        found = "; ".join(held_in_words(person_export.held(address))) or "Nothing is stored"
        click.confirm(f"{found}. Replace {address} everywhere? This cannot be undone.", abort=True, err=True)
    told = forgetting.forget(address)
    answer(as_json, asdict(told), told_in_words(told), *left_in_words(told))
    if not told.is_whole:
        leave(NOT_WELL)
