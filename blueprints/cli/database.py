"""`flask db backup | restore`, beside the commands of the migrations."""

from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from blueprints.cli.frame import answer, command
from services import backup as backups
from services.backup import Backup, Restored
from services.outbox import holding
from utils import clock
from utils.numbers import counted

_FILE: Final = click.Path(path_type=Path)


@command(None, "backup", needs_tables=False)
@click.argument("file", type=_FILE)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
def backup(file: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write a consistent copy of the database to FILE, also while Sealpost runs.

    Nobody else may read it. Keep it apart from APP_KEY: each is useless without the other. For PostgreSQL it names
    the command to use instead.
    """
    size = backups.write(file, overwrite=overwrite)
    answer(as_json, {"file": str(file), "bytes": size}, f"{file} has the database as it is now ({size:,} bytes).")


@command(None, "restore", needs_tables=False)
@click.argument("file", type=_FILE)
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(file: Path, *, yes: bool, as_json: bool) -> None:
    """Put the back-up in FILE in the place of the database, after asking. Stop every process of Sealpost first.

    Mail that waits in it may have been sent after it was made, so it is held: see flask mail release and flask mail
    cancel. Everybody has to sign in again. The database before is kept beside the new one.
    """
    found = backups.look_at(file)
    if not yes:
        click.confirm(_question(file, found), abort=True, err=True)
    done = backups.restore(file)
    answer(as_json, asdict(done), *_told(file, done))


def _question(file: Path, found: Backup) -> str:
    return (
        f"Replace the whole database by {file}, of {clock.readable(found.made_at)}? What was changed since then stays "
        "only in the database before, which is kept."
    )


def _told(file: Path, done: Restored) -> list[str]:
    return [
        f"The database is that of {file}.",
        *([f"The one before is kept as {done.kept}"] if done.kept else []),
        f"{counted(done.sessions, 'session')} ended.",
        holding.told(done.held) or "No mail waits in it.",
        *(["Its tables are older than this version of Sealpost. Run: flask db upgrade"] * done.is_older),
    ]
