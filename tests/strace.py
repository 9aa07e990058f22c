"""strace on running processes: system calls that fail where a test wants it, and what each thread called, in order."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pytest

from tests.patience import PATIENCE

SYNCS: Final = "fdatasync,fsync"
WRITES: Final = "pwrite64"  # SQLite's; Python's own are `write`
_WATCHED: Final = f"{SYNCS},{WRITES},write,sendto"
_CALL: Final = re.compile(r'(\w+)\(\d+<([^>]*)>(?:, "((?:[^"\\]|\\.)*)")?.*\) += (-?\d+)')


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Of these ``calls`` of every thread the ``first`` fails, and every ``step``-th after it."""

    calls: str
    error: str
    first: int
    step: int

    def __str__(self) -> str:
        return f"{self.calls}:error={self.error}:when={self.first}+{self.step}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that has returned: on which file, and the beginning of what was written."""

    name: str
    file: str
    said: str
    worked: bool


class Strace:
    """Watches these processes, and all that they start, while a ``with`` block runs; ``folder`` takes its notes."""

    def __init__(self, pids: Iterable[int], folder: Path, failure: Failure | None = None) -> None:
        program = shutil.which("strace")
        if program is None:
            pytest.skip("strace is not installed (make services)")
        folder.mkdir()
        self._notes = folder
        broken = ["-e", f"inject={failure}"] if failure else []
        processes = [word for pid in pids for word in ("-p", str(pid))]
        options = ["-f", "-ff", "-y", "-s", "64", "-o", str(folder / "thread"), "-e", f"trace={_WATCHED}"]
        self._command = [program, *options, *broken, *processes]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        for _ in range(self._command.count("-p")):
            said = self._process.stderr.readline()
            if "Operation not permitted" in said:
                self.__exit__()
                pytest.skip("strace may not watch other processes here")
            assert "attached" in said, said
        return self

    def __exit__(self, *_: object) -> None:
        """What is watched goes on alone."""
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=PATIENCE)

    def threads(self) -> list[list[Call]]:
        """What each thread has called while the ``with`` block ran."""
        return [list(_calls(file)) for file in sorted(self._notes.iterdir())]

    def broken(self, name: str = "") -> int:
        """How many calls, or calls of this name, have failed because we wanted it."""
        lines = (line for file in self._notes.iterdir() for line in file.read_text().splitlines())
        return sum(line.startswith(name) and line.endswith("(INJECTED)") for line in lines)


@dataclass
class Told:
    """How often somebody was told of what a thread had written, and what was not on the disk by then."""

    in_time: int = 0
    too_early: list[str] = field(default_factory=list)


def told(calls: Iterable[Call], promises: tuple[str, ...], refusals: tuple[str, ...] = ()) -> Told:
    """What one thread told others of its writes to the database, be it before or after those were on the disk.

    What it says begins with one of these words. A commit stands in the log; whether the checkpoint gets it from there
    to the file is SQLite's own affair.
    """
    found, has_written, unsynced = Told(), False, False
    for call in calls:
        if call.file.endswith("-wal"):
            if call.name == WRITES:
                has_written = unsynced = True
            elif call.worked:
                unsynced = False
        elif call.said.startswith(promises) and unsynced:
            found.too_early.append(call.said)
        elif call.said.startswith(promises) and has_written:
            found.in_time += 1
            has_written = False
        elif call.said.startswith(refusals):
            has_written = unsynced = False
    return found


def _calls(file: Path) -> Iterator[Call]:
    for line in file.read_text().splitlines():
        if seen := _CALL.match(line):
            name, path, said, result = seen.groups()
            yield Call(name=name, file=path, said=said or "", worked=int(result) >= 0)
