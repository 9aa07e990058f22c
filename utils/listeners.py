"""Telling others in this process that something has happened: a hint, which may be lost."""

from collections.abc import Callable


class Listeners:
    """Whoever wants to hear of one kind of thing; from any thread."""

    def __init__(self) -> None:
        self._heard: set[Callable[[], object]] = set()

    def add(self, heard: Callable[[], object]) -> None:
        self._heard.add(heard)

    def remove(self, heard: Callable[[], object]) -> None:
        self._heard.discard(heard)

    def tell(self) -> None:
        for heard in tuple(self._heard):
            heard()
