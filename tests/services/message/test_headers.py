"""Header fields octet by octet: every line and encoded-word as long as it may be, none longer, each good by itself."""

import base64
import re
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.message import headers

LINE: Final = 76  # RFC 2047 2
WORD: Final = re.compile(r"=\?utf-8\?([qb])\?([^?]*)\?=")
LONGEST_WORD: Final = 75
FRAME: Final = 12
SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/ "
ADDRESS: Final = "jane@example.com"

NAME: Final = st.sampled_from(["X", "Subject", "Reply-To", "X-Quite-A-Long-Name-Of-38-Characters-O"])
# No word is too long for a line of its own, beside the longest name: a field begins on the line of its name.
PLAIN_TEXT: Final = st.lists(st.text("abcdefgh.", min_size=1, max_size=36), min_size=1, max_size=12).map(" ".join)
MOSTLY_ASCII: Final = st.lists(
    st.sampled_from(["a", "b", " ", "?", "=", "ü", "é", "日", "🦦", "hello", "_", "xyzxyz"]), min_size=1, max_size=120
).map("".join)
MOSTLY_OTHER: Final = st.text("日本語🦦üé a", min_size=1, max_size=120)
properties = settings(max_examples=200, deadline=None)


def quoted(text: str) -> str:
    """By RFC 2047 4.2, in the strict form of 5 (3)."""
    return "".join("_" if o == 32 else chr(o) if o in SAFE else f"={o:02X}" for o in text.encode())


def decoded(kind: str, part: str) -> str:
    """What one encoded-word says, alone. Raises an error if it is cut within a character."""
    if kind == "b":
        return base64.b64decode(part, validate=True).decode()
    assert re.fullmatch(r"(?:=[0-9A-F]{2}|[A-Za-z0-9!*+/_-])*", part)
    octets = re.sub(r"=(..)", lambda found: chr(int(found[1], 16)), part.replace("_", " "))
    return octets.encode("latin-1").decode()


def words_of(field: str, name: str) -> list[tuple[str, str]]:
    """The encoded-words, one on each line but for the first line, which may hold the name alone."""
    assert field.startswith(f"{name}: ")
    return [(found[1], found[2]) for found in WORD.finditer(field)]


def is_as_full_as_can_be(lines: list[str]) -> bool:
    """Whether no line could have held the first piece of the next."""
    pieces = [(re.match(r" [^ ]+(?: +(?= ))?", line) or [""])[0] for line in lines[1:]]
    return all(len(line) + len(piece) > LINE for line, piece in zip(lines, pieces, strict=False))


@properties
@given(name=NAME, text=PLAIN_TEXT)
def test_plain_text_is_folded_at_spaces_into_lines_as_long_as_is_usual(name: str, text: str) -> None:
    field = headers.unstructured(name, text)
    lines = field.split("\r\n")
    assert field.replace("\r\n", "") == f"{name}: {text}"
    assert all(len(line) <= LINE for line in lines)
    assert is_as_full_as_can_be(lines)


@properties
@given(name=NAME, text=MOSTLY_ASCII | MOSTLY_OTHER)
def test_other_text_is_encoded_in_words_that_are_full_and_each_good_alone(name: str, text: str) -> None:
    check_words(name, text + "ü")


@pytest.mark.parametrize("shift", range(80))
def test_no_word_is_cut_within_a_character_wherever_it_stands(shift: int) -> None:
    check_words("Subject", "a" * shift + "ü8A" + "a8B9" * 12 + "🦦" + "A9" * 30 + "日B" + "8" * 60)


