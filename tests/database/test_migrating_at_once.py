"""Several processes that migrate one new database at the same time: one does it, the others find it done."""

import multiprocessing
from pathlib import Path
from typing import Any, Final

from flask_migrate import upgrade
from sqlalchemy import text

from app import create_app
from database.engine import db
from tests.conftest import APP_KEY
from tests.patience import PATIENCE

AT_ONCE: Final = 2


def migrate(environment: dict[str, str], folder: Path, go: Any, answers: Any) -> None:
    app = create_app(environment, instance_path=folder)
    go.wait(PATIENCE)
    with app.app_context():
        try:
            upgrade()
        except SystemExit:  # as Flask-Migrate ends a command
            answers.put("failed")
            raise
        except Exception as error:
            answers.put(repr(error))
            raise
        with db.engine.connect() as connection:
            answers.put(connection.execute(text("SELECT count(*) FROM alembic_version")).scalar())


def answers_of(environment: dict[str, str], folder: Path) -> list[object]:
    context = multiprocessing.get_context("fork")
    go, answers = context.Barrier(AT_ONCE), context.Queue()
    children = [context.Process(target=migrate, args=(environment, folder, go, answers)) for _ in range(AT_ONCE)]
    for child in children:
        child.start()
    found = [answers.get(timeout=PATIENCE) for _ in children]
    for child in children:
        child.join(PATIENCE)
    return found


def test_on_sqlite_as_well_one_of_them_does_it(tmp_path: Path) -> None:
    environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "LOCAL_INBOX_PORT": "0"}
    assert answers_of(environment, tmp_path) == [1] * AT_ONCE
