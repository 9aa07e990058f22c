"""`flask smtp personal …` and `flask smtp policy`: accounts' own servers, and what is allowed of them."""

from dataclasses import asdict
from typing import Final

import click
from flask.cli import AppGroup

from blueprints.cli.accounts import named
from blueprints.cli.frame import answer, command, table
from services.personal import oversight, policy_changes
from services.personal.oversight import Decision, OwnServerFacts, Shown
from services.settings import personal_policy
from services.settings.personal_policy import Allowed, AllowedSignIn, Fallback, PersonalRules
from utils import clock
from utils.personal_env import MOST_EMAILS, VARIABLES

personal = AppGroup("personal", help="Show accounts' own servers, and decide about them.")

HEADINGS: Final = ("Account", "Status", "Server", "From", "Last success (UTC)", "24 h", "Fell back", "Last error")
NONE_FOUND: Final = "No account has its own server."
_MOST: Final = 10_000  # rows of a list
_WAYS: Final = {
    "disable": (
        Decision.DISABLED,
        "The server of {} is no longer used.",
        "Stop using an account's own server, as if it were broken.",
    ),
    "enable": (Decision.OWN, "{} may use its own server again.", "Let an account use its own server again."),
    "global": (
        Decision.GLOBAL,
        "The global server now sends for {}.",
        "Always send through the global server for an account.",
    ),
}


@command(personal, "list")
@click.option("--search", default="", metavar="TEXT", help="Filter by user name, address, host or From.")
@click.option("--all", "every", is_flag=True, help="Also show accounts without their own server.")
def list_own(*, search: str, every: bool, as_json: bool) -> None:
    """List the accounts with their own server, or with a decision about it."""
    found = oversight.search(search, shown=Shown.ALL if every else Shown.SERVERS, limit=_MOST).rows
    told = table(HEADINGS, [_row(facts) for facts in found]) if found else [NONE_FOUND]
    answer(as_json, [asdict(facts) for facts in found], *told)


def _deciding(name: str) -> None:
    """Add a command that decides about one account's server."""
    decision, done, text = _WAYS[name]

    def run(account: str, *, as_json: bool) -> None:
        facts = oversight.decide(named(account).id, decision)
        answer(as_json, asdict(facts), done.format(facts.username))

    run.__doc__ = f"{text}\n\nACCOUNT is a user name or an address."
    command(personal, name)(click.argument("account")(run))


for _name in _WAYS:
    _deciding(_name)


@command(personal, "delete")
@click.argument("account")
@click.option("--yes", is_flag=True, help="Skip the question.")
def delete(account: str, *, yes: bool, as_json: bool) -> None:
    """Permanently delete an account's own server and its sealed password, after asking.

    ACCOUNT is a user name or an address.
    """
    facts = oversight.get(named(account).id)
    if facts.host and not yes:
        click.confirm(f"Permanently delete {facts.host}, the server of {facts.username}?", abort=True, err=True)
    facts = oversight.delete_server(facts.account_id, version=facts.version, config_id=facts.config_id)
    answer(as_json, asdict(facts), f"Deleted the server of {facts.username}.")


@click.option(
    "--allowed", type=click.Choice([str(choice) for choice in Allowed]), help="Which servers accounts may use."
)
@click.option("--hosts", metavar="HOSTS", help="Hosts and domains, separated by commas. Used if --allowed is named.")
@click.option(
    "--sign-in",
    type=click.Choice([str(choice) for choice in AllowedSignIn]),
    help="How accounts sign in to their servers. token: by OAuth only.",
)
@click.option(
    "--fallback", type=click.Choice([str(choice) for choice in Fallback]), help="When to use the global server instead."
)
@click.option("--emails-per-minute", type=click.IntRange(0, MOST_EMAILS), help="Maximum for each account. 0: no limit.")
@click.option("--emails-per-day", type=click.IntRange(0, MOST_EMAILS), help="Maximum for each account. 0: no limit.")
@click.option(
    "--fallback-per-minute", type=click.IntRange(0, MOST_EMAILS), help="Maximum of these through the global server."
)
@click.option(
    "--fallback-per-day", type=click.IntRange(0, MOST_EMAILS), help="Maximum of these through the global server."
)
def _policy(*, as_json: bool, **given: object) -> None:
    """Show the policy for accounts' own servers, or change it.

    What the environment fixes is marked, and cannot be changed here.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    rules = policy_changes.save(changes) if changes else personal_policy.current()
    answer(as_json, _rules_dict(rules), *(_rule_line(rules, name) for name in VARIABLES))


policy = command(None, "policy")(_policy)


def _rules_dict(rules: PersonalRules) -> dict[str, object]:
    return asdict(rules) | {"hosts": list(rules.hosts), "fixed": sorted(rules.fixed)}


def _rule_line(rules: PersonalRules, name: str) -> str:
    value = getattr(rules, name)
    text = ", ".join(value) or "-" if name == "hosts" else str(value)
    return f"{name + ':':20} {text}" + (f"  (fixed by {VARIABLES[name]})" if name in rules.fixed else "")


def _row(facts: OwnServerFacts) -> list[str]:
    return [
        facts.username,
        facts.word,
        f"{facts.host}:{facts.port}" if facts.host else "",
        facts.from_email,
        clock.in_lists(facts.last_success) if facts.last_success else "",
        str(facts.sent_today),
        str(facts.fell_back),
        facts.last_error or facts.unused_words,
    ]
