"""`flask smtp …`: the stored configurations. What is only looked at or tried is in `smtp_checks`."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from flask.cli import AppGroup

from blueprints.cli.frame import answer, command, given_password, print_json, prompted_password, table
from blueprints.cli.smtp_options import change_of, named_by_option, settings_options
from services.settings import config_trail, configs, route, server_habits, state
from services.settings.fields import parse_change
from services.settings.route import RouteStep
from services.settings.sealing import StoredConfig
from services.settings.shown import public_dict, public_dicts
from services.settings.state import ConfigFacts
from services.settings.table import SECRETS, VALUES, VARIABLES
from services.smtp.settings import TOKEN_METHOD, Security, SmtpSettings
from utils.env_utils import get_settings
from utils.errors import NotFound, refused_under
from utils.numbers import whole_number

smtp = AppGroup("smtp", help="Set up, test and switch mail servers.")

HEADINGS: Final = (
    "Id",
    "Name",
    "Status",
    "Server",
    "Encryption",
    "Sign-in",
    "From",
    "Verified (UTC)",
    "Last error",
    "Ends next (UTC)",
    "Updated (UTC)",
    "By",
)
IMPORTED_NAME: Final = "Primary Mail Server"
ENV_LINES: Final = tuple(dict.fromkeys(VARIABLES.values()))
NONE_FOUND: Final = "No mail server matches."
NONE_STORED: Final = "No mail server yet. Add one: flask smtp add NAME --host HOST --from ADDRESS"


@command(smtp, "list")
@click.option("--search", default="", metavar="TEXT", help="Filter by name, host or user name.")
def list_configs(*, search: str, as_json: bool) -> None:
    """List the mail servers, the active one first.

    The server in `.env` is not among them; see `flask smtp route`.
    """
    found = configs.search(search)
    nothing = NONE_FOUND if search else NONE_STORED
    shown = public_dicts(found)
    rows = [_row(facts, each["oauth"]) for facts, each in zip(state.facts_of(found), shown, strict=True)]
    answer(as_json, shown, *(table(HEADINGS, rows) if rows else [nothing]))


@command(smtp, "show")
@click.argument("name")
def show(name: str, *, as_json: bool) -> None:
    """Show a mail server, by its name or id.

    The password and the client key are never shown.
    """
    stored = named(name)
    config_trail.note_viewed(stored.row)
    shown = public_dict(stored)
    habits = server_habits.recall(stored.row.smtp_server, stored.row.smtp_port).lines()
    if as_json:
        print_json({**shown, "habits": habits})
        return
    known = state.facts(stored)
    looked_at, changes = shown["health"]["looked_at"], shown["health"]["offer_changes"]
    shown["health"] = shown["health"]["state"]
    shown["looked_at"] = looked_at
    del shown["endings"]  # which stand below in sentences
    shown["oauth"] = _connection(shown["oauth"])
    facts = shown.pop("client_certificate_facts")
    shown["client_certificate"] = f"{facts['subject']}, until {facts['not_after'][:10]}" if facts else ""
    for field, value in shown.items():
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else "" if value is None else str(value)
        click.echo(f"{field + ':':18} {text}".rstrip())
    for ending in known.calendar:
        click.echo(f"{'ends:':18} {ending.when}. {ending.sentence}")
    for line in changes:
        click.echo(f"{'changed:':18} {line}")
    for line in habits:
        click.echo(f"{'habit:':19}It {line}.")
    if known.advice:
        click.echo(f"✗ {known.advice}")


@command(smtp, "add")
@click.argument("name")
@settings_options
@click.option("--activate", "is_active", is_flag=True, help="Make it the active server.")
def add(*, password_stdin: bool, password_file: Path | None, as_json: bool, **fields: object) -> None:
    """Add a mail server called NAME.

    It is inactive unless you pass --activate: test it first, then activate it. If you give a user name, you are asked
    for its password. Never pass a password as an argument.
    """
    password = given_password(password_stdin, password_file)
    if password is None and fields["smtp_username"] and fields["auth_method"] != TOKEN_METHOD:
        password = prompted_password()
    with named_by_option():
        stored = configs.create(parse_change(change_of({**fields, "smtp_password": password})))
    answer(as_json, public_dict(stored), f"Added {_label(stored)}.", *_next_steps(stored))


@command(smtp, "edit")
@click.argument("present", metavar="NAME")
@click.option("--rename", "name", metavar="NAME", help="A new name.")
@settings_options
@click.option("--ask-password", is_flag=True, help="Ask for a new password.")
@click.option("--remove-password", is_flag=True, default=None, help="Delete the password and its user name.")
@click.option(
    "--remove-client-certificate", is_flag=True, default=None, help="Delete the client certificate and its key."
)
@click.option("--version", type=int, metavar="N", help="Fail if someone else has saved another version.")
def edit(
    present: str,
    *,
    ask_password: bool,
    password_stdin: bool,
    password_file: Path | None,
    as_json: bool,
    **fields: object,
) -> None:
    """Change a mail server.

    Options you leave out stay unchanged. A stored password stays with its server: with another host, port, encryption
    or user name it must be entered again, and so must a client key.
    """
    stored = named(present)
    password = given_password(password_stdin, password_file)
    if password is None and ask_password:
        password = prompted_password()
    with named_by_option():
        change = change_of({**fields, "smtp_password": password})
        if not change.keys() - {"version"}:
            raise click.UsageError("Nothing to change: pass an option.")
        stored = configs.update(stored.row.id, parse_change(change))
    answer(as_json, public_dict(stored), f"Updated {_label(stored)}.")


@command(smtp, "deactivate")
@click.argument("name")
def deactivate(name: str, *, as_json: bool) -> None:
    """Deactivate a mail server.

    Prints where mail goes instead. NAME can also be its id.
    """
    with named_by_option():
        stored = configs.deactivate(named(name).row.id)
    answer(as_json, public_dict(stored), f"{stored.row.name} is inactive. {where_mail_goes()}")


@command(smtp, "delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Skip the question.")
def delete(name: str, *, yes: bool, as_json: bool) -> None:
    """Permanently delete a mail server.

    Its password is deleted too. Prints what will send instead, and asks first. NAME can also be its id.
    """
    stored = named(name)
    if not yes:
        click.echo(state.without_it(stored)[1], err=True)
        click.confirm(f"Permanently delete {_label(stored)}?", abort=True, err=True)
    configs.delete(stored.row.id)
    deleted = {"id": stored.row.id, "name": stored.row.name}
    answer(as_json, {"deleted": deleted}, f"Deleted {stored.row.name}. {where_mail_goes()}")


@command(smtp, "import-env")
@click.option("--name", default=IMPORTED_NAME, show_default=True, metavar="TEXT", help="Its name.")
@click.option("--activate", is_flag=True, help="Make it the active server.")
def import_env(*, name: str, activate: bool, as_json: bool) -> None:
    "Copy the server in .env to the database.\n\n    It is built from the EMAIL_* variables and"
    "DEFAULT_FROM_EMAIL, and is inactive unless you pass --activate. .env stays\n    unchanged, as the "
    "fallback. Prints which of its lines can be deleted once the new server is active.\n    "
    settings = _env_settings()
    change = {**_as_change(settings), "name": name, "is_active": activate}
    with named_by_option():
        stored = configs.create(parse_change(change))
    lines = [variable for variable in ENV_LINES if get_settings().email.get(variable)]
    when = "can be deleted now" if activate else "can be deleted once it is active"
    told = f"These lines of .env {when}, or kept as the fallback: {', '.join(lines)}"
    data = {**public_dict(stored), "env_lines_that_may_go": lines}
    answer(as_json, data, f"Added {_label(stored)}, with the settings of .env.", *_next_steps(stored), told)


def named(name_or_id: str) -> StoredConfig:
    """A configuration by its name, or else by its id. Raises NotFound."""
    try:
        return configs.named(name_or_id)
    except NotFound:
        number = whole_number(name_or_id)
        if number is None:
            raise
        return configs.named(number)


def where_mail_goes(steps: Sequence[RouteStep] | None = None) -> str:
    """Through which server the next mail goes, as a sentence; along this way, or that of the system's mail."""
    told = _where_it_would_go(list(route.steps()) if steps is None else steps)
    return f"{route.NOTHING_IS_SENT} {told}" if route.is_suppressed() else told


