"""Which migration the database has come to, and which one this code knows as the last; without Alembic."""

import sqlite3
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

MIGRATIONS: Final = Path(__file__).resolve().parent / "migrations"
UPGRADE: Final = "The tables are older than this version of Sealpost. Run: flask db upgrade"
VERSION: Final = "alembic_version"
_NO_TABLE, _NO_COLUMN = "42P01", "42703"  # SQLSTATE of PostgreSQL
_READ_ONLY = "25006"


def is_behind(session: Session) -> bool:
    """Whether migrations are missing. A database that newer code has migrated already is not behind."""
    if not inspect(session.connection()).has_table(VERSION):
        return True
    current = session.scalar(text(f"SELECT version_num FROM {VERSION}"))  # noqa: S608 - a constant
    return current is None or is_older(current)


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
