"""Header fields: encoded so that they read back as given, whatever the text; never injectable."""

import re
from collections import Counter
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.message.draft import Sender, serialise
from tests.services.message.test_composing import SENDER, make, read, sent

# Everything that may stand in a header: no controls; surrogates have a test of their own.
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from(' "\\(),:;<>@=?_.'),
    max_size=200,
)
MODEST = settings(max_examples=150, deadline=None)

HOSTILE_NAMES = [
    "=?UTF-8?Q?=0ABcc:_v@e.com?=",
    "=?utf-8?b?CkJjYzogdkBlLmNvbQ==?=",
    "=?UTF-8?Q?=0D=0ABcc:_v@e.com?= =?UTF-8?Q?=0D=0ASubject:_x?=",
    "=?iso-8859-1?q?a?=",
    "=?",
    "?=",
    "=?utf-8?q?unterminated",
    "Doe, Jane",
    'Jane "JD" Doe',
    "back\\slash\\",
    '\\"',
    "jane@evil.example",
    "<jane@evil.example>",
    "Jane <jane@evil.example>, Joe",
    "(comment)",
    "Group: a@x.example;",
    "Müller & Söhne, GmbH",
    "株式会社サンプル",
    "🚀🚀 Rockets 👩‍👩‍👧‍👦",
    "e\u0301 combining",
    "שלום \u200fעולם",
    "x" * 255,
    "é" * 255,
    "a b " * 60,
    "two  spaces",
    ".",
    "'single'",
]


def unfolded(message: bytes, name: str) -> bytes:
    """The raw value of a field, folds undone, nothing decoded."""
    head = message.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    (value,) = re.findall(rb"(?m)^" + name.encode() + rb": (.*?)\r?$", head)
    assert isinstance(value, bytes)
    return value


def head_is_well_formed(message: bytes) -> bool:
    head = message.partition(b"\r\n\r\n")[0]
    words = re.findall(rb"=\?utf-8\?[qb]\?[^?]*\?=", head)
    return (
        head.isascii()
        and all(len(word) <= 75 for word in words)
        and all(len(line) <= 78 and line.strip() for line in head.split(b"\r\n"))
        and message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n")
    )


def assert_name_is_literal(message: bytes, name: str) -> None:
    """The sender is one address with this name, for the library's old reader and for its new one.

    Python 3.11's new reader keeps the space between two encoded-words of a name (against RFC 2047 6.2).
    """
    parsed = message_from_bytes(message, policy=policy.default)
    (address,) = parsed["From"].addresses
    assert address.addr_spec == "noreply@example.com"
    assert re.sub(r"\s", "", address.display_name) == re.sub(r"\s", "", name)
    phrase = unfolded(message, "From").decode().removesuffix("<noreply@example.com>").rstrip(" ")
    if phrase.startswith('"'):
        assert re.sub(r"\\(.)", r"\1", phrase[1:-1]) == name.strip(" ")
    elif phrase != "noreply@example.com":
        assert str(make_header(decode_header(phrase))) == name.strip(" ")
    assert Counter(parsed.keys()) == Counter(sent().keys())


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name[:30]))
def test_a_display_name_reads_back_literally_and_adds_no_header(name: str) -> None:
    message = serialise(make(), Sender(email="noreply@example.com", name=name))
    read(message)
    assert_name_is_literal(message, name)
    assert head_is_well_formed(message) or max(map(len, name.split(" "))) > 70


@MODEST
@given(TEXT)
def test_any_name_keeps_one_sender_and_the_same_header(name: str) -> None:
    message = serialise(make(), Sender(email="noreply@example.com", name=name))
    assert_name_is_literal(message, name)


@MODEST
@given(TEXT)
def test_any_subject_reads_back_as_given(subject: str) -> None:
    message = serialise(make(subject=subject), SENDER)
    parsed = message_from_bytes(message, policy=policy.default)
    assert parsed["Subject"] == subject
    assert Counter(parsed.keys()) == Counter(sent().keys())


