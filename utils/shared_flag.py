"""A flag of a process and of those that it forks afterwards."""

from mmap import mmap


class SharedFlag:
    """One octet of shared memory. A lock beside it could be held by a process that is killed, and then for ever."""

    def __init__(self) -> None:
        self._memory = mmap(-1, 1)

    def set(self) -> None:
        self._memory[0] = 1

    def clear(self) -> None:
        self._memory[0] = 0

    def is_set(self) -> bool:
        return self._memory[0] != 0
