"""`flask account mfa …`: the second factors of an account, for whoever is locked out."""

import click
from flask.cli import AppGroup

from blueprints.cli.accounts import named
from blueprints.cli.frame import answer, command
from services.factors import enrolment, ways
from services.factors.ways import Ways
from utils import clock
from utils.numbers import counted

mfa = AppGroup("mfa", help="See and reset the second factors of an account.")


@command(mfa, "show")
@click.argument("username")
def show(username: str, *, as_json: bool) -> None:
    """Show which second factors an account has.

    USERNAME can also be the address.
    """
    person = named(username)
    found = ways.of_account(person.id)
    answer(as_json, {"username": person.username, **_public(found)}, f"{person.username}: {_in_words(found)}.")


@command(mfa, "reset")
@click.argument("username")
def reset(username: str, *, as_json: bool) -> None:
    """Take every second factor from an account, and end its sessions.

    For someone who has lost phone and recovery codes: the password alone signs in again. USERNAME can also be the
    address.
    """
    person = named(username)
    before = enrolment.reset(person.id)
    told = f"Reset the second factor of {person.username} ({_in_words(before)}). All sessions have ended."
    answer(as_json, {"username": person.username, **_public(ways.of_account(person.id))}, told)


def _public(found: Ways) -> dict[str, object]:
    return {
        "authenticator_app": found.app_since is not None,
        "app_since": found.app_since,
        "app_last_used_at": found.app_used_at,
        "passkeys": found.passkeys,
        "recovery_codes_left": found.codes_left,
    }


def _in_words(found: Ways) -> str:
    if not found.has_second:
        return "no second factor"
    app = f"authenticator app since {clock.readable(found.app_since)}" if found.app_since else ""
    keys = counted(found.passkeys, "passkey") if found.passkeys else ""
    return ", ".join(filter(None, (app, keys, f"{counted(found.codes_left, 'recovery code')} left")))
