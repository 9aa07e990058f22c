"""What a process loads: a plain command, and the application itself, need neither a broker's libraries nor Alembic."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask_migrate import upgrade

from app import create_app
from tests.patience import PATIENCE

HEAVY = {"celery", "kombu", "amqp", "billiard", "redis", "alembic", "flask_migrate", "mako", "rabbitmq"}
TELL = "import atexit, json, sys\natexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
COMMAND = TELL + "from flask.cli import main\nsys.argv = ['flask', *sys.argv[1:]]\nmain()"


def loaded(program: str, *arguments: str, **variables: str) -> set[str]:
    """The top-level modules that are loaded when this program ends, which it must do well."""
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
    return {name.partition(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


COMMANDS = ["smtp list", "smtp --help", "account list", "token list", "audit", "mail list", "routes", "--help"]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_plain_command_loads_neither_celery_nor_redis_nor_alembic(environment: dict[str, str], words: str) -> None:
    assert not loaded(COMMAND, *words.split(), **environment, FLASK_APP="app") & HEAVY


@pytest.mark.parametrize("what", ["import app", "import app\napp.create_app()", "import app\napp.serve()"])
def test_the_application_loads_neither_celery_nor_redis_nor_alembic(environment: dict[str, str], what: str) -> None:
    assert not loaded(TELL + what, **environment) & HEAVY


def test_a_broker_named_in_the_environment_is_no_reason_to_load_celery_for_a_command(
    environment: dict[str, str],
) -> None:
    broker = {"CELERY_BROKER_URL": "amqp://nobody@127.0.0.1:1//", "FLASK_APP": "app"}
    assert not loaded(COMMAND, "smtp", "list", **environment, **broker) & HEAVY


@pytest.mark.parametrize("words", ["worker --concurrency 1", "beat", "inspect ping"])
@pytest.mark.parametrize("revision", ["", "0009"])
def test_celery_refuses_old_tables_in_one_line(
    environment: dict[str, str], tmp_path: Path, revision: str, words: str
) -> None:
    variables = {**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'old.db'}"}
    if revision:
        with create_app(variables, instance_path=tmp_path).app_context():
            upgrade(revision=revision)
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


@pytest.mark.parametrize("words", ["db --help", "db current", "db upgrade", "db check", "db -x some=thing current"])
def test_migrations_are_commands_as_before(environment: dict[str, str], words: str) -> None:
    assert "alembic" in loaded(COMMAND, *words.split(), **environment, FLASK_APP="app")