@MODEST
@given(st.text(max_size=400).filter(str.strip), st.text(max_size=400))
def test_any_text_and_html_read_back_in_every_policy(text: str, html: str) -> None:
    message = serialise(make(body=text, html_body=f"<p>{html}"), SENDER)
    for used in (policy.default, policy.SMTP):
        parsed = message_from_bytes(message, policy=used)
        plain, rich = (part.get_content().replace("\r\n", "\n") for part in parsed.iter_parts())
        assert plain == on_the_wire(text)
        assert rich == on_the_wire(f"<p>{html}")
    assert message.isascii()
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n")


def on_the_wire(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
    return text if text.endswith("\n") else text + "\n"


@pytest.mark.parametrize(
    "subject",
    [
        "Order Executed: BUY RELIANCE",
        "",
        " leading",
        "trailing ",
        " ",
        "a" + " " * 100 + "b",
        "word " * 60 + "end",
        "x" * 2000,
        "=?utf-8?q?=0D=0ABcc:_e@e.example?=",
        "Grüße aus Köln " * 20,
        "日本語の件名" * 30,
        "🚀" * 100,
        "tail =?",
        "100% = a_b",
    ],
    ids=lambda subject: ascii(subject[:20]),
)
def test_a_subject_reads_back_and_folds(subject: str) -> None:
    message = serialise(make(subject=subject), SENDER)
    assert read(message)["Subject"] == subject
    assert head_is_well_formed(message) or "      " in subject


@MODEST
@given(st.text("ab ", min_size=1, max_size=300).map(lambda text: f"x{text}x"))
def test_runs_of_spaces_survive_whichever_way_a_field_is_unfolded(text: str) -> None:
    asked = {"X-Note": text, "References": text, "X-Mailgun-Tag": text}
    message = serialise(make(subject=text, headers=asked), Sender(email="a@x.example", name=text[:255]))
    head = message.partition(b"\r\n\r\n")[0]
    assert all(line.strip() for line in head.split(b"\r\n"))
    for unfold in (head.replace(b"\r\n ", b" "), re.sub(rb"\r\n[ \t]+", b" ", head)):
        for name in ("Subject", *asked):
            assert f"\r\n{name}: {text}\r\n".encode() in unfold + b"\r\n"


@pytest.mark.parametrize("spaces", [2, 60, 80, 200, 899])
def test_a_fold_comes_before_the_last_space_of_a_run(spaces: int) -> None:
    text = "a" * 70 + " " * spaces + "b"
    message = serialise(make(headers={"X-Note": text}), SENDER)
    if spaces < 800:
        assert b"X-Note: " + b"a" * 70 + b" " * (spaces - 1) + b"\r\n b\r\n" in message
    assert read(message)["X-Note"] == text


def test_a_lone_surrogate_in_a_subject_is_replaced() -> None:
    assert sent(subject="a\ud800b")["Subject"] == "a?b"


def test_plain_text_is_not_encoded() -> None:
    assert b"\r\nSubject: Reset Your OpenAlgo Password\r\n" in serialise(
        make(subject="Reset Your OpenAlgo Password"), SENDER
    )


def test_an_encoded_word_never_splits_a_character() -> None:
    for text in ("ä€🚀" * 60, "a🚀" * 60, "日本語" * 60):
        head = serialise(make(subject=text), SENDER).decode().partition("\r\n\r\n")[0]
        for word in re.findall(r"=\?utf-8\?[qb]\?[^?]*\?=", head):
            assert "\ufffd" not in str(
                message_from_bytes(f"Subject: {word}\r\n\r\n".encode(), policy=policy.default)["Subject"]
            )


def test_many_recipients_fold_and_read_back() -> None:
    people = [f"person.number{number}@department.example.com" for number in range(100)]
    message = serialise(make(to=people), SENDER)
    assert [address.addr_spec for address in read(message)["To"].addresses] == people
    assert head_is_well_formed(message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("References", " ".join(f"<{'r' * 60}{number}@mail.example.com>" for number in range(20))),
        ("In-Reply-To", f"<{'i' * 200}@mail.example.com>"),
        ("List-Unsubscribe", f"<https://x.example/u?token={'t' * 400}&a=?b>, <mailto:u@x.example>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Entity-Ref-ID", "e" * 500),
        ("Resend-Idempotency-Key", "k" * 256),
    ],
    ids=lambda text: text[:20],
)
def test_a_header_of_ids_or_urls_stays_as_it_is(name: str, value: str) -> None:
    message = serialise(make(headers={name: value}), SENDER)
    assert unfolded(message, name) == value.encode()
    assert b"=?utf-8" not in message
    assert max(map(len, message.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "value", ["<https://x.example/ü>", "=?utf-8?q?=0ABcc:_e@e.example?=", f"<https://x.example/{'u' * 998}>"]
)
def test_a_header_of_ids_or_urls_takes_only_what_needs_no_encoding(value: str) -> None:
    with pytest.raises(ValueError, match="List-Unsubscribe"):
        make(headers={"List-Unsubscribe": value})


def test_a_header_of_ones_own_reads_back() -> None:
    message = sent(headers={"X-Note": "Grüße, =?utf-8?q?x?=", "X-Campaign": "spring " * 30 + "end"})
    assert message["X-Note"] == "Grüße, =?utf-8?q?x?="
    assert message["X-Campaign"] == "spring " * 30 + "end"


OURS = "From To Cc Bcc Subject Date MIME-Version Content-Type Content-Disposition Sender Reply-To"


@pytest.mark.parametrize(
    "name", [*OURS.split(), "Return-Path", "Received", "DKIM-Signature", "Resent-To", "bCC", "CONTENT-X"]
)
def test_a_header_that_is_ours_cannot_be_given(name: str) -> None:
    with pytest.raises(ValueError, match="written by Sealpost"):
        make(headers={name: "x"})


def test_a_header_cannot_be_given_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        make(headers={"X-A": "1", "x-a": "2"})


MALFORMED = ["", "X A", "X:A", "X-A:", " X-A", "X-A\n", "X-A\r\nBcc", "\r\n\r\nbody", "Bcc ", "Bcc\t", "X\0"]


@pytest.mark.parametrize("name", [*MALFORMED, "X-Ä", "X_A", "1-A", "-A", "X" * 65, 5, None], ids=ascii)
def test_a_header_name_has_strict_grammar(name: Any) -> None:
    with pytest.raises(ValueError, match="headers: A name"):
        make(headers={name: "x"})


CONTROLS = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\t",
    "\v",
    "\f",
    "\x1b",
    "\x1c",
    "\x7f",
    "\x85",
    "\x9b",
    "\u2028",
    "\u2029",
]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_in_a_header_is_the_callers_mistake(control: str) -> None:
    text = f"a{control}Bcc: e@e.example"
    with pytest.raises(ValueError, match="subject"):
        make(subject=text)
    with pytest.raises(ValueError, match="X-Note"):
        make(headers={"X-Note": text})
    with pytest.raises(ValueError, match="from_name"):
        serialise(make(), Sender(email="a@x.example", name=text))
    with pytest.raises(ValueError, match="from_email"):
        serialise(make(), Sender(email=f"a@x.example{control}"))
    with pytest.raises(ValueError, match="reply_to"):
        serialise(make(), Sender(email="a@x.example", reply_to=f"a@x.example{control}"))


@pytest.mark.parametrize("value", [5, None, b"x", ["x"]])
def test_a_header_value_is_text(value: Any) -> None:
    with pytest.raises(ValueError, match="X-Note"):
        make(headers={"X-Note": value})


def test_headers_are_a_mapping() -> None:
    with pytest.raises(ValueError, match="mapping"):
        make(headers=[("X-Note", "x")])


def test_a_from_name_has_at_most_255_characters() -> None:
    with pytest.raises(ValueError, match="at most 255"):
        serialise(make(), Sender(email="a@x.example", name="n" * 256))
