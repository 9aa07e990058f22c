"""Flask-Migrate for an application, without loading it, and Alembic, before somebody migrates."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import click
from flask import Flask, current_app
from werkzeug.local import LocalProxy

from database.engine import db
from database.schema_db import MIGRATIONS
from utils import late

_EXTENSION: Final = "migrate"  # where Flask-Migrate keeps what it was set up with


class _Commands(click.Command):
    """``flask db``, in whose place Flask-Migrate's own group goes on once it is called, with commands of ours."""

    def __init__(self, ours: Sequence[click.Command]) -> None:
        super().__init__("db", help="Perform database migrations; back up and restore the database.")
        self._ours = ours

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - as click has it
    ) -> click.Context:
        _set_up(current_app, self._ours)
        group = late.load("flask_migrate.cli").db
        context: click.Context = group.make_context(info_name, args, parent, **extra)
        return context


def init_app(app: Flask, commands: Sequence[click.Command] = ()) -> None:
    """Let ``flask db …``, ``commands`` among it, and Flask-Migrate's functions work on this application."""
    app.extensions[_EXTENSION] = LocalProxy(partial(_set_up, app, commands))  # whoever asks it anything sets it up
    app.cli.add_command(_Commands(commands))


def _set_up(app: Flask, commands: Sequence[click.Command]) -> Any:  # noqa: ANN401 - Flask-Migrate is untyped
    late.load("flask_migrate").Migrate(app, db, directory=str(MIGRATIONS), render_as_batch=True)
    for each in commands:  # to its own group, which has just taken the place of ours
        late.load("flask_migrate.cli").db.add_command(each)
    return app.extensions[_EXTENSION]
