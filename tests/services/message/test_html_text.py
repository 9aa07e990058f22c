"""The text part of a mail that was written in HTML only: readable, and never empty."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.message.html_text import text_of
from tests.services.message.test_composing import make, sent


def plain(**asked: Any) -> str:
    asked = {"subject": "Your order", "body": "", **asked}
    part = sent(**asked).get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>Hello</h1><p>Fish &amp; chips</p><p>Second<br>line</p>", "Hello\n\nFish & chips\n\nSecond\nline"),
        ("<ul><li>one</li><li>two</li></ul>", "* one\n* two"),
        ("<ol><li>one</li><li>two</li></ol>", "1. one\n2. two"),
        (
            "<p>Go <a href='https://x.example/a?b=1&amp;c=2'>there</a> now</p>",
            "Go there (https://x.example/a?b=1&c=2) now",
        ),
        ("<a href='https://x.example/'>x.example</a>", "x.example"),
        ("<a href='https://x.example/t'>https://x.example/t</a>", "https://x.example/t"),
        ("<a href='mailto:help@x.example'>help@x.example</a>", "help@x.example"),
        ("<a href='#top'>top</a> <a href='javascript:x()'>run</a> <a>none</a>", "top run none"),
        ("<a href='https://x.example'><img src='cid:b' alt='Buy'></a>", "[Buy] (https://x.example)"),
        ("<table><tr><td><table><tr><td><p>Inner</p></td></tr></table></td></tr></table>", "Inner"),
        (
            "<table><tr><td>Fish</td><td>3.50</td></tr><tr><td>Chips</td><td>2</td></tr></table>",
            "Fish   3.50\nChips  2",
        ),
        ("<style>p{color:red}</style><script>alert(1)</script><title>t</title><p>Seen</p>", "Seen"),
        ("<!-- [if mso]>Outlook<![endif] --><p>Seen</p>", "Seen"),
        ("<div style='display:none'>hidden &zwnj;&nbsp;</div><p>Seen</p>", "Seen"),
        ("<?xml version='1.0' encoding='utf-8'?><html><body>Seen</body></html>", "Seen"),
        ("<p><?xml:namespace prefix = o />Seen</p>", "Seen"),
        ("<p>Grüße ₹ 日本語 🚀", "Grüße ₹ 日本語 🚀"),
        ("no markup at all", "no markup at all"),
        ("a\x00b <p>lone \ud800", "a b\n\nlone ?"),
        ("<br>" * 20 + "far down", "far down"),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_a_mail_in_html_only_has_its_words_as_text(html: str, text: str) -> None:
    assert text_of(html) == text
    assert plain(html_body=html) == f"{text}\n"


@pytest.mark.parametrize(
    "html", ["<img src='cid:x'>", "<!-- x -->", "<p>&nbsp;&zwnj;</p>", "<style>x</style>", "<p></p>"]
)
def test_without_words_the_text_says_what_the_mail_is_about(html: str) -> None:
    assert plain(html_body=html) == "Your order\n"
    assert plain(html_body=html, subject=" ") == "This message is written in HTML.\n"


@pytest.mark.parametrize("body", ["", " ", "\n", "\t\r\n", "\u00a0"])
def test_a_body_that_shows_nothing_is_none(body: str) -> None:
    assert plain(body=body, html_body="<p>Words</p>") == "Words\n"


def test_a_body_that_was_given_stays() -> None:
    assert plain(body="Mine\n", html_body="<p>Other</p>") == "Mine\n"


def test_without_html_an_empty_body_stays_empty() -> None:
    assert sent(body="").get_payload() == "\r\n"


@pytest.mark.parametrize("tag", ["<div>", "<b>", "<table><tr><td>", "<a href='https://x.example'>", "<ul><li>"])
def test_html_that_is_nested_without_end_costs_little_and_gives_some_text(tag: str) -> None:
    assert plain(html_body=tag * 20_000 + "deep").strip()


@pytest.mark.parametrize("entity", ['SYSTEM "file:///etc/passwd"', '"root:x:0"', 'PUBLIC "x" "http://127.0.0.1:1/"'])
def test_an_entity_of_a_document_is_not_looked_up(entity: str) -> None:
    text = text_of(f"<!DOCTYPE html [<!ENTITY leak {entity}>]><p>before &leak; after")
    assert "before" in text
    assert "root:" not in text.replace(entity, "")


@pytest.mark.parametrize(
    "html",
    [
        "<p style='margin-top: 99999999em; padding-left: 9e307em'>word",
        "<ol><li value='" + "9" * 5000 + "'>word</ol>",
        "<table>" + "<tr><td>x" * 20_000 + "</table>" + "<p>word " * 20_000,
        "<table><tr><td>" + "word " * 50_000 + "</td></tr>" + "<tr><td>x</td></tr>" * 5_000 + "</table>",
    ],
    ids=["margins", "a number", "rows", "a wide cell"],
)
def test_html_that_asks_for_endless_room_gets_none(html: str) -> None:
    text = text_of(html)
    assert "word" in text
    assert len(text) <= len(html)


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from(["<p>", "</p>", "<a href='http:x'>", "</table>", "<td>", "&#0;", "x"])).map("".join)
)
def test_any_html_gives_a_text_part_that_is_not_empty(html: str) -> None:
    assert plain(html_body=f"<p>{html}").strip()


def test_html_that_is_no_text_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="html_body"):
        make(body="", html_body=b"<p>x</p>")
