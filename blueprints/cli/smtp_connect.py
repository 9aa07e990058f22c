"""`flask smtp connect` and `disconnect`: signing in to a server by token, from a terminal."""

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from blueprints import connecting
from blueprints.cli.frame import DONE, answer, command, leave, os_user
from blueprints.cli.smtp import named
from blueprints.cli.smtp_checks import EXIT_OF_PHASE, result_lines, tested
from blueprints.smtp_tests import course, failure
from services.connecting import advice, moving, pending, registering, showing, suggesting, tokens
from services.connecting.advice import NotConnected
from services.connecting.fields import RegistrationChange
from services.connecting.pending import Beginner
from services.connecting.redirect_rules import LOCALHOST_URI
from services.connecting.refusals import ConnectRefused
from services.connecting.showing import ConnectionData
from services.connecting.tokens import NewConnection
from services.oauth import keeping
from services.oauth.answers import StillWaiting
from services.oauth.failures import TokenFailure
from services.oauth.providers import CLOUDS, Grant, OAuthProvider
from services.oauth.registration import Registration
from services.settings import configs, route
from services.settings.fields import checked
from services.settings.sealing import StoredConfig
from utils.errors import AppError, refused_under
from utils.json_shapes import json_of
from utils.log_utils import printable

NOT_CONNECTED: Final = 20
_EXITS: Final = {
    DONE: "connected, and the sign-in passed its test",
    **dict.fromkeys(sorted(set(EXIT_OF_PHASE.values())), "connected; the test failed there, as of flask smtp test"),
    NOT_CONNECTED: "not connected: no token was given, or not the right one",
}
_LONGEST: Final = 64 * 1024  # bytes of a file, or of standard input
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_PROVIDERS: Final = click.Choice([each.value for each in OAuthProvider])
_WAYS: Final = click.Choice([each.value for each in Grant])
_OPTIONS: Final = {
    "provider": "--provider", "way": "--way", "tenant": "--tenant", "cloud": "--cloud", "client_id": "--client-id",
    "client_secret": "the client secret", "client_certificate": "--certificate", "client_key": "--key",
    "service_account": "--service-account", "secret_ends_on": "--secret-ends-on", "is_testing": "--testing",
    "scope": "--scope", "authority": "--authority", "authorize_url": "--authorize-url", "token_url": "--token-url",
    "device_url": "--device-url", "revoke_url": "--revoke-url", "issuer": "--issuer",
}  # fmt: skip


def _options(work: Callable[..., None]) -> Callable[..., None]:
    options: list[Callable[[Any], Any]] = [
        _option(
            "provider",
            "Default: the one that the server belongs to.",
            type=click.Choice([each.value for each in OAuthProvider]),
        ),
        _option("way", "Default: code.", type=_WAYS),
        _option("tenant", "Microsoft: the tenant’s ID or domain.", metavar="TEXT"),
        _option("cloud", "Microsoft: default, the one of the server.", type=click.Choice(list(CLOUDS))),
        _option("client_id", "The application’s ID at the provider.", metavar="TEXT"),
        click.option("--secret-stdin", is_flag=True, help="Read the client secret from standard input."),
        click.option("--secret-env", metavar="VARIABLE", help="Read the client secret from an environment variable."),
        _option("secret_ends_on", "Its last day, like 2028-05-31.", metavar="DATE"),
        _option("client_certificate", "Instead of a secret: PEM.", type=_FILE, metavar="FILE"),
        _option("client_key", "Its private key, as PEM without a passphrase.", type=_FILE, metavar="FILE"),
        _option("service_account", "Google: the JSON file of its key.", type=_FILE, metavar="FILE"),
        click.option(
            "--testing/--published",
            "is_testing",
            default=None,
            help="Google: whether the app’s publishing status is Testing.",
        ),
        _option("scope", "Custom: the scope.", metavar="TEXT"),
        _option("authorize_url", "Custom: where people sign in.", metavar="URL"),
        _option("token_url", "Custom: where tokens are given.", metavar="URL"),
        _option("device_url", "Custom: where codes are given.", metavar="URL"),
        _option("revoke_url", "Custom: where the end is told.", metavar="URL"),
        _option("issuer", "Custom: what the provider calls itself.", metavar="TEXT"),
        _option("authority", "Microsoft: another address for signing in.", metavar="URL"),
    ]
    for option in reversed(options):
        work = option(work)
    return work


