"""The time of day and the clock of the circuits, turned by a test."""

from datetime import datetime, timedelta

from utils import clock


class Now:
    """Put in the place of ``clock.now``."""

    def __init__(self) -> None:
        self.moment = clock.now()

    def __call__(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def turn(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
