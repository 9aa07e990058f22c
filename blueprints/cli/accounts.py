"""`flask account …` and `flask token …`: who may sign in, and with which tokens scripts may call."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
from flask.cli import AppGroup

from blueprints.cli.frame import (
    answer,
    command,
    given_password,
    password_options,
    print_json,
    prompted_password,
    table,
)
from services.accounts import accounts, api_tokens, sessions, signing_in
from services.accounts.accounts import Person
from services.accounts.api_tokens import Scope, TokenInfo
from services.accounts.sessions import SessionInfo
from utils import clock
from utils.errors import NotFound

account = AppGroup("account", help="Create, invite, list, change and delete accounts; passwords and sessions.")
token = AppGroup("token", help="Create, list and revoke the API tokens of accounts.")


@command(account, "create")
@click.argument("username")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Can change the mail settings.")
@password_options
def create(
    username: str, email: str, *, admin: bool, password_stdin: bool, password_file: Path | None, as_json: bool
) -> None:
    """Create an account.

    You are asked for the password, twice, unless an option says where it is. Never pass it as an argument.
    """
    password = _new_password(password_stdin, password_file)
    person = accounts.create(username, email, password, is_admin=admin)
    told = f"Created {'administrator' if person.is_admin else 'account'} {person.username}."
    answer(as_json, public(person), told)


@command(account, "list")
def list_accounts(*, as_json: bool) -> None:
    """List the accounts."""
    people = accounts.everybody()
    told = table(("User name", "Email", "Role", "Last sign-in"), [_row(person) for person in people])
    answer(as_json, [public(person) for person in people], *told)


@command(account, "reset-password")
@click.argument("username")
@password_options
def reset_password(username: str, *, password_stdin: bool, password_file: Path | None, as_json: bool) -> None:
    """Set a new password for an account, and end its sessions.

    USERNAME can also be the address.
    """
    person = accounts.reset_password(username, _new_password(password_stdin, password_file))
    told = f"Changed the password of {person.username}. All sessions have ended."
    answer(as_json, public(person), told)


@command(account, "unlock")
@click.argument("username")
def unlock(username: str, *, as_json: bool) -> None:
    """Let an account sign in again after too many wrong passwords.

    USERNAME can also be the address.
    """
    person = signing_in.unlock(username)
    answer(as_json, public(person), f"{person.username} can sign in from any browser again.")


@command(account, "sessions")
@click.argument("username")
def list_sessions(username: str, *, as_json: bool) -> None:
    """List the browsers in which an account is signed in."""
    found = sessions.of_account(named(username).id)
    rows = [
        (each.browser, each.address, _moment(each.created_at), _moment(each.last_seen_at), _kept(each))
        for each in found
    ]
    told = table(("Browser", "Address", "Signed in", "Last seen", ""), rows)
    answer(as_json, [_session_dict(each) for each in found], *told)


@command(account, "end-sessions")
@click.argument("username", required=False)
@click.option("--everyone", is_flag=True, help="Instead of USERNAME: sign every account out.")
@click.option("--tokens", is_flag=True, help="Also revoke the account’s API tokens.")
def end_sessions(username: str | None, *, everyone: bool, tokens: bool, as_json: bool) -> None:
    """Sign an account out everywhere, or every account."""
    if everyone == (username is not None):
        raise click.UsageError("Name an account, or use --everyone.")
    if username is None:
        ended = sum(sessions.end_all(person.id, with_tokens=tokens) for person in accounts.everybody())
        answer(as_json, {"sessions_ended": ended}, f"Ended {ended} sessions of all accounts.")
        return
    person = named(username)
    ended = sessions.end_all(person.id, with_tokens=tokens)
    told = f"Ended {ended} sessions of {person.username}{' and revoked the API tokens' if tokens else ''}."
    answer(as_json, {"username": person.username, "sessions_ended": ended}, told)


@command(token, "create")
@click.argument("name")
@click.option(
    "--owner", required=True, metavar="USER", help="The account that the token belongs to: user name or address."
)
@click.option("--days", type=int, metavar="N", help="Days until it expires. Default: never.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it allows. Repeatable.",
)
def create_token(name: str, *, owner: str, days: int | None, scopes: tuple[str, ...], as_json: bool) -> None:
    "Create a token and print it, only this once.\n\n    Without --scope it allows everything that an"
    "administrator can do. Other accounts can have: send (email in their name), settings\n    (their own "
    "server and senders), read (their emails).\n\n    Standard output gets only the token, so that it can go "
    "straight into a file:\n    flask token create deploy --owner alice > token\n    "
    person = named(owner)
    if not (scopes or person.is_admin):
        raise click.UsageError(
            f"{person.username} is not an administrator. Say what the token allows, like: --scope send"
        )
    text, made = api_tokens.create(person.id, name, days, scopes or (Scope.ADMIN,))
    if as_json:
        print_json({**_token_dict(made), "token": text})
        return
    click.echo(
        f"The token {made.name} of {made.owner}, for {_scopes(made)}, {_until(made)}. It will not be shown again:",
        err=True,
    )
    click.echo(text)


@command(token, "list")
def list_tokens(*, as_json: bool) -> None:
    """List the tokens, newest first. The tokens themselves are not stored."""
    tokens = api_tokens.every()
    rows = [
        (
            str(each.id),
            each.name,
            each.owner,
            _scopes(each),
            f"{each.prefix}…",
            _until(each),
            _moment(each.last_used_at, "never"),
        )
        for each in tokens
    ]
    told = table(("Id", "Name", "Owner", "Scopes", "Begins with", "State", "Last used"), rows)
    answer(as_json, [_token_dict(each) for each in tokens], *told)


@command(token, "revoke")
@click.argument("token_id", metavar="ID", type=int)
def revoke_token(token_id: int, *, as_json: bool) -> None:
    """Revoke a token for good. ID is the number that `flask token list` shows."""
    ended = api_tokens.revoke(token_id)
    answer(as_json, _token_dict(ended), f"Revoked the token {ended.name} of {ended.owner}.")


def named(login: str) -> Person:
    """The account with this user name or address. Raises NotFound."""
    person = accounts.find_by_login(login)
    if person is None:
        raise NotFound("No such account. See: flask account list")
    return person


def _new_password(from_stdin: bool, file: Path | None) -> str:
    given = given_password(from_stdin, file)
    return prompted_password(twice=True) if given is None else given


def public(person: Person) -> dict[str, object]:
    shown = asdict(person)
    del shown["session_epoch"]
    return shown


def _session_dict(info: SessionInfo) -> dict[str, object]:
    told = ("browser", "address", "created_at", "last_seen_at", "is_remembered")
    return {name: getattr(info, name) for name in told}


def _kept(info: SessionInfo) -> str:
    return "kept signed in" if info.is_remembered else ""


def _token_dict(info: TokenInfo) -> dict[str, object]:
    return {**asdict(info), "is_good": info.is_good}


def _row(person: Person) -> tuple[str, str, str, str]:
    state = "disabled" if person.disabled_at else "invited" if person.is_invited else ""
    role = ", ".join(filter(None, ("administrator" if person.is_admin else "", state)))
    return person.username, person.email, role, _moment(person.last_sign_in_at, "never")


def _scopes(info: TokenInfo) -> str:
    return ", ".join(info.scopes)


def _until(info: TokenInfo) -> str:
    if info.revoked_at:
        return f"revoked {_moment(info.revoked_at)}"
    if not info.expires_at:
        return "never expires"
    return f"{'expires' if info.is_good else 'expired'} {_moment(info.expires_at)}"


def _moment(moment: datetime | None, otherwise: str = "") -> str:
    return clock.readable(moment) if moment else otherwise
