"""Parts: what another application adds to Sealpost where that is its base."""

from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Flask
from sqlalchemy import MetaData

from blueprints import access


@dataclass(frozen=True, kw_only=True)
class Part:
    """A blueprint, and what belongs to it.

    Its forms are protected from other sites as ours are: each needs ``csrf_token``. An API that knows its callers by
    something that browsers do not send by themselves has ``csrf=False``; a view of it that goes by a session of
    Sealpost's, behind a guard of ``blueprints/access.py``, is protected all the same.

    ``migrations`` is a folder with a branch of its own in Alembic, and ``tables`` are what it is about.
    """

    blueprint: Blueprint
    csrf: bool = True
    migrations: Path | None = None
    tables: MetaData | None = None

    def add_to(self, app: Flask) -> None:
        app.register_blueprint(self.blueprint)
        if not self.csrf:
            access.exempt_from_csrf(app, self.blueprint.name)
