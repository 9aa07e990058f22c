"""Where a request ends is found however it is cut into pieces, and never later than a server would refuse it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.request_bounds import Bounds, RequestBounds

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
WHOLE = {
    "without a body": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "of an older version": b"GET / HTTP/1.0\r\n\r\n",
    "behind an empty line": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "with a body": HEAD + b"Content-Length: 5\r\n\r\nhello",
    "with a body that looks like a head": HEAD + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n",
    "with no octet in it": HEAD + b"Content-Length: 0\r\n\r\n",
    "with a field in other letters": HEAD + b"CONTENT-LENGTH:5\r\n\r\nhello",
    "in chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
    "with a trailer": HEAD + b"Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n000\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n",
    "with the octets of an end in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n",
}
REFUSED = {
    "a bare line feed": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare line feed in the head": HEAD + b"X: y\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "a length and chunks": HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: five\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\n",
    "a length beyond the limit": HEAD + b"Content-Length: 2049\r\n\r\n",
    "an endless length": HEAD + b"Content-Length: " + b"9" * 500 + b"\r\n\r\n",
    "another coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a chunk without a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "a chunk with a size that is none": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk that goes on": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
    "chunks beyond the limit": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\nFFF\r\n",
    "a size line without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 2000,
    "another expectation": HEAD + b"Expect: tea\r\n\r\n",
    "a line without end": b"GET /" + b"x" * 4096,
    "a head without end": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000,
}


def bounds() -> RequestBounds:
    return RequestBounds(largest_head=4096, largest_body=2048)


def found_in(pieces: list[bytes]) -> list[Bounds]:
    request = bounds()
    return [request.take(piece) for piece in pieces]


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(text), *(place % len(text) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_request_is_open_until_its_last_octet(kind: str) -> None:
    found = found_in([bytes([octet]) for octet in WHOLE[kind]])
    assert found == [Bounds.OPEN] * (len(found) - 1) + [Bounds.WHOLE]


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 10_000), max_size=6))
def test_however_it_is_cut_it_ends_with_its_last_piece(kind: str, places: list[int]) -> None:
    found = found_in(cut(WHOLE[kind], places))
    assert found == [Bounds.OPEN] * (len(found) - 1) + [Bounds.WHOLE]


@pytest.mark.parametrize("kind", WHOLE)
def test_what_comes_behind_it_changes_nothing(kind: str) -> None:
    assert found_in([WHOLE[kind] + b"GET / HT"]) == [Bounds.WHOLE]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_server_takes_is_known_before_more_of_it_comes(kind: str) -> None:
    assert found_in([REFUSED[kind]]) == [Bounds.REFUSED]
    assert Bounds.REFUSED in found_in([bytes([octet]) for octet in REFUSED[kind]])


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_a_client_that_waits_for_the_go_ahead_is_known_by_its_head(value: bytes) -> None:
    request = bounds()
    assert request.take(HEAD + b"Content-Length: 5\r\nExpect: " + value + b"\r\n") is Bounds.OPEN
    assert not request.wants_go_ahead
    assert request.take(b"\r\n") is Bounds.OPEN
    assert request.wants_go_ahead


@pytest.mark.parametrize("kind", ["a length beyond the limit", "an endless length", "chunks beyond the limit"])
def test_where_a_body_may_be_large_its_head_is_enough(kind: str) -> None:
    for large, found in ((b"POST /x HTTP/1.1", Bounds.LARGE), (b"POST /y HTTP/1.1", Bounds.REFUSED)):
        request = RequestBounds(4096, 2048, may_be_large=large.__eq__)
        assert request.take(REFUSED[kind]) is found


def test_where_a_body_may_be_large_a_malformed_one_is_refused_all_the_same() -> None:
    for kind in ("two lengths", "a length and chunks", "a negative length", "another coding"):
        assert RequestBounds(4096, 2048, lambda _line: True).take(REFUSED[kind]) is Bounds.REFUSED


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_octets_break_it(pieces: list[bytes]) -> None:
    assert set(found_in(pieces)) <= set(Bounds)
