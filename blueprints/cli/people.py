"""`flask account invite | disable | enable | promote | demote | delete`: what the page of accounts does, in a shell."""

from typing import Protocol

import click

from blueprints.cli.accounts import account, named, public
from blueprints.cli.frame import answer, command
from services.accounts import administration
from services.accounts.accounts import Person
from services.accounts.administration import Belongings
from services.settings import route
from utils.numbers import counted

__all__ = ["account"]  # with what is added to it here


class _Work(Protocol):
    def __call__(self, account_id: int, /) -> Person: ...


@command(account, "invite")
@click.argument("username")
@click.argument("email", required=False)
@click.option("--admin", is_flag=True, help="Can change the mail settings.")
def invite(username: str, email: str | None, *, admin: bool, as_json: bool) -> None:
    """Email someone a link to choose a password.

    With an address, the account is created. Without one, USERNAME was already invited and gets another link. The link
    itself is never printed.
    """
    if email is not None:
        person = administration.invite(username, email, is_admin=admin)
    elif admin:
        raise click.UsageError("--admin is for a new account. For this one: flask account promote")
    else:
        person = administration.invite_again(named(username).id)
    sentence = f"A link for {person.username} is on its way to {person.email}. It works for 3 days."
    answer(as_json, public(person), sentence, *([route.NOTHING_IS_SENT] if route.is_suppressed() else []))


def _deed(name: str, work: _Work, done: str, text: str) -> None:
    """Add a command that does one thing with one account."""

    def run(username: str, *, as_json: bool) -> None:
        person = work(named(username).id)
        answer(as_json, public(person), done.format(person.username))

    run.__doc__ = f"{text}\n\nUSERNAME can also be the address."
    command(account, name)(click.argument("username")(run))


_deed(
    "disable",
    administration.disable,
    "{} is disabled. Sessions and API tokens have ended.",
    "Disable an account: no one can sign in with it.\n\nIts sessions, links and API tokens end, the password of its "
    "own mail server is deleted, and its queued email is held until the account is enabled. Everything else is kept.",
)
_deed(
    "enable",
    administration.enable,
    "{} can sign in again.",
    "Let a disabled account sign in again.\n\nIts held emails will be sent.",
)
_deed("promote", administration.promote, "{} is now an administrator.", "Make an account an administrator.")
_deed(
    "demote",
    administration.demote,
    "{} is no longer an administrator.",
    "Remove an administrator’s role.\n\nIts API tokens with the scope admin are revoked.",
)


@command(account, "delete")
@click.argument("username")
@click.option("--yes", is_flag=True, help="Skip the question.")
def delete(username: str, *, yes: bool, as_json: bool) -> None:
    """Delete an account and what belongs to it, after asking.

    USERNAME can also be the address. To keep everything and only stop the sign-in: flask account disable
    """
    person = named(username)
    if not yes:
        click.confirm(_question(person, administration.belongings(person.id)), abort=True, err=True)
    person = administration.delete(person.id, expected=person.username)
    answer(as_json, public(person), f"Deleted {person.username}.")


def _question(person: Person, goes: Belongings) -> str:
    counts = ((goes.tokens, "API token"), (goes.servers, "mail server"), (goes.waiting_mails, "waiting email"))
    with_it = ", ".join(counted(number, what) for number, what in counts if number)
    return f"Delete {person.username} ({person.email}) permanently{f', and with it {with_it}' if with_it else ''}?"
