"""Databases for the measurements, on this machine's disk and with fsync: each side has one of its own."""

import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.servers import Unavailable
from tests import postgresql_server

SQLITE: Final = "SQLite"
POSTGRESQL: Final = "PostgreSQL"


def bare(url: str) -> Any:  # noqa: ANN401 - a connection of either driver
    """A connection of the driver's own, which commits when it is told to; it reads what others have committed."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute("PRAGMA synchronous = FULL")
        return connection
    return psycopg.connect(url)


@contextmanager
def databases(engine: str) -> Iterator[Callable[[], str]]:
    """A function that gives the URL of another empty database."""
    with _sqlite() if engine == SQLITE else _postgresql() as new:
        yield new


@contextmanager
def _sqlite() -> Iterator[Callable[[], str]]:
    with tempfile.TemporaryDirectory(prefix="sealpost-benchmark-") as folder:
        yield lambda: f"sqlite:///{Path(folder) / secrets.token_hex(4)}.db"


@contextmanager
def _postgresql() -> Iterator[Callable[[], str]]:
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        raise Unavailable("PostgreSQL is not installed")
    with postgresql_server.running(fsync=True) as url:

        def new() -> str:
            name = f"benchmark_{secrets.token_hex(4)}"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return f"{url.rpartition('/')[0]}/{name}"

        yield new
