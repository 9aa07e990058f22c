"""Which migration the database has come to, and which one this code knows as the last."""

from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from utils import late

MIGRATIONS: Final = Path(__file__).resolve().parent / "migrations"


def is_behind(session: Session) -> bool:
    """Whether migrations are missing. A database that newer code has migrated already is not behind."""
    current = late.load("alembic.migration").MigrationContext.configure(session.connection()).get_current_revision()
    return current is None or current in _earlier()


@cache  # files do not change under a process; the database does
def _earlier() -> frozenset[str]:
    """Every migration but the last."""
    script = late.load("alembic.script").ScriptDirectory(str(MIGRATIONS))
    return frozenset(each.revision for each in script.walk_revisions()) - {script.get_current_head() or ""}
