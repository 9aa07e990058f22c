"""What a container runs (deploy/entrypoint): the first start's keys, the migrations, then one of our programs in the
place of this one, so that it hears the signals itself.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from utils import env_utils
from utils.env_reader import ConfigurationError, Reader
from utils.env_utils import ROOT
from utils.first_env import write_first_production_env

PORT: Final = 8000
BASE_URL: Final = f"http://localhost:{PORT}"  # where a browser on the same machine finds a port that was published
_FLASK: Final = ("flask", "--app", "app")
_MIGRATE: Final = (*_FLASK, "db", "upgrade")
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - of a container, which is its own
_IN_TIME: Final = 5.0  # seconds that a migration gets to end, of the 10 after which Docker kills


def program_for(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The Python module to run for ``web``, ``worker``, ``beat``, ``gateway``, ``migrate`` or a command of `flask`,
    with its arguments; more words are arguments of its own.
    """
    name, *more = words or ["web"]
    celery = ["celery", "--app", "app:celery"]
    has_broker = any(environment.get(each, "").strip() for each in ("CELERY_BROKER_URL", "CELERY_BROKER_URL_FILE"))
    if name == "worker" and has_broker:
        return [*celery, "worker", "--concurrency", "1", "--hostname", f"{os.getpid()}@%h", *more]
    programs: dict[str, list[str]] = {
        "web": ["gunicorn", *_binding(more), *_heartbeats(), "app:serve()"],
        "worker": [*_FLASK, "mail", "worker"],
        "beat": [*celery, "beat"],
        "gateway": [*_FLASK, "gateway", "run"],
        "migrate": [*_MIGRATE],
    }
    return [*programs.get(name, [*_FLASK, name]), *more]


def _binding(arguments: Sequence[str]) -> list[str]:
    """Every address of the container, unless its arguments name others: gunicorn would listen there as well."""
    is_named = any(word.startswith(("-b", "--bind")) for word in arguments)
    return [] if is_named else ["--bind", f"0.0.0.0:{PORT}"]


def _heartbeats() -> list[str]:
    """gunicorn keeps its workers' signs of life in files, which a slow disk would hold up."""
    return ["--worker-tmp-dir", str(_MEMORY)] if os.access(_MEMORY, os.W_OK) else []


def main(words: Sequence[str]) -> None:
    """Become the program. Raises ConfigurationError, and SystemExit where the migrations fail."""
    os.chdir(ROOT)
    if not os.access("/tmp", os.W_OK) and os.access(_MEMORY, os.W_OK):  # noqa: S108 - a read-only root
        os.environ["TMPDIR"] = str(_MEMORY)
    serves = not words or words[0] in ("web", "worker", "beat", "gateway")
    if serves or words[0] == "migrate":
        write_first_production_env(BASE_URL)
    environment = env_utils.read_environment()
    if serves and Reader(environment).boolean("MIGRATE_AT_START", default=True):
        _migrate()
    program = program_for(words, environment)
    os.execv(sys.executable, [sys.executable, "-m", *program])  # noqa: S606 - no shell is wanted


def _migrate() -> None:
    """Whoever starts at the same time waits for it. The first process of a container is told no signal by default."""
    with subprocess.Popen([sys.executable, "-m", *_MIGRATE]) as migration:  # noqa: S603

        def end(number: int, _frame: FrameType | None) -> None:
            migration.terminate()
            try:
                migration.wait(_IN_TIME)
            except subprocess.TimeoutExpired:
                migration.kill()
            sys.exit(128 + number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        status = migration.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigurationError as refused:
        sys.exit(str(refused))
