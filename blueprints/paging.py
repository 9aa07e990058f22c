"""Long lists, a page at a time: each page begins behind the last entry of the one before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PAGE: Final = 50

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """What is shown. ``asked`` is where it begins, "" for the first; ``following`` where the next one does, if any."""

    items: Sequence[T]
    asked: str
    following: str


def page_of(found: Sequence[T], key: Callable[[T], object], asked: object) -> Page[T]:
    """The page of what was found behind ``asked``, of which one more than a page was looked for."""
    shown = found[:PAGE]
    return Page(shown, str(asked or ""), str(key(shown[-1])) if len(found) > PAGE else "")


def cut(every: Sequence[T], key: Callable[[T], object], asked: str) -> Page[T]:
    """The page behind the entry with this key; from the beginning if there is none, or no longer."""
    start = next((number for number, item in enumerate(every, 1) if asked and str(key(item)) == asked), 0)
    return page_of(every[start : start + PAGE + 1], key, asked if start else "")
