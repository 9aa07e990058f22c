"""The commands: `flask account …`. A thin shell around the services; nothing here migrates."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Final, ParamSpec

import click
from flask import Flask
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from services import accounts
from services.accounts import Person
from utils.errors import AppError, InvalidInput

P = ParamSpec("P")

_NO_DATABASE: Final = "The database cannot be used. Check DATABASE_URL and run: flask db upgrade"

account = AppGroup("account", help="Create accounts, list them, reset a password.")
_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input instead of asking."
)


def register(app: Flask) -> None:
    app.cli.add_command(account)


def _in_one_line(command: Callable[P, None]) -> Callable[P, None]:
    """Failures as one line on standard error and exit code 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except InvalidInput as refused:
            faults = [f"{field}: {' '.join(texts)}" for field, texts in refused.errors.items()]
            raise click.ClickException("; ".join(faults)) from None
        except AppError as refused:
            raise click.ClickException(refused.message) from None
        except DBAPIError:
            raise click.ClickException(_NO_DATABASE) from None

    return run


@account.command("create")
@click.argument("username")
@click.argument("email")
@click.option("--admin", is_flag=True, help="May change the mail settings.")
@_password_stdin
@_in_one_line
def create(username: str, email: str, *, admin: bool, password_stdin: bool) -> None:
    """Create an account. The password is asked for, twice, and never an argument."""
    person = accounts.create(username, email, _read_password(password_stdin), is_admin=admin)
    click.echo(f"Created {'administrator' if person.is_admin else 'account'} {person.username}.")


@account.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_in_one_line
def list_accounts(*, as_json: bool) -> None:
    """List the accounts."""
    people = accounts.everybody()
    if as_json:
        click.echo(json.dumps([_public(person) for person in people], indent=2))
        return
    rows = [("User name", "Email", "Role", "Last sign-in"), *map(_row, people)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@account.command("reset-password")
@click.argument("username")
@_password_stdin
@_in_one_line
def reset_password(username: str, *, password_stdin: bool) -> None:
    """Give an account a new password, and end its sessions. USERNAME may be the address too."""
    person = accounts.reset_password(username, _read_password(password_stdin))
    click.echo(f"Changed the password of {person.username}. All sessions have ended.")


def _read_password(from_stdin: bool) -> str:
    """The password, without the line end after it and otherwise as it is."""
    if not from_stdin:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise click.ClickException("The password on standard input is not UTF-8.") from None
    return text.removesuffix("\n").removesuffix("\r")


def _public(person: Person) -> dict[str, object]:
    shown = asdict(person)
    del shown["session_epoch"]
    for moment in ("created_at", "last_sign_in_at"):
        shown[moment] = shown[moment].isoformat() if shown[moment] else None
    return shown


def _row(person: Person) -> tuple[str, str, str, str]:
    signed_in = f"{person.last_sign_in_at:%Y-%m-%d %H:%M} UTC" if person.last_sign_in_at else "never"
    return (person.username, person.email, "administrator" if person.is_admin else "", signed_in)
