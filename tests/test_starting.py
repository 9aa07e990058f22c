"""What a process loads: a plain command, and the application itself, need neither a broker's libraries nor Alembic."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask_migrate import upgrade

from app import create_app
from tests.conftest import APP_KEY
from tests.patience import PATIENCE

HEAVY = {"celery", "kombu", "amqp", "billiard", "redis", "alembic", "flask_migrate", "mako", "rabbitmq"}
TELL = "import atexit, json, sys\natexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
# Runs each of its arguments as a command, one after the other; each must end well. Tells what is loaded after each.
COMMAND = (
    TELL
    + f"""
from flask.cli import main
for words in sys.argv[1:]:
    sys.argv = ["flask", *words.split()]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
    print("did", words, *sorted({HEAVY} & {{name.partition(".")[0] for name in sys.modules}}))
"""
)


def output(program: str, *arguments: str, **variables: str) -> list[str]:
    """The lines that this program prints until it ends, which it must do well."""
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def modules(program: str, *arguments: str, **variables: str) -> set[str]:
    """The modules that are loaded when this program ends."""
    return set(json.loads(output(program, *arguments, **variables)[-1]))


def loaded(program: str, *arguments: str, **variables: str) -> set[str]:
    """The top-level ones of these."""
    return {name.partition(".")[0] for name in modules(program, *arguments, **variables)}


COMMANDS = ["smtp list", "smtp --help", "account list", "token list", "audit", "mail list", "routes", "--help"]


def test_no_plain_command_loads_celery_redis_or_alembic(environment: dict[str, str]) -> None:
    said = output(COMMAND, *COMMANDS, **environment, FLASK_APP="app")
    assert [line for line in said if line.startswith("did ")] == [f"did {words}" for words in COMMANDS]


def test_the_application_loads_neither_celery_nor_redis_nor_alembic(environment: dict[str, str]) -> None:
    assert not loaded(TELL + "import app\napp.create_app()\napp.serve()", **environment) & HEAVY


def test_a_server_loads_no_command_and_nothing_of_postgresql_on_sqlite(environment: dict[str, str]) -> None:
    others = {"aiosmtpd", "blueprints.cli.mail", "css_inline", "segno", "sqlalchemy.dialects.postgresql"}
    assert not modules(TELL + "import app\napp.serve()", **environment) & others


def test_a_start_that_has_nothing_to_migrate_loads_no_alembic(environment: dict[str, str]) -> None:
    start = (
        "import app\nfrom services.checks import start\nwith app.create_app().app_context(): start.bring_up_to_date()"
    )
    assert not loaded(f"{TELL}{start}", **environment) & HEAVY


def test_a_broker_named_in_the_environment_is_no_reason_to_load_celery_for_a_command(
    environment: dict[str, str],
) -> None:
    broker = {"CELERY_BROKER_URL": "amqp://nobody@127.0.0.1:1//", "FLASK_APP": "app"}
    assert not loaded(COMMAND, "smtp list", **environment, **broker) & HEAVY


@pytest.fixture(scope="module", params=["", "0009"])
def old_tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database whose tables are of this revision, or are not there."""
    folder = tmp_path_factory.mktemp("old")
    url = f"sqlite:///{folder / 'old.db'}"
    if request.param:
        with create_app(
            {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url}, instance_path=folder
        ).app_context():
            upgrade(revision=request.param)
    return url


@pytest.mark.parametrize("words", ["worker --concurrency 1", "beat", "inspect ping"])
def test_celery_refuses_old_tables_in_one_line(environment: dict[str, str], old_tables: str, words: str) -> None:
    variables = {**environment, "DATABASE_URL": old_tables}
    run = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "app:celery", *words.split()],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **variables, "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines() == [
        "The database is not ready. The tables are older than this version of Sealpost. Run: flask db upgrade"
    ]


def test_whoever_asks_for_celery_gets_it(environment: dict[str, str]) -> None:
    names = loaded(
        TELL + "import app\nassert 'mail.drain' in app.celery.tasks",
        **environment,
        CELERY_BROKER_URL="amqp://nobody@127.0.0.1:1//",
    )
    assert "celery" in names


def test_migrations_are_commands_as_before(environment: dict[str, str]) -> None:
    words = ["db --help", "db current", "db upgrade", "db check", "db -x some=thing current"]
    assert "alembic" in loaded(COMMAND, *words, **environment, FLASK_APP="app")