def _where_it_would_go(steps: Sequence[RouteStep]) -> str:
    used = route.first_of(steps)
    if used and used.settings:
        return f"Mail goes through {used.name} ({used.settings.host}:{used.settings.port})."
    return f"No mail can be sent. {' '.join(step.reason for step in steps)}"


def _env_settings() -> SmtpSettings:
    with refused_under(VARIABLES):
        settings = route.from_env()
    if settings is None:
        raise NotFound("EMAIL_HOST is not set: there is nothing to import.")
    if route.without_database().is_local_inbox:
        raise NotFound("EMAIL_HOST is the local inbox of development: there is nothing to import.")
    return settings


def _as_change(settings: SmtpSettings) -> dict[str, object]:
    """Everything that `.env` can say, as a change that says it all."""
    secrets = {name: getattr(settings, setting).reveal() for name, setting in SECRETS.items()}
    return {
        **{name: getattr(settings, setting) for name, setting in VALUES.items()},
        **secrets,
        "use_tls": settings.security is Security.STARTTLS,
        "use_ssl": settings.security is Security.TLS,
        "client_certificate": settings.client_certificate,
    }


def _next_steps(stored: StoredConfig) -> tuple[str, ...]:
    if stored.row.is_active:
        return (where_mail_goes(),)
    name = shlex.quote(stored.row.name)
    if stored.settings.is_by_token and not stored.row.is_connected:
        return ("It is inactive, and not connected.", f"Connect it: flask smtp connect {name}")
    return f"It is inactive. Test it:  flask smtp test {name}", f"Then activate it: flask smtp activate {name}"


