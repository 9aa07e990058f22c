"""The time of day, always aware and in UTC. Durations are measured with ``time.monotonic``."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current moment in UTC."""
    return datetime.now(UTC)


def in_lists(moment: datetime) -> str:
    """A moment in UTC as lists of what happened have it, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def readable(moment: datetime) -> str:
    """A moment as people read it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
