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
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def backup(file: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write a consistent copy of the database to FILE, even while Sealpost is running.

    No one else can read it. Keep it apart from APP_KEY: each is useless without the other. For PostgreSQL it prints
    the command to use instead.
    """
    size = backups.write(file, overwrite=overwrite)
    answer(as_json, {"file": str(file), "bytes": size}, f"{file} contains the database as it is now ({size:,} bytes).")


@command(None, "restore", needs_tables=False)
@click.argument("file", type=_FILE)
@click.option("--yes", is_flag=True, help="Skip the question.")
def restore(file: Path, *, yes: bool, as_json: bool) -> None:
    """Replace the database with the back-up in FILE, after asking. Stop every process of Sealpost first.

    Waiting emails in it may have been sent after it was made, so they are held: see flask mail release and flask mail
    cancel. Everyone has to sign in again. The previous database is kept beside the new one.
    """
    found = backups.look_at(file)
    if not yes:
        click.confirm(_question(file, found), abort=True, err=True)
    done = backups.restore(file)
    answer(as_json, asdict(done), *_told(file, done))


def _question(file: Path, found: Backup) -> str:
    return (
        f"Replace the whole database with {file}, of {clock.readable(found.made_at)}? Later changes stay only in the "
        "previous database, which is kept."
    )


def _told(file: Path, done: Restored) -> list[str]:
    return [
        f"The database is now the one in {file}.",
        *([f"The previous one is kept as {done.kept}"] if done.kept else []),
        f"{counted(done.sessions, 'session')} ended.",
        holding.told(done.held) or "No email is waiting in it.",
        *(["Its tables are older than this version of Sealpost. Run: flask db upgrade"] * done.is_older),
    ]
