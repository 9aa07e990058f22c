"""Whose program is at the other end of a connection within this machine, as far as the system tells (Linux)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # proc_pid_net(5)
_LOCAL, _REMOTE, _USER, _INODE = 1, 2, 7, 9  # the columns that count
_GONE: Final = "0"  # the inode of a socket that no program has any more


def user_of(port: int, connected_to: int) -> int | None:
    """The user whose program connected from ``port`` of this machine to ``connected_to``; None if nobody can tell."""
    for line in _sockets():
        ports = tuple(int(line[column].rpartition(":")[2], 16) for column in (_LOCAL, _REMOTE))
        if ports == (port, connected_to) and line[_INODE] != _GONE:
            return int(line[_USER])
    return None


def _sockets() -> Iterator[list[str]]:
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:  # another system, or no IPv6
            continue
        yield from (line.split() for line in lines)
