"""What a process has used of the CPU, read from the system: for those that cannot be asked."""

import os
from pathlib import Path
from typing import Final

_TIMES: Final = slice(11, 15)  # in proc(5)'s stat behind the name: of a process, and of those it has waited for


def used_by(*pids: int) -> list[float]:
    """Seconds of each process with its children, and with those that have ended, which it has waited for."""
    found = {each.name: _stat(each) for each in Path("/proc").iterdir() if each.name.isdigit()}
    ticks = {pid: sum(map(int, stat[_TIMES])) for pid, stat in found.items()}
    families = ([pid for pid, stat in found.items() if str(of) in (pid, *stat[1:2])] for of in pids)
    return [sum(ticks[pid] for pid in family) / os.sysconf("SC_CLK_TCK") for family in families]


def _stat(process: Path) -> list[str]:
    """Its state, its parent and so on, see proc(5); nothing of one that has just ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
