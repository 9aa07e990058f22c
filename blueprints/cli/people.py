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
@click.option("--admin", is_flag=True, help="May change the mail settings.")
def invite(username: str, email: str | None, *, admin: bool, as_json: bool) -> None:
    """Mail somebody a link to choose a password.

    With an address it makes the account. Without one, USERNAME was invited before and gets another link; the link
    itself is never printed.
    """
    if email is not None:
        person = administration.invite(username, email, is_admin=admin)
    elif admin:
        raise click.UsageError("--admin is for a new account. For this one: flask account promote")
    else:
        person = administration.invite_again(named(username).id)
    sentence = f"A link for {person.username} is on its way to {person.email}. It is good for 3 days."
    answer(as_json, public(person), sentence, *([route.NOTHING_IS_SENT] if route.is_suppressed() else []))


def _deed(name: str, work: _Work, done: str, text: str) -> None:
    """Add a command that does one thing with one account."""

    def run(username: str, *, as_json: bool) -> None:
        person = work(named(username).id)
        answer(as_json, public(person), done.format(person.username))

    run.__doc__ = f"{text}\n\nUSERNAME may be the address too."
    command(account, name)(click.argument("username")(run))


_deed(
    "disable",
    administration.disable,
    "{} is disabled. Sessions and API tokens have ended.",
    "Let nobody in with an account.\n\nIts sessions, links and API tokens end, the password of its own mail server is "
    "erased, and its queued mail is held until it is enabled. All else is kept.",
)
_deed(
    "enable",
    administration.enable,
    "{} can sign in again.",
    "Let a disabled account in again.\n\nMail that was held meanwhile goes on.",
)
_deed("promote", administration.promote, "{} is an administrator now.", "Make an account an administrator.")
_deed(
    "demote",
    administration.demote,
    "{} is no longer an administrator.",
    "Take the administrator role away.\n\nIts API tokens of the scope admin end.",
)


@command(account, "delete")
@click.argument("username")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(username: str, *, yes: bool, as_json: bool) -> None:
    """Delete an account and what belongs to it, after asking.

    USERNAME may be the address too. To lock somebody out and keep the rest: flask account disable
    """
    person = named(username)
    if not yes:
        click.confirm(_question(person, administration.belongings(person.id)), abort=True, err=True)
    person = administration.delete(person.id, expected=person.username)
    answer(as_json, public(person), f"The account {person.username} is deleted.")


def _question(person: Person, goes: Belongings) -> str:
    counts = ((goes.tokens, "API token"), (goes.servers, "mail server"), (goes.waiting_mails, "waiting email"))
    with_it = ", ".join(counted(number, what) for number, what in counts if number)
    return f"Delete {person.username} ({person.email}) for good{f', and with it {with_it}' if with_it else ''}?"
