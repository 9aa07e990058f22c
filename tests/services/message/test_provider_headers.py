"""Header fields for a provider's service: the same JSON arrives, in ASCII, and never as encoded-words."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.message.draft import serialise
from tests.services.message.test_composing import SENDER, make

JSON_HEADERS = [
    *("X-SMTPAPI", "X-Mailgun-Variables", "X-MC-MergeVars", "X-MC-Metadata", "X-MSYS-API", "X-PM-Metadata"),
    *("X-SES-MESSAGE-TAGS", "X-MJ-EventPayload", "X-Mailin-custom", "X-MT-Custom-Variables", "x-smtpapi"),
]


def lines_of(name: str, value: str) -> list[str]:
    """The lines of the field on the wire."""
    head = serialise(make(headers={name: value}), SENDER).partition(b"\r\n\r\n")[0].decode("ascii")
    (field,) = re.findall(rf"(?m)^{name}: [^\r\n]*(?:\r\n [^\r\n]*)*", head)
    return str(field).split("\r\n")


def unfolded(name: str, value: str) -> str:
    """The value as whoever drops the line breaks reads it (RFC 5322 2.2.3)."""
    return "".join(lines_of(name, value)).removeprefix(f"{name}: ")


@pytest.mark.parametrize("name", JSON_HEADERS)
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")], ids=["spaced", "compact"])
def test_json_arrives_as_it_was_meant_and_in_ascii(name: str, separators: tuple[str, str]) -> None:
    meant = {"category": "Grüße, 日本 🚀", "sub": {"-name-": ["Jürgen, Köln", 'a"b\\', "=?utf-8?q?x?="] * 9}, "n": 1.50}
    value = json.dumps(meant, ensure_ascii=False, separators=separators)
    lines = lines_of(name, value)
    assert json.loads(unfolded(name, value)) == meant
    assert "=?" not in "".join(lines)
    assert all(line.endswith(",") for line in lines[:-1])
    assert len(lines) > 5


@pytest.mark.parametrize(
    "value",
    [
        '{"a": "one,  two", "b": [1,2 ,3]}',
        '{"a":1,"a":2,"big":123456789012345678901234567890,"f":1.10}',
        '{"esc": "\\u00fc \\" \\\\ \\/"}',
        "[]",
        "{}",
        '{ "a" : 1 }',
    ],
)
def test_short_ascii_json_is_not_touched(value: str) -> None:
    assert lines_of("X-SMTPAPI", value) == [f"X-SMTPAPI: {value}"]


def test_a_line_is_never_folded_within_a_string_of_json() -> None:
    text = "word, " * 40
    (first, second) = lines_of("X-SMTPAPI", json.dumps({"a": text, "b": 1}))
    assert first == f'X-SMTPAPI: {{"a": "{text}",'
    assert second == ' "b": 1}'


def test_pretty_json_goes_on_lines_of_the_header() -> None:
    meant = {"to": ["a@x.example"] * 12, "text": "two  spaces"}
    assert json.loads(unfolded("X-SMTPAPI", json.dumps(meant, indent=4))) == meant
    assert json.loads(unfolded("X-SMTPAPI", "\r\n" + json.dumps({"a": 1}, indent="\t") + "\n")) == {"a": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=60), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=60), JSON, max_size=5), st.booleans(), st.sampled_from([None, 1, 4]))
def test_any_json_arrives_as_the_same_json(meant: dict[str, Any], is_ascii: bool, indent: int | None) -> None:
    value = json.dumps(meant, ensure_ascii=is_ascii, indent=indent)
    assert json.loads(unfolded("X-SMTPAPI", value)) == json.loads(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Mailgun-Tag", "newsletter"),
        ("X-Mailgun-Track-Clicks", "htmlonly"),
        ("X-MC-Tags", "a,b,c"),
        ("X-PM-Message-Stream", "broadcast"),
        ("X-SES-CONFIGURATION-SET", "my-set"),
        ("X-SES-MESSAGE-TAGS", "a=b, c=d"),
        ("X-Mailgun-Deliver-By", "Fri, 25 Oct 2026 23:10:10 -0000"),
        ("X-SMTPAPI", '{"unfinished": '),
    ],
)
def test_what_is_no_json_stands_there_as_it_is(name: str, value: str) -> None:
    assert unfolded(name, value) == value.strip()


@pytest.mark.parametrize(
    "name", ["X-Mailgun-Tag", "X-MC-Tags", "X-PM-Tag", "X-SES-MESSAGE-TAGS", "X-SMTPAPI", "X-MSYS-API"]
)
@pytest.mark.parametrize(
    "value", ["Grüße", '{"unfinished": "ü"', "=?utf-8?q?x?=", '"ü"', "a\r\nBcc: e@e.example", "[" * 100_000]
)
def test_what_could_only_stand_there_encoded_is_the_callers_mistake(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        make(headers={name: value})


@pytest.mark.parametrize("value", [None, 5, b"{}", {"a": 1}])
def test_a_value_is_text(value: Any) -> None:
    with pytest.raises(ValueError, match="X-SMTPAPI"):
        make(headers={"X-SMTPAPI": value})


def test_a_string_of_json_that_no_line_can_hold_goes_on_behind_one_of_its_spaces() -> None:
    meant = {"text": "two  spaces, and a word " * 90, "n": 1}
    lines = lines_of("X-SMTPAPI", json.dumps(meant))
    assert max(map(len, lines)) <= 998
    assert json.loads(unfolded("X-SMTPAPI", json.dumps(meant))) == meant
    assert json.loads(" ".join(line.removeprefix(" ") for line in lines).removeprefix("X-SMTPAPI: ")) == meant


def test_json_with_a_word_that_no_line_can_hold_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="X-SMTPAPI"):
        make(headers={"X-SMTPAPI": json.dumps({"a": "x" * 999})})


def test_json_cannot_smuggle_a_header() -> None:
    value = json.dumps({"a": "\r\nBcc: e@e.example", "b": "\u2028\x85\x7f"}, ensure_ascii=False)
    assert json.loads(unfolded("X-SMTPAPI", value)) == json.loads(value)
