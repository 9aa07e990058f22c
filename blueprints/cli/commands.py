"""The commands of `flask`, imported once somebody calls or lists one, as no server does; and the names of its shell."""

from collections.abc import Sequence
from typing import Any

import click
from flask import Flask
from flask.cli import AppGroup

from services import email_service
from services.settings import named
from utils import late


class _Commands(AppGroup):
    """``app.cli``. Ours come in the place of any of the same name, so that a part takes none away."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._add_ours()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._add_ours()
        return super().get_command(ctx, cmd_name)

    def _add_ours(self) -> None:
        for each in late.load("blueprints.cli.register").COMMANDS:
            self.add_command(each)


def init_app(app: Flask) -> None:
    app.cli = _Commands(app.cli.name)
    app.shell_context_processor(_names_of_the_shell)


def of_the_database() -> Sequence[click.Command]:
    """Those below `flask db`."""
    ours: Sequence[click.Command] = late.load("blueprints.cli.register").OF_THE_DATABASE
    return ours


def _names_of_the_shell() -> dict[str, Any]:
    """What `flask shell` knows without an import: the public face, and the stored configurations by name."""
    faces = (email_service, named)
    return {name: getattr(face, name) for face in faces for name in face.__all__}
