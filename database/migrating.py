"""Flask-Migrate for an application, without loading it, and Alembic, before somebody migrates."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from flask import Flask, current_app
from sqlalchemy import MetaData
from werkzeug.local import LocalProxy

from database import schema_db
from database.engine import db
from database.schema_db import MIGRATIONS, VERSION
from database.types import name_for_postgresql
from utils import late
from utils.env_reader import ConfigurationError

_EXTENSION: Final = "migrate"  # where Flask-Migrate keeps what it was set up with
_TABLES: Final = "sealpost_tables"  # where an application keeps the tables of its other branches
ALL: Final = "heads"  # the newest of every branch


class _Commands(click.Command):
    """``flask db``, in whose place Flask-Migrate's own group goes on once it is called, with commands of ours."""

    def __init__(self, ours: Callable[[], Sequence[click.Command]]) -> None:
        super().__init__("db", help="Perform database migrations; back up and restore the database.")
        self._ours = ours

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - as click has it
    ) -> click.Context:
        _set_up(current_app, self)
        group = late.load("flask_migrate.cli").db
        for each in self._ours():
            group.add_command(each)
        context: click.Context = group.make_context(info_name, args, parent, **extra)
        return context


def init_app(
    app: Flask,
    commands: Callable[[], Sequence[click.Command]] = tuple,
    branches: Sequence[Path] = (),
    tables: Sequence[MetaData] = (),
) -> None:
    """Let ``flask db …``, what ``commands`` gives among it, and Flask-Migrate's functions work on this application.

    ``branches`` are folders with migrations of ``tables`` that are not ours. Raises ConfigurationError for those that
    have a name of ours.
    """
    _refuse_taken_names(tables)
    schema_db.keep_branches(app, branches)
    app.extensions[_TABLES] = tuple(tables)
    ours = _Commands(commands)
    app.extensions[_EXTENSION] = LocalProxy(partial(_set_up, app, ours))  # whoever asks it anything sets it up
    app.cli.add_command(ours)


def upgrade() -> None:
    """Bring the tables of the current application up to date, of every branch. Raises SQLAlchemyError."""
    late.load("flask_migrate").upgrade(revision=ALL)


def tables() -> list[MetaData]:
    """All tables that migrations of the current application are about."""
    name_for_postgresql(db.metadata)
    return [db.metadata, *current_app.extensions[_TABLES]]


def _refuse_taken_names(tables: Sequence[MetaData]) -> None:
    taken = {VERSION, *db.metadata.tables}
    for each in tables:
        if both := sorted(taken & set(each.tables)):
            raise ConfigurationError(
                f"The table {both[0]} of a part has the name of one that is there already. Call it otherwise, like "
                f"shop_{both[0]}."
            )
        taken |= set(each.tables)


def _set_up(app: Flask, commands: _Commands) -> Any:  # noqa: ANN401 - Flask-Migrate is untyped
    migrate = late.load("flask_migrate").Migrate(app, db, directory=str(MIGRATIONS), render_as_batch=True)
    migrate.configure(_with_branches)
    group = late.load("flask_migrate.cli").db
    app.cli.add_command(commands)  # its own group has just taken the place
    for param in group.commands["upgrade"].params:
        if param.name == "revision":
            param.default = ALL
    return app.extensions[_EXTENSION]


def _with_branches(config: Any) -> Any:  # noqa: ANN401 - Alembic's configuration
    folders = [MIGRATIONS / "versions", *schema_db.branches()]
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join(map(str, folders)).replace("%", "%%"))
    return config