def _label(stored: StoredConfig) -> str:
    return f"{stored.row.name} ({stored.row.smtp_server}:{stored.row.smtp_port})"


def _connection(facts: dict[str, Any] | None) -> str:
    """Its connection by OAuth in a line; "" where it has none."""
    if facts is None:
        return ""
    how = "connected" if facts["connected"] else "needs sign-in again" if facts["needs_sign_in"] else "not connected"
    who = f" as {facts['mailbox']}" if facts["mailbox"] else ""
    return f"{facts['provider']}, {how}{who}{'' if facts['serves'] else ', not in use yet'}"


def _signs_in(facts: ConfigFacts, connection: dict[str, Any] | None) -> str:
    """With what it is signed in to; by token, how that is where it is not well."""
    if not facts.settings.is_by_token:
        return "password" if facts.settings.has_login else ""
    if connection is None or not connection["connected"]:
        return "token: needs sign-in again" if connection and connection["needs_sign_in"] else "token: not connected"
    return "token"


def _verified(facts: ConfigFacts) -> str:
    if facts.verified_at:
        return f"{facts.verified_at:%Y-%m-%d %H:%M}"
    return "own domain only" if facts.verified_for_own_domain else "no"


def _ends_next(facts: ConfigFacts) -> str:
    """What will end first, or has, and when."""
    first = next(iter(facts.calendar), None)
    return f"{first.ends_on}: {first.what.replace('_', ' ')}" if first else ""


def _row(facts: ConfigFacts, connection: dict[str, Any] | None) -> tuple[str, ...]:
    settings = facts.settings
    return (
        str(facts.id),
        facts.name,
        facts.word,
        f"{settings.host}:{settings.port}",
        settings.mode_name,
        _signs_in(facts, connection),
        settings.from_email,
        _verified(facts),
        facts.last_error or "",
        _ends_next(facts),
        f"{facts.updated_at:%Y-%m-%d %H:%M}",
        facts.updated_by,
    )
