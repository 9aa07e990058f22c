"""What every command shares: exit codes, JSON, one-line errors, who acts, and how a password comes in."""

import json
import os
import pwd
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from flask.cli import AppGroup, with_appcontext
from sqlalchemy.exc import DBAPIError

from services import audit
from services.audit import Actor
from services.checks import start
from utils.env_reader import ConfigurationError
from utils.errors import AppError, InvalidInput
from utils.log_utils import printable

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NOT_WELL: Final = 3

SOURCE: Final = "command line"
_USUAL: Final = {DONE: "done", REFUSED: "failed; one line says why", USAGE: "invalid usage"}
USUAL: Final = 50  # lines of a list
_LONGEST_PASSWORD_FILE: Final = 64 * 1024  # bytes

_Work = Callable[..., None]


def command(
    group: AppGroup | None, name: str, exits: Mapping[int, str] | None = None, *, needs_tables: bool = True
) -> Callable[[_Work], click.Command]:
    """Make a function the command ``name`` of a group, or of none, with ``--json`` and its exit codes in the help.

    A failure is one line on standard error. ``exits`` are the exit codes beside the usual ones. A command that
    ``needs_tables`` does nothing on those of an older version: that all is well there, or changed, would be a guess.
    """
    codes = sorted({**_USUAL, **(exits or {})}.items())
    epilog = "\b\nExit codes:\n" + "\n".join(f"  {code:>2}  {meaning}" for code, meaning in codes)
    as_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")

    def decorate(work: _Work) -> click.Command:
        run = as_json(_framed(work, needs_tables))
        if group is None:
            return click.command(name, epilog=epilog)(with_appcontext(run))
        made: click.Command = group.command(name, epilog=epilog)(run)
        return made

    return decorate


def _framed(work: _Work, needs_tables: bool) -> _Work:
    @wraps(work)
    def run(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever click hands over
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without ✓ shows ? and goes on
        try:
            with audit.acting(Actor(os_user(), SOURCE, audit.COMMAND)):
                start.check_new_key()
                if needs_tables:
                    start.check_tables()
                work(*args, **kwargs)
        except InvalidInput as refused:
            raise click.ClickException(_in_one_line(refused.errors)) from None
        except AppError as refused:
            raise click.ClickException(refused.message) from None
        except ConfigurationError as refused:
            raise click.ClickException(str(refused)) from None
        except DBAPIError as error:
            raise click.ClickException(start.words_for(error)) from None

    return run


def _in_one_line(errors: Mapping[str, Sequence[str]]) -> str:
    """Each sentence once, behind the fields that it is about."""
    fields: dict[str, list[str]] = {}
    for field, texts in errors.items():
        fields.setdefault(" ".join(texts), []).append(field)
    return " ".join(f"{', '.join(named)}: {text}" for text, named in fields.items())


def os_user() -> str:
    """Who runs this process, by the system's own list and not by a variable that anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's nameless user
        return f"uid {os.getuid()}"


def leave(code: int) -> NoReturn:
    """End the command with this exit code."""
    click.get_current_context().exit(code)


def print_json(data: object) -> None:
    click.echo(json.dumps(data, indent=2, default=datetime.isoformat))


def answer(as_json: bool, data: object, *lines: str) -> None:
    """Print the data for a script, or the lines for a person."""
    if as_json:
        print_json(data)
    else:
        click.echo("\n".join(lines))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns as wide as their widest cell, which cannot start a line of its own."""
    cells = [headings, *([printable(cell, 500) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def limit_option(most: int) -> Callable[[_Work], _Work]:
    """``--limit``, of the commands that list what happened."""
    told = "How many to show."
    return click.option(
        "--limit", type=click.IntRange(1, most), default=USUAL, show_default=True, metavar="N", help=told
    )


def password_options(work: _Work) -> _Work:
    """The two ways for a password that are no prompt; there is none as an argument, which others could read."""
    file = click.option(
        "--password-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read the password from a file.",
    )
    stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
    return stdin(file(work))


def given_password(from_stdin: bool, file: Path | None) -> str | None:
    """The password from where the options say, without the line end after it; None if they say nothing."""
    if from_stdin and file:
        raise click.UsageError("Pass either --password-stdin or --password-file, not both.")
    try:
        if from_stdin:
            raw = sys.stdin.buffer.read(_LONGEST_PASSWORD_FILE)
        elif file:
            with file.open("rb") as opened:
                raw = opened.read(_LONGEST_PASSWORD_FILE)
        else:
            return None
        return raw.decode().removesuffix("\n").removesuffix("\r")
    except OSError:
        raise click.ClickException("The password file cannot be read.") from None
    except UnicodeDecodeError:
        raise click.ClickException(
            f"The password {'on standard input' if from_stdin else 'file'} is not UTF-8."
        ) from None


def prompted_password(*, twice: bool = False) -> str:
    """Ask for the password without showing it. The question goes to standard error, beside any JSON."""
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True))
