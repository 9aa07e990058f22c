"""A disk that is full is told, and nothing is lost that was promised before (fault F7).

It is a real one where a test may mount one, else a limit of SQLite's own.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from database.engine import db
from services.worker.lease import Pace
from tests.conftest import ADMIN_TOKEN
from tests.faults.checker import rows
from tests.faults.cutter import Cutter
from tests.faults.sabotage import TurnClock, finish, queue, work
from tests.faults.storm import configure
from tests.long_run import ALL
from tests.visitors import Visitor

FULL_DISKS = 50 if ALL else 3
MOST = 200  # configurations, or mails, that fit on no such disk
PAGE = 4096
ENOUGH = 16 << 20

Limit = Callable[[int], None]  # lets the database grow by so many octets from here on


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of its own in memory, large enough as yet; None if none may be mounted here."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={ENOUGH}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def environment(environment: dict[str, str], disk: Path | None, tmp_path: Path) -> dict[str, str]:
    """The database lies on that disk."""
    if disk:
        shutil.move(tmp_path / "test.db", disk / "test.db")
        environment["DATABASE_URL"] = f"sqlite:///{disk / 'test.db'}"
    return environment


@pytest.fixture
def limit(disk: Path | None) -> Limit:
    return limit_pages if disk is None else lambda room: resize(disk, room)


@pytest.mark.parametrize("pages", range(20, 20 + FULL_DISKS))
def test_a_full_disk_is_told_and_loses_nothing_that_was_promised(
    client: Visitor, cutter: Cutter, turn_clock: TurnClock, limit: Limit, pages: int
) -> None:
    configure(cutter.port)
    limit(pages * PAGE)
    promised: list[str] = []
    while (mail_id := queue(len(promised))) and len(promised) < MOST:
        promised.append(mail_id)
    assert mail_id is None
    assert last_status(client) == 503
    work(Pace())
    limit(ENOUGH)
    finish(turn_clock)
    assert {row.mail_id for row in rows()} == set(promised)
    assert cutter.taken == {row.message_id: 1 for row in rows()}
    assert queue(0)


def last_status(client: Visitor) -> int:
    """What the web interface says once it cannot store a configuration."""
    bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    for number in range(MOST):
        fields = {"name": f"Number {number}", "smtp_server": "smtp.example.com", "from_email": "a@example.com"}
        answer = client.post("/api/settings/smtp/configs", json=fields, headers=bearer)
        if answer.status_code != 201:
            return answer.status_code
    return 201


def resize(disk: Path, room: int) -> None:
    """Leave so much room on the disk."""
    size = shutil.disk_usage(disk).used + room
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def limit_pages(room: int) -> None:
    """Leave so much room as if the disk were full beyond it."""
    with db.engine.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {used + room // PAGE}")

    event.listen(db.engine, "connect", limit)
    db.engine.dispose()