def _option(field: str, told: str, **more: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - whatever click takes
    return click.option(_OPTIONS[field], field, help=told, **more)


@command(None, "connect", exits=_EXITS)
@click.argument("name")
@_options
@click.option("--no-test", is_flag=True, help="Keep using the password, if there is one.")
def connect(
    name: str, *, secret_stdin: bool, secret_env: str | None, no_test: bool, as_json: bool, **fields: object
) -> None:
    """Sign in to a mail server by token (OAuth 2).

    Prints an address, or a code to enter at the provider, and waits until you have signed in. If the sign-in passes its
    test, it is used from then on, and the stored password is deleted. Without options, what is registered stays. You
    are asked for the client secret. Never pass it as an argument.
    """
    stored = named(name)
    known = keeping.find(stored.row.id)
    usable = known.registration if known and known.is_usable else None
    said = {field: value for field, value in fields.items() if value is not None}
    secret = _given_secret(secret_stdin, secret_env)
    if said or secret is not None or usable is None:
        with refused_under(_OPTIONS):
            usable = _registered(stored, usable, said, secret)
    made = _signed_in(stored, usable)
    told = _lines(made)
    if no_test:
        answer(as_json, _data(stored), *told)
        return
    for line in told:
        click.echo(line, err=as_json)
    _tested(stored, as_json)


@command(None, "disconnect")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Skip the question.")
def disconnect(name: str, *, yes: bool, as_json: bool) -> None:
    """Delete what a mail server signs in with by token.

    Its tokens and what is registered are deleted, and the provider is asked to end the sign-in where it can be. A
    stored password serves on.
    """
    stored = named(name)
    if not yes:
        if stored.settings.is_by_token:
            click.echo("Without its token, no email can go through it.", err=True)
        click.confirm(f"Disconnect {stored.row.name}?", abort=True, err=True)
    ended = moving.disconnect(stored.row.id, actor=os_user())
    where = [f"To end the sign-in there as well, go to {ended.taken_back_at}."] if ended.taken_back_at else []
    data = {"disconnected": {"id": stored.row.id, "name": stored.row.name}, "taken_back_at": ended.taken_back_at}
    answer(as_json, data, f"Disconnected {stored.row.name}.", *where)


def _given_secret(from_stdin: bool, variable: str | None) -> str | None:
    """The client secret from where the options say; None if they say nothing."""
    if from_stdin and variable:
        raise click.UsageError("Pass either --secret-stdin or --secret-env, not both.")
    if from_stdin:
        return _text(sys.stdin.buffer.read(_LONGEST), "The client secret on standard input").strip()
    if variable:
        found = os.environ.get(variable, "")
        if not found:
            raise click.ClickException("The environment variable of --secret-env is not set.")
        return found
    return None


def _registered(
    stored: StoredConfig, before: Registration | None, said: dict[str, Any], secret: str | None
) -> Registration:
    """What is registered, after what the options say. Raises InvalidInput."""
    files = ("client_certificate", "client_key", "service_account")
    raw = {name: _file(value) if name in files else value for name, value in said.items()}
    if before is None and "provider" not in raw:
        suggestion = suggesting.suggested_for_server(stored.row.smtp_server, stored.row.smtp_username)
        raw |= {"provider": suggestion.provider.value, "cloud": suggestion.cloud} if suggestion else {}
        if suggestion and suggestion.provider is OAuthProvider.MICROSOFT:
            raw.setdefault("tenant", suggestion.tenant)
    if secret is None and _needs_secret(before, raw):
        words = "Client secret (leave empty for a public client)"
        secret = click.prompt(words, hide_input=True, default="", show_default=False, err=True)
    if secret:
        raw["client_secret"] = secret
    change = checked(RegistrationChange, raw)
    found = registering.registration_after(before, change, stored.row.smtp_server)
    tokens.register(stored.row.id, found)
    return found


def _needs_secret(before: Registration | None, raw: dict[str, Any]) -> bool:
    """Whether to ask: not where one is stored, or what is given goes without."""
    way = raw.get("way") or (before.way if before else Grant.CODE)
    if way not in (Grant.CODE, Grant.CLIENT_CREDENTIALS) or "client_certificate" in raw or "client_key" in raw:
        return False
    return before is None or not (before.client_secret or before.client_key) or "client_id" in raw


def _signed_in(stored: StoredConfig, registration: Registration) -> NewConnection:
    """Wait until someone has signed in; whatever ends it, nothing of it stays under way."""
    config_id = stored.row.id
    beginner = Beginner(f"command {secrets.token_urlsafe()}", os_user())
    try:
        if registration.is_app_only:
            return tokens.obtain(config_id, beginner.name)
        if registration.way is Grant.DEVICE:
            return _by_code(config_id, beginner)
        return _by_address(config_id, beginner)
    except (TokenFailure, ConnectRefused) as refused:
        _leave(stored, refused)
    finally:
        pending.give_up(config_id, beginner)


def _by_code(config_id: int, beginner: Beginner) -> NewConnection:
    shown = pending.begin_device(config_id, beginner)
    click.echo(f"Open    {printable(shown.verification_url, 500)}", err=True)
    click.echo(f"Enter   {shown.user_code}", err=True)
    click.echo("Waiting until you have signed in there. Ctrl-C ends it.", err=True)
    found: NewConnection | StillWaiting = StillWaiting(shown.interval)
    while isinstance(found, StillWaiting):
        time.sleep(found.interval)
        found = pending.poll_device(config_id, beginner)
    return found


def _by_address(config_id: int, beginner: Beginner) -> NewConnection:
    url = pending.begin_redirect(config_id, beginner, LOCALHOST_URI)
    click.echo(f"Register this redirect URI at the provider first: {LOCALHOST_URI}", err=True)
    click.echo(f"Then open this address in a browser, within ten minutes:\n\n{url}\n", err=True)
    click.echo("Sign in. Your browser then cannot open the next page. Copy its address, and paste it here.", err=True)
    return pending.paste(config_id, click.prompt("Address", err=True), beginner)


def _leave(stored: StoredConfig, refused: NotConnected) -> NoReturn:
    told = advice.of_failure(refused, stored.settings)
    click.echo(f"✗ {told.title}", err=True)
    for line in filter(None, (told.meaning, told.cause, told.remedy, told.docs_url)):
        click.echo(f"  {line}", err=True)
    leave(NOT_CONNECTED)


def _lines(made: NewConnection) -> list[str]:
    mailbox = f" as {made.sign_in.mailbox}" if made.sign_in.mailbox else ""
    return [f"✓ Connected{mailbox}.", *([f"! {made.caution}"] if made.caution else [])]


def _tested(stored: StoredConfig, as_json: bool) -> None:
    """Test the sign-in by token; where it passes it serves from then on."""
    stored = configs.get(stored.row.id)
    settings = moving.settings_by_token(stored)
    result = tested(route.step_of(stored), settings, is_quiet=as_json, err=as_json)
    is_new = connecting.switched_over(stored, settings, result, os_user())
    deleted = " The password is deleted." if stored.row.smtp_password else ""
    said = [f"It signs in by token from now on.{deleted}"] if is_new else []
    data = {**_data(stored), "test": {"ok": result.ok, "message": result.headline, **course(result), **failure(result)}}
    answer(as_json, data, *result_lines(result, ""), *said)
    leave(EXIT_OF_PHASE[result.error.phase] if result.error else DONE)


def _data(stored: StoredConfig) -> dict[str, Any]:
    return json_of(ConnectionData, showing.connection_of(configs.get(stored.row.id)))


def _file(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return _text(opened.read(_LONGEST), "The file")
    except OSError:
        raise AppError("The file cannot be read.") from None


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise AppError(f"{what} is not UTF-8.") from None
