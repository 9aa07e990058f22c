"""One process at a time in a folder, whatever becomes of the others."""

import select
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE
from tests.running import ROOT
from utils.folder_lock import alone_in

_HOLDS_IT = """
import sys
from pathlib import Path
from utils.folder_lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("alone", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    """A process that says when it is alone in the folder, and stays until it is told to end."""
    command = [sys.executable, "-c", _HOLDS_IT, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_second_process_waits_and_the_lock_of_one_that_was_killed_is_gone(tmp_path: Path) -> None:
    with holder(tmp_path) as first, holder(tmp_path) as second:
        assert first.stdout
        assert second.stdout
        both = {first.stdout: first, second.stdout: second}
        said, _, _ = select.select(list(both), [], [], PATIENCE)
        (alone,) = said
        assert alone.readline() == b"alone\n"
        (other,) = (stream for stream in both if stream is not alone)
        assert select.select([other], [], [], 0.1) == ([], [], [])
        both[alone].kill()
        assert other.readline() == b"alone\n"


def test_it_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
