"""What stands in a dataclass is answered as its shape says, and nothing beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from utils.json_shapes import Moment, json_of


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    at: Moment
    ended: Moment | None
    parts: Sequence[Part]


@dataclass(frozen=True, kw_only=True)
class PartForPages(Part):
    word: str


@dataclass(frozen=True, kw_only=True)
class ForPages(Answer):
    parts: Sequence[PartForPages]
    level: str


def test_moments_are_text_and_what_only_pages_show_is_left_out_at_every_depth() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    shown = ForPages(at=moment, ended=None, parts=[PartForPages(name="one", word="One")], level="ok")
    assert json_of(Answer, shown) == {"at": "2026-01-02T03:04:05+00:00", "ended": None, "parts": [{"name": "one"}]}
