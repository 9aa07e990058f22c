"""Whether the time of day was set, seen by the clock that nobody sets."""

from collections.abc import Callable
from typing import Final

from utils import clock

JUMP: Final = 20.0  # seconds between what the two clocks say has passed, from which on the one was set


class ClockWatch:
    """Whether the time of day was set, and how long ago that was by the clock that nobody sets."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._offset: float | None = None
        self._jumped_at: float | None = None

    def look(self) -> None:
        """Compare the two clocks."""
        offset = clock.now().timestamp() - self._seconds()
        if self._offset is not None and abs(offset - self._offset) > JUMP:
            self.note_jump()
        self._offset = offset

    def note_jump(self) -> None:
        self._jumped_at = self._seconds()

    def is_doubted(self, seconds: float) -> bool:
        """Whether the clock was set within so many seconds."""
        return self._jumped_at is not None and self._seconds() - self._jumped_at < seconds
