"""`sealpost …`: the commands of `flask` for this application, wherever they are called."""

from collections.abc import Callable
from typing import Final

import click
from flask import Flask
from flask.cli import FlaskGroup

from utils.first_env import write_first_env
from utils.version import VERSION

_OF_FLASK: Final = ("env_file", "app", "debug")  # options that name what is known here
HELP: Final = """Sealpost: set up outgoing SMTP, test it, and see what became of every email.

Its settings are read from .env in the folder that SEALPOST_HOME names, or else in this one, and from the environment.
"""


def group(make: Callable[[], Flask], run: Callable[[], None]) -> FlaskGroup:
    """The command. ``make`` gives the application, ``run`` serves one; both end the process where they cannot."""
    found = FlaskGroup(
        name="sealpost",
        create_app=make,
        add_version_option=False,
        load_dotenv=False,  # Sealpost reads .env itself, and tells what it cannot read
        help=HELP,
    )
    found.params = [param for param in found.params if param.name not in _OF_FLASK]
    click.version_option(VERSION, prog_name="Sealpost", message="%(prog)s %(version)s")(found)
    found.add_command(_serving(run), "run")
    return found


def _serving(run: Callable[[], None]) -> click.Command:
    @click.command("run")
    def command() -> None:
        """Start Sealpost here, as `make run` does: the first time with a .env of its own."""
        write_first_env()
        run()

    return command
