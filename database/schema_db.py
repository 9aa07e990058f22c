"""Which migrations the database has come to, and which this code knows; without Alembic.

There is one branch of ours, and one for each part that another application brings (``blueprints/parts.py``).
"""

import sqlite3
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from flask import Flask, current_app
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import revisions
from database.revisions import Migration
from utils.env_reader import ConfigurationError

MIGRATIONS: Final = Path(__file__).resolve().parent / "migrations"
UPGRADE: Final = "The tables are older than this version of Sealpost. Run: flask db upgrade"
STRANGE: Final = (
    "A newer version of Sealpost made them, or a part that is not given to create_app() here, or another application "
    "that keeps its own in the same table. Run that version, give that part, or see docs/embedding.md."
)
VERSION: Final = "alembic_version"
_OURS: Final = "email_outbox"
_BRANCHES: Final = "sealpost_branches"  # where an application keeps the folders of the other branches
_NO_TABLE, _NO_COLUMN = "42P01", "42703"  # SQLSTATE of PostgreSQL
_READ_ONLY = "25006"


def is_behind(session: Session) -> bool:
    """Whether migrations are missing. A database that newer code has migrated already is not behind."""
    found = reached(session)
    known = [name for name in found if is_known(name)]
    return (all(map(is_older, known)) and not _is_newer(session, found)) or any(
        revisions.missing(folder, found) for folder in branches()
    )


def is_current(session: Session) -> bool:
    """Whether the database has come to the newest migration of every branch, and to none that is unknown here."""
    return not (missing(session) or unknown(reached(session)))


def missing(session: Session) -> list[Migration]:
    """The migrations that the database has not come to, ours first; none of ours where newer code has migrated it."""
    found = reached(session)
    ours = [] if _is_newer(session, found) else revisions.missing(MIGRATIONS / "versions", found)
    return [*ours, *(each for folder in branches() for each in revisions.missing(folder, found))]


def _is_newer(session: Session, found: Collection[str]) -> bool:
    """Whether newer code has migrated: not where another application only keeps its own numbers in the same table."""
    if any(map(is_known, found)) or not unknown(found):
        return False
    return inspect(session.connection()).has_table(_OURS)


def reached(session: Session) -> list[str]:
    """The newest migration of each branch that the database has come to, and what they need; none in an empty one."""
    if not inspect(session.connection()).has_table(VERSION):
        return []
    found = set(session.scalars(text(f"SELECT version_num FROM {VERSION}")))  # noqa: S608 - a constant
    needed = set().union(*(revisions.needed(folder, found) for folder in branches()))
    return sorted(found | (needed - set(unknown(needed))))


def unknown(found: Collection[str]) -> list[str]:
    """Those that this code does not know: newer code has migrated, or a part is not there any more."""
    return [
        name for name in found if not is_known(name) and not any(revisions.is_in(folder, name) for folder in branches())
    ]


def strange(found: Collection[str]) -> str:
    """What it means that a database has migrations which are unknown here, with the remedy; "" if it has none."""
    names = unknown(found)
    return f"The database has migrations that are unknown here: {', '.join(names)}. {STRANGE}" if names else ""


def keep_branches(app: Flask, folders: Sequence[Path]) -> None:
    """Let an application have branches beside ours, whose migrations are in these folders.

    Raises ConfigurationError for what can be no branch.
    """
    taken = set(_known())
    for folder in folders:
        if fault := revisions.fault(folder, taken):
            raise ConfigurationError(fault)
        taken |= revisions.names(folder)
    app.extensions[_BRANCHES] = tuple(folders)


def branches() -> Sequence[Path]:
    """The folders of the current application's branches beside ours."""
    found: Sequence[Path] = current_app.extensions.get(_BRANCHES, ())
    return found


def is_known(revision: str) -> bool:
    """Whether this code can bring a database along from there, or works with it as it is."""
    return revision in _known()


def is_older(revision: str) -> bool:
    """Whether migrations come after this one."""
    return revision in _known()[:-1]


def lacks_something(error: SQLAlchemyError) -> bool:
    """Whether the database did answer, and has no such table or column: migrations are missing."""
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.OperationalError):
        said = str(original)
        return said.startswith(("no such table", "no such column")) or "has no column named" in said
    return getattr(original, "sqlstate", None) in (_NO_TABLE, _NO_COLUMN)


def is_read_only(error: SQLAlchemyError) -> bool:
    """Whether the database can be read, or would be, and not written to."""
    original = getattr(error, "orig", None)
    return "readonly" in str(original) or getattr(original, "sqlstate", None) == _READ_ONLY


def touch(session: Session) -> None:
    """Change nothing, as a change."""
    session.execute(text(f"UPDATE {VERSION} SET version_num = version_num"))  # noqa: S608 - a constant


@cache
def _known() -> list[str]:
    """Every migration by its number, with which the name of its file begins."""
    return sorted(file.stem.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
