"""A hundred thousand mails go through one worker: it does not grow, and neither does the database's log (fault F14)."""

import os
from pathlib import Path

import pytest

from tests.faults import child, figures
from tests.faults.child import Place
from tests.faults.sink import Manners
from tests.faults.storm import Storm
from tests.long_run import ALL

MAILS, WARM = (100_000, 10_000) if ALL else (500, 100)
SECONDS = 900.0
MIB = 1 << 20


@pytest.mark.parametrize("place", ["SQLite", "PostgreSQL"] if ALL else ["SQLite"], indirect=True)
def test_a_worker_is_after_very_many_mails_as_it_was_before(place: Place) -> None:
    with Storm(place=place, seed=14, mails=MAILS, webs=1, workers=0, manners=Manners(seed=14, delay=0)) as storm:
        worker = storm.start(child.send).pid
        storm.wait_for(WARM / MAILS)
        memory, files = resident(worker), open_files(worker)
        storm.drain(within=SECONDS)
        grown, opened = resident(worker) - memory, open_files(worker) - files
        log = sum(file.stat().st_size for file in place.folder.parent.glob("*.db-wal"))
    verdict = storm.verdict(bound=0)
    figures.settle("a soak", storm, verdict, faults=0, within=SECONDS)
    assert grown <= 10 * MIB
    assert opened <= 4
    assert log <= 64 * MIB


def resident(pid: int) -> int:
    """Octets of memory that the process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
