"""Lists that stay current: what has changed in one as server-sent events, for a while and to a few."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from flask import Flask

from blueprints import live
from blueprints.live import ShownRows, Watched
from tests.patience import PATIENCE

LOOKS = 4


def drawn(_: ShownRows, ids: Sequence[str]) -> dict[str, str]:
    return {each: f"<li>{each}" for each in ids}


class Board:
    """A list that changes; a stream of it ends after so many looks."""

    def __init__(self) -> None:
        self.rows = {"b": "1", "a": "1"}
        self.looks = 0
        self.then: dict[int, dict[str, str]] = {}

    def look(self) -> ShownRows:
        return ShownRows(rows=dict(self.rows))

    def may_go_on(self) -> bool:
        self.looks += 1
        self.rows = self.then.get(self.looks, self.rows)
        return self.looks < LOOKS

    def events(self, app: Flask, seen: str = "", header: str = "") -> list[dict[str, Any]]:
        headers = {"Last-Event-ID": header} if header else {}
        with app.test_request_context(f"/?seen={seen}", headers=headers):
            answer = live.streamed(Watched(self.look, drawn, lambda: {"count": "2"}, self.may_go_on))
            told = "".join(text if isinstance(text, str) else text.decode() for text in answer.response)
            answer.close()
        found = [event for event in told.split("\n\n") if "data: " in event]
        return [{"id": event[4:].partition("\n")[0], **json.loads(event.partition("data: ")[2])} for event in found]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    monkeypatch.setattr(live, "LIFE", PATIENCE)
    monkeypatch.setattr(live, "LOOK_EVERY", 0.0)
    yield Board()
    assert live.places._taken.total() == 0  # what was taken was given back


def test_whoever_has_seen_nothing_gets_all_and_then_what_changes(app: Flask, board: Board) -> None:
    board.then = {2: {"c": "1", "b": "2", "a": "1"}}
    first, same, changed, *_ = board.events(app)
    assert (first["order"], list(first["rows"]), first["around"]) == (["b", "a"], ["b", "a"], {"count": "2"})
    assert "order" not in same
    assert same["at"] > first["at"]
    assert (changed["order"], list(changed["rows"])) == (["c", "b", "a"], ["c", "b"])


def test_whoever_has_seen_what_is_there_gets_only_the_time(app: Flask, board: Board) -> None:
    mark = board.look().mark
    assert [event for event in board.events(app, seen=mark) if "order" in event] == []


def test_a_browser_that_comes_back_goes_on_where_it_was(app: Flask, board: Board) -> None:
    last = board.events(app)[-1]["id"]
    board.looks = 0
    assert [event for event in board.events(app, seen="of long ago", header=last) if "order" in event] == []
    board.looks, board.rows = 0, {"a": "1"}
    assert board.events(app, header=last)[0]["order"] == ["a"]


def test_a_stream_ends_with_its_time(app: Flask, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIFE", -1.0)
    assert len(board.events(app)) == 1


def test_whoever_gets_no_place_is_told_at_once(app: Flask, board: Board) -> None:
    def ask() -> Any:
        return live.streamed(Watched(board.look, lambda *_: {}, dict, lambda: False))

    with app.test_request_context("/"):
        open_ones = [ask() for _ in range(live.EACH)]
        assert ask().status_code == 204
        open_ones[0].close()
        again = ask()
        assert again.status_code == 200
        for each in (*open_ones[1:], again):
            each.close()


@pytest.mark.parametrize(("threads", "served"), [(1, 0), (2, 1), (3, 1), (8, 4), (100, live.MOST)])
def test_streams_hold_half_of_the_threads_at_most(threads: int, served: int) -> None:
    places = live._Places()
    places.fit(threads)
    assert [places.take(str(person)) for person in range(served + 1)] == [True] * served + [False]


def test_nobody_takes_the_places_of_all_others() -> None:
    places = live._Places()
    places.fit(100)
    assert [places.take("alice") for _ in range(live.EACH + 1)] == [True] * live.EACH + [False]
    assert places.take("bob")
    places.give_back("alice")
    assert places.take("alice")


def test_a_mark_is_of_these_rows_in_this_order_alone() -> None:
    shown = [{"a": "1", "b": "1"}, {"b": "1", "a": "1"}, {"a": "2", "b": "1"}, {"a": "1"}, {}]
    marks = {ShownRows(rows=rows).mark for rows in shown} | {ShownRows(rows={}, newest=("a",)).mark}
    assert len(marks) == len(shown) + 1