def check_words(name: str, text: str) -> None:
    field = headers.unstructured(name, text)
    words = words_of(field, name)
    parts = [decoded(kind, part) for kind, part in words]
    assert "".join(parts) == text
    assert all(len(part) + FRAME <= LONGEST_WORD for _, part in words)
    assert all(len(line) <= LINE for line in field.split("\r\n"))
    rooms = [max(LINE - len(name) - 2, 36) - FRAME, *[LONGEST_WORD - FRAME] * len(words)]
    for (kind, _), part, following, room in zip(words, parts, parts[1:], rooms, strict=False):
        more = part + following[0]
        assert (len(quoted(more)) > room) if kind == "q" else (len(more.encode()) > room // 4 * 3)


@properties
@given(text=MOSTLY_ASCII | MOSTLY_OTHER)
def test_whichever_encoding_is_shorter_is_taken(text: str) -> None:
    text = text + "ü"
    kinds = {kind for kind, _ in words_of(headers.unstructured("Subject", text), "Subject")}
    in_base64 = len(base64.b64encode(text.encode()))
    assert kinds == ({"q"} if len(quoted(text)) <= in_base64 else {"b"})


@pytest.mark.parametrize("length", range(60, 90))
def test_a_text_that_just_fits_stands_on_one_line_and_one_octet_more_is_folded(length: int) -> None:
    text = "a" * 30 + " " + "b" * (length - 31)
    lines = headers.unstructured("Subject", text).split("\r\n")
    assert len(lines) == (1 if len("Subject: ") + length <= LINE else 2)


@pytest.mark.parametrize("before", ["", "short "])
@pytest.mark.parametrize(("length", "is_plain"), [(898, True), (901, False), (2000, False)])
def test_a_word_that_no_line_can_hold_is_encoded(before: str, length: int, is_plain: bool) -> None:
    field = headers.unstructured("Subject", before + "a" * length)
    assert ("=?utf-8?" not in field) is is_plain
    assert max(map(len, field.split("\r\n"))) <= (998 if is_plain else LINE)


def test_a_plain_word_may_have_900_characters_and_no_more() -> None:
    assert headers.unstructured("Subject", "a" * 900) == f"Subject: {'a' * 900}"
    assert "=?utf-8?" in headers.unstructured("Subject", "a" * 901)


def test_an_id_may_have_900_characters_and_no_more() -> None:
    assert headers.machine_read("References", "a" * 900) == f"References: {'a' * 900}"
    with pytest.raises(ValueError, match="longer than 900"):
        headers.machine_read("References", "a" * 901)
    with pytest.raises(ValueError, match="longer than 900"):
        headers.machine_read("References", "<a@b> " + "a" * 901 + " <c@d>")


def test_ids_are_folded_and_never_encoded() -> None:
    ids = " ".join(f"<{number:020}@example.com>" for number in range(9))
    field = headers.machine_read("References", f"  {ids} ")
    assert field.replace("\r\n", "") == f"References: {ids}"
    assert is_as_full_as_can_be(field.split("\r\n"))


@pytest.mark.parametrize("text", ["ä", "<a@b> ü", "=?utf-8?q?x?=", "<a@b> =?x?B??="])
def test_an_id_that_would_have_to_be_encoded_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plain ASCII only"):
        headers.machine_read("References", text)


@pytest.mark.parametrize("text", ["=?", "a =? b", "=?utf-8?q?x?=", " a", "a ", "ü"])
def test_what_could_be_read_as_encoded_or_lose_a_space_is_encoded(text: str) -> None:
    field = headers.unstructured("Subject", text)
    assert "".join(decoded(kind, part) for kind, part in words_of(field, "Subject")) == text


@pytest.mark.parametrize(
    ("display_name", "field"),
    [
        ("", "From: jane@example.com"),
        ("  ", "From: jane@example.com"),
        ("Jane", "From: Jane <jane@example.com>"),
        ("Jane Doe", "From: Jane Doe <jane@example.com>"),
        (" Jane  Doe ", 'From: "Jane  Doe" <jane@example.com>'),
        ("Doe, Jane", 'From: "Doe, Jane" <jane@example.com>'),
        ('J "D" \\', 'From: "J \\"D\\" \\\\" <jane@example.com>'),
        ("Zoë", "From: =?utf-8?q?Zo=C3=AB?= <jane@example.com>"),
        ("=?x", "From: =?utf-8?b?PT94?= <jane@example.com>"),
    ],
)
def test_a_display_name_is_bare_quoted_or_encoded(display_name: str, field: str) -> None:
    assert headers.mailbox("From", display_name, ADDRESS) == field
    assert headers.named(display_name, ADDRESS) == field.removeprefix("From: ")
    assert headers.address_list("From", [headers.named(display_name, ADDRESS)]) == field


@properties
@given(name=PLAIN_TEXT | MOSTLY_ASCII | MOSTLY_OTHER, others=st.integers(0, 4), last=st.integers(30, 80))
def test_a_list_of_mailboxes_is_folded_into_lines_as_long_as_is_usual(name: str, others: int, last: int) -> None:
    mailboxes = [headers.named(name, ADDRESS), *[ADDRESS] * others, f"{'x' * (last - 12)}@example.com"][: others + 1]
    for field in (headers.address_list("Reply-To", mailboxes), headers.mailbox("Reply-To", name, ADDRESS)):
        lines = field.split("\r\n")
        assert all(len(line) <= LINE for line in lines)
        assert is_as_full_as_can_be(lines)
    assert headers.address_list("Reply-To", mailboxes).replace("\r\n", "") == f"Reply-To: {', '.join(mailboxes)}"


@pytest.mark.parametrize("length", range(55, 80))
def test_one_long_mailbox_is_folded_before_its_address_where_it_does_not_fit(length: int) -> None:
    mailbox = headers.named("N" * (length - len(ADDRESS) - 3), ADDRESS)
    lines = headers.address_list("To", [mailbox]).split("\r\n")
    assert len(lines) == (1 if len("To: ") + length <= LINE else 2)


def test_text_with_a_line_break_or_no_text_is_named_by_its_argument() -> None:
    assert headers.one_line("subject", "all is well") == "all is well"
    for bad in ("a\nb", "a\r", "\0"):
        with pytest.raises(ValueError, match=r"^subject: Remove line breaks"):
            headers.one_line("subject", bad)
    with pytest.raises(ValueError, match=r"^subject: Pass text"):
        headers.one_line("subject", 7)  # type: ignore[arg-type]


def test_a_field_of_nothing_is_its_name_alone() -> None:
    assert headers.fold("Subject", []) == "Subject:"
